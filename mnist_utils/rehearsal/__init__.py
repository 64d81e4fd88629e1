"""SageMaker rehearsed on this machine, without an account.

To use it: `jobs.connect(rehearse=True)`. To understand it read `rehearse`. Machinery, not needed:
`stage` runs jobs and endpoints as processes, `patches` makes moto do so, `serving` is an endpoint's
container, `loopback` lets nothing leave.
"""

from mnist_utils.rehearsal.rehearse import UNPROVEN, rehearse

__all__ = ["UNPROVEN", "rehearse"]
