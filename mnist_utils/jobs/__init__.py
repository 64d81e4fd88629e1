"""SageMaker from submit to clean-up: the training job, its artifact, the endpoint, the bill.

To use it: notebook 4, or `python -m mnist_utils.jobs --help`; with `rehearse=True` (`--rehearse`)
the same calls run on this machine, without an account. To understand it read `training`, then
`endpoint`. Machinery, not needed: `place` finds role and bucket, `archive` packs what travels.
"""

from mnist_utils.jobs.endpoint import delete, deploy, invoke
from mnist_utils.jobs.place import Place, connect
from mnist_utils.jobs.prices import PRICES, price
from mnist_utils.jobs.training import bill, fetch, log, metrics, stop, submit, tune, wait

__all__ = [
    "PRICES", "Place", "bill", "connect", "delete", "deploy", "fetch", "invoke", "log", "metrics",
    "price", "stop", "submit", "tune", "wait",
]  # fmt: skip
