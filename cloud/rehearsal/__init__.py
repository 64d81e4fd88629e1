"""SageMaker rehearsed on this machine, without an account.

To use it: `jobs.connect(rehearse=True)`. To understand it read `rehearse`. Machinery, not needed:
`stage` runs jobs, searches and endpoints (`job`, `container`, `trials`, `server`, `serving`),
`patches` makes moto do so, and lists what that hides; `refusals` and `permissions` say no where AWS
would; `loopback` lets nothing leave, `reaper` cleans up after a kill.
"""

from cloud.rehearsal.rehearse import UNPROVEN, rehearse

__all__ = ["UNPROVEN", "rehearse"]
