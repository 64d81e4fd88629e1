"""What outlives a rehearsal, kill -9 included, and ends what it leaves: processes, its folder.

Started by `stage` as a script. A line of its standard input is a process group to kill, or with a
minus one that has ended; the end of the input is the end of the rehearsal.
"""

import os
import shutil
import signal
import sys
from contextlib import suppress

if __name__ == "__main__":
    groups: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        groups = groups - {-number} if number < 0 else groups | {number}
    for group in groups:
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)
