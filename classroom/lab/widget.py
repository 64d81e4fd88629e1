"""The lab in JupyterLab: the page counts at once, and `describe`, in the kernel, confirms."""

import anywidget
import traitlets
from torch import nn

from classroom.lab import page
from classroom.lab.design import numbers, rows_of
from mnist_utils import models
from mnist_utils.errors import InputError


class Lab(anywidget.AnyWidget):
    """A bench for a network that is one chain of layers.

    Parameters
    ----------
    network : nn.Module or str
        Begin with this one, a class's instance or a name of `models.build`. An instance's weights
        are used for what counts, as long as its layers are not changed.

    Raises
    ------
    InputError
        The network has branches, or a layer that the lab does not have.

    Notes
    -----
    `rows` is the design (`mnist_utils.chains`): `chains.build(lab.rows)` is its network.
    """

    _esm = page.SCRIPT
    _css = page.STYLE
    rows = traitlets.List().tag(sync=True)
    version = traitlets.Int(0).tag(sync=True)  # counts the page's edits
    numbers = traitlets.Dict().tag(sync=True)  # what describe says of one version
    about = traitlets.Dict().tag(sync=True)

    def __init__(self, network: nn.Module | str = page.START):
        own = None if isinstance(network, str) else network
        rows = rows_of(models.build(network) if own is None else own)
        super().__init__(rows=rows, about=page.about(own))

    @traitlets.observe("rows", "version")
    def _confirm(self, change=None) -> None:
        answer = {"version": self.version}
        try:
            answer["lines"] = numbers(self.rows)
        except InputError as error:
            answer["problem"] = str(error)
        self.numbers = answer
