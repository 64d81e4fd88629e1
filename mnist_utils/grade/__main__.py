"""Grade submissions of the assignment: python -m mnist_utils.grade submission --quick"""

from pathlib import Path

from mnist_utils import command
from mnist_utils.errors import InputError
from mnist_utils.files import write_atomically


def main() -> None:
    parser = command.Parser(
        "python -m mnist_utils.grade",
        description="Grade submissions: model.py, fields.csv, analysis.md and runs/ in a folder. "
        "Their networks are described in a sandbox, built anew and trained here; the test digits "
        "are looked at once, at the end. Finished trainings are kept, so that it may be stopped.",
    )
    parser.add_argument("folder", nargs="+", type=Path, metavar="DIR", help="a submission each")
    parser.add_argument(
        "--quick", action="store_true",
        help="train one seed for two epochs of 6,000 digits, and give no points for it: a minute",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="the marks, for a program")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the class, for a spreadsheet")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page with curves and tables")
    parser.add_argument("--rubric", type=Path, metavar="FILE", help="another rubric.toml")
    parser.add_argument(
        "--kept", type=Path, default=Path("grades"), metavar="DIR",
        help="finished trainings lie here (default: grades)",
    )  # fmt: skip
    options = parser.parse_args()
    for folder in options.folder:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; name a submission's")
    if len({folder.resolve() for folder in options.folder}) < len(options.folder):
        raise InputError("a folder is named twice")

    from tqdm import tqdm

    from mnist_utils.grade import report, rubric
    from mnist_utils.grade.grading import grade

    asked = rubric.read(options.rubric) if options.rubric else rubric.read()
    trainings = 1 if options.quick else asked.seeds
    steps = len(options.folder) * (1 + trainings)
    with tqdm(total=steps, unit="step", disable=None) as bar:

        def told(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        found = grade(options.folder, asked, quick=options.quick, kept=options.kept, told=told)
    for graded in found:
        print(report.text(graded))
    written = {
        options.json: lambda: report.to_json(found, asked),
        options.csv: lambda: report.to_csv(found, asked),
        options.html: lambda: report.to_html(found, asked),
    }
    for path, content in written.items():
        if path is not None:
            write_atomically(path, content())


if __name__ == "__main__":
    command.run(main)
