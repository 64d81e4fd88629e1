"""A command line that ends well: bad input in one line, Ctrl-C that loses nothing."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable

from mnist_utils.errors import InputError


class Interrupted(KeyboardInterrupt):
    """SIGTERM arrived; handled as Ctrl-C is, but reported as exit status 143."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that reports bad options as every other bad input: in one line.

    Options cannot be abbreviated: `--rec` must not pass for `--recipe` here and not there.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, allow_abbrev=False, **options)

    def error(self, message: str):
        raise InputError(f"{message}; --help lists the options")


def _raise_interrupted(signum, frame):
    raise Interrupted


class Stop:
    """Context in which Ctrl-C and SIGTERM wait for a safe point: the next call of `check`.

    Raised at once, either could land in a destructor or a callback, where Python drops it. A
    second signal does not wait.
    """

    def __enter__(self) -> "Stop":
        self._signal = None
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self._signal is not None:
            self.check()
        self._signal = number

    def check(self) -> None:
        """Raise KeyboardInterrupt (Ctrl-C) or Interrupted (SIGTERM) if a signal came."""
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal == signal.SIGTERM:
            raise Interrupted


def run(command: Callable[[], int | None]) -> None:
    """Run a command line's body and exit: 0 done, 2 bad input, 130 Ctrl-C, 143 SIGTERM.

    Bad input costs one line on stderr and no traceback. A bug keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _raise_interrupted)
    try:
        status = command() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt as stop:
        print(f"stopped: {stop}" if str(stop) else "stopped", file=sys.stderr)
        status = 143 if isinstance(stop, Interrupted) else 130
    except BrokenPipeError:  # the reader of our output has gone: `... | head`
        sys.stderr.close()
        status = 141
    sys.exit(status)
