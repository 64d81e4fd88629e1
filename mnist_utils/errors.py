"""Bad input, told in one line: what was given, what was expected, how to mend it."""

import signal
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something the caller gave is unusable; the message names the value and the remedy."""


class Interrupted(KeyboardInterrupt):
    """SIGTERM arrived; handled as Ctrl-C is, but reported as exit status 143."""


def _raise_interrupted(signum, frame):
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
