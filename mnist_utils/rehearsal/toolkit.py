"""What an image's own entry point does with a tuner's job: unpack, set SM_…, run with options.

Started by `stage` as a script, in the container; its argument is /opt/ml.
"""

import json
import os
import sys
import tarfile
from pathlib import Path


def main(ml: Path) -> None:
    given = json.loads((ml / "input/config/hyperparameters.json").read_text())
    with tarfile.open(ml / "code/sourcedir.tar.gz") as source:
        source.extractall(ml / "code", filter="data")
    own = {name: value for name, value in given.items() if not name.startswith("sagemaker_")}
    os.environ |= {
        "SM_MODEL_DIR": f"{ml}/model", "SM_OUTPUT_DIR": f"{ml}/output",
        "SM_CHANNEL_TRAIN": f"{ml}/input/data/train", "SM_CURRENT_INSTANCE_TYPE": "local",
        "SM_HPS": json.dumps(own),
    }  # fmt: skip
    os.chdir(ml / "code")
    options = [word for name, value in own.items() for word in (f"--{name}", value)]
    os.execv(sys.executable, [sys.executable, given["sagemaker_program"], *options])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
