"""A trained network as a container finds it, and digits to ask it."""

import shutil

import pytest

from cloud.serve import handlers
from mnist_utils import results


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """The folder of a finished job's model."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(results.weights_path("reference"), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(model_dir):
    return handlers.model_fn(model_dir)


@pytest.fixture(scope="module")
def digits(test_split):
    return test_split.images[:1000].numpy()
