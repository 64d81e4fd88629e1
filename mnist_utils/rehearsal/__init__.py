"""SageMaker rehearsed on this machine, without an account.

To use it: `jobs.connect(rehearse=True)`. To understand it read `rehearse`. Machinery, not needed:
`stage` runs jobs and endpoints as processes, `patches` makes moto do so, `refusals` says no where
AWS would; `serving` is an endpoint's container, `toolkit` a tuner's; `loopback` lets nothing leave,
`heir` cleans up after a kill.
"""

from mnist_utils.rehearsal.rehearse import UNPROVEN, rehearse

__all__ = ["UNPROVEN", "rehearse"]
