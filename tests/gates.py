"""How a gate speaks: what is wrong, a line each, and how to mend it."""

import pytest


def gate(wrong, remedy: str) -> None:
    """Fail with everything in `wrong` and the remedy; pass if nothing is."""
    __tracebackhide__ = True
    if lines := [str(one) for one in wrong]:
        pytest.fail("\n".join([*lines, f"→ {remedy}"]), pytrace=False)
