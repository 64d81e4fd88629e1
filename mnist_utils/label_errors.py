"""The test labels that people disagree with: 15 of MNIST's 10,000.

Source: Northcutt, Athalye and Mueller, "Pervasive Label Errors in Test Sets", 2021
(cleanlab/label-errors, Apache-2.0). Five people voted on each suspect; listed are the digits whose
given label got fewer than three votes. Indices are 0-based, in the order of the files.
"""

from typing import NamedTuple


class LabelError(NamedTuple):
    """A doubtful test digit; votes are (for the given label, for the suggested one, neither)."""

    index: int
    given: int
    suggested: int | None  # None: the voters agreed on no digit
    votes: tuple[int, int, int] | None = None


CORRECTABLE = (
    LabelError(947, 8, 9, (0, 5, 0)),
    LabelError(6651, 0, 6, (0, 5, 0)),
    LabelError(2462, 2, 0, (0, 4, 1)),
    LabelError(2597, 5, 3, (0, 4, 1)),
    LabelError(3558, 5, 0, (1, 4, 0)),
    LabelError(5937, 5, 3, (1, 3, 1)),
    LabelError(1621, 0, 6, (2, 3, 0)),
    LabelError(1901, 9, 4, (2, 3, 0)),
    LabelError(6783, 1, 6, (2, 3, 0)),
    LabelError(9729, 5, 6, (2, 3, 0)),
)
NEITHER = tuple(LabelError(index, 6, None) for index in (2654, 3520, 9679))
TIES = (LabelError(2130, 4, 9), LabelError(8527, 4, 9))

LABEL_ERRORS = CORRECTABLE + NEITHER + TIES
