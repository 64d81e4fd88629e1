"""Write the lab as one HTML file that opens in a browser from disk, without a kernel."""

from pathlib import Path

from mnist_utils import command
from mnist_utils.files import ROOT, write_atomically

FILE = ROOT / "notebooks" / "lab.html"


def main() -> None:
    parser = command.Parser(prog="python -m classroom.lab", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=FILE, help="default: %(default)s")
    file = parser.parse_args().file
    from classroom.lab.page import page

    write_atomically(file, page())
    print(f"open {file}")


if __name__ == "__main__":
    command.run(main)
