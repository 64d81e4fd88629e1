"""What a network may not do while it is read: go by chance, or work in threads of its own."""

import pickle
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy
import torch

from receptive.errors import InputError

CHANCE = (
    "forward draws random numbers and goes by them in eval(), so that its layers may differ from "
    "run to run; describe the parts"
)


@contextmanager
def no_chance() -> Iterator[None]:
    """Leave the random states as they were; refuse a network that used Python's or NumPy's."""
    before = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
        if pickle.dumps((random.getstate(), numpy.random.get_state())) != pickle.dumps(before):
            raise InputError(CHANCE)
    finally:
        random.setstate(before[0])
        numpy.random.set_state(before[1])


@contextmanager
def no_threads() -> Iterator[None]:
    """What `forward` does in threads of its own would go unseen: refuse to start any."""
    reading, start = threading.get_ident(), threading.Thread.start

    def guarded(thread: threading.Thread) -> None:
        if threading.get_ident() == reading:
            raise InputError("forward starts a thread, whose operations cannot be followed")
        start(thread)

    with patch.object(threading.Thread, "start", guarded):
        yield


@contextmanager
def no_onednn() -> Iterator[None]:
    """oneDNN runs a recurrent layer as one operation, which hides its products."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


# What tells a network where its image lies; it might go by the answer.
ASKS_DEVICE = {
    getattr(torch.Tensor, name).__get__ for name in ("device", "is_cpu", "is_cuda", "is_meta")
}
