"""Runs behind the wall, over what `spec` wrote: networks built again, read, and trained.

`python -m classroom.grade.inside SECONDS WALLED` reads a job as JSON from its input and answers
on its output. No line of a student's runs here, and no label of a test digit is in sight.
"""

import json
import os
import sys

from classroom.grade.wall import confine
from mnist_utils.errors import InputError


def main() -> None:
    confine(*sys.argv[1:3])
    job, out = json.load(sys.stdin), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # training prints, too
    try:
        result = answer(job)
    except InputError as error:
        result = {"error": str(error)}
    json.dump(result, out)


def answer(job: dict) -> dict:
    """A training for a job with settings; else what is to be known of each description."""
    if all("error" in about for about in job.values() if isinstance(about, dict)):
        return job  # without the seconds that torch takes
    from classroom.grade import examine

    return examine.train_once(job) if "settings" in job else examine.examine(job)


if __name__ == "__main__":
    main()
