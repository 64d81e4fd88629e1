"""The command line: `python -m cloud.jobs --help`."""

import argparse

from cloud import jobs
from mnist_utils import command
from mnist_utils.errors import InputError


def _submit(place, options: argparse.Namespace) -> None:
    """Start a job; follow it to its end where that is asked for, or is a rehearsal's."""
    job = jobs.submit(
        place,
        options.hyperparameters,
        name=options.name,
        instance_type=options.instance_type,
        spot=not options.on_demand,
        minutes=options.minutes,
        processes=options.processes,
        instances=options.instances,
        image=options.image,
        dry_run=options.dry_run,
    )
    if not job:
        return
    print(f"job {job}")
    if options.command == "all" or place.rehearsal:
        print(jobs.wait(place, job))
        print(jobs.bill(place, job))
    if options.command == "all":
        print(f"the model is in {jobs.fetch(place, job, options.out)}/")
        with jobs.serving(place, job) as endpoint:
            print(_classify(place, endpoint))


def _classify(place, endpoint: str) -> str:
    from mnist_utils import data

    digits = data.load(train=False).take(slice(1000))
    labels = jobs.invoke(place, endpoint, digits.images.numpy())["labels"]
    return f"{(labels == digits.labels.numpy()).sum()} of 1,000 test digits classified rightly"


def _delete(place, endpoint: str) -> str:
    return f"deleted {', '.join(jobs.delete(place, endpoint)) or 'nothing'}"


def _list(place, everyone: bool) -> str:
    who = "anyone" if everyone else place.owner
    return "\n".join(map(str, jobs.running(place, everyone=everyone))) or f"nothing of {who} runs"


def _clean(place, older: str, everyone: bool) -> str:
    return (
        "\n".join(jobs.clean(place, older, everyone=everyone)) or f"nothing is older than {older}"
    )


# Name -> (help, what it does, the arguments that it does it to).
COMMANDS = {
    "submit": ("start a training job; options of train follow, as --epochs 2", _submit, []),
    "all": ("submit, wait, fetch, deploy, classify 1,000 test digits, delete", _submit, []),
    "wait": ("follow a job's log to its end", lambda *its: jobs.wait(*its), ["job"]),
    "stop": ("stop a job or a search; checkpoints stay", lambda *its: jobs.stop(*its), ["name"]),
    "fetch": ("download and unpack a job's model", lambda *its: jobs.fetch(*its), ["job", "out"]),
    "best": ("the best trial of a search", lambda *its: jobs.best(*its), ["search"]),
    "deploy": (
        "create an endpoint, which costs money until deleted",
        lambda place, job, serverless: jobs.deploy(place, job, serverless=serverless),
        ["job", "--serverless"],
    ),
    "invoke": ("classify 1,000 test digits", _classify, ["endpoint"]),
    "delete": ("delete endpoint, configuration and model", _delete, ["endpoint"]),
    "list": ("your endpoints, jobs and searches that run and cost", _list, ["--everyone"]),
    "clean": ("end those that are older than a time", _clean, ["--older", "--everyone"]),
}
OPTIONS = {
    "--serverless": {"action": "store_true", "help": "billed only while it answers"},
    "--everyone": {"action": "store_true", "help": "not yours alone"},
    "--older": {"default": "2h", "help": "as 30m, 2h or 1d (2h if not given)"},
}


def _parser() -> argparse.ArgumentParser:
    result = command.Parser(prog="python -m cloud.jobs", description=jobs.__doc__.splitlines()[0])
    result.add_argument("--rehearse", action="store_true", help="on this machine, no account")
    for option in ("role", "bucket", "region", "owner"):
        result.add_argument(f"--{option}", help="if not that of the AWS configuration or Studio")
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (help, run, positional) in COMMANDS.items():
        sub = commands.add_parser(name, help=help, description=help)
        for word in positional:
            sub.add_argument(word, **OPTIONS.get(word, {}))
        if run is _submit:
            _add_options_of_a_job(sub)
    return result


def _add_options_of_a_job(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--name", help="of the run, to go on from its checkpoints")
    sub.add_argument("--instance-type", default="ml.g4dn.xlarge")
    sub.add_argument("--on-demand", action="store_true", help="no spot capacity")
    sub.add_argument("--minutes", type=int, default=60, help="longest run, and so longest bill")
    sub.add_argument("--processes", type=int, default=1, help="on each, one for each GPU")
    sub.add_argument("--instances", type=int, default=1, help="that train one network together")
    sub.add_argument("--image", help="the training image's address, if not AWS's newest")
    sub.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
    sub.add_argument("--out", default="runs/sagemaker", help="where `all` puts the model")


def _hyperparameters(words: list[str]) -> dict:
    """`--epochs 2 --lr=0.1` as a dictionary."""
    hyperparameters, words = {}, [part for word in words for part in word.split("=", 1)]
    if len(words) % 2 or any(not word.startswith("--") for word in words[::2]):
        raise InputError(f"{' '.join(words)!r} are not pairs of an option and a value")
    for option, value in zip(words[::2], words[1::2], strict=True):
        hyperparameters[option[2:].replace("-", "_")] = value
    return hyperparameters


def main() -> None:
    options, rest = _parser().parse_known_args()
    if rest and options.command not in ("submit", "all"):
        raise InputError(f"{' '.join(rest)!r} is not understood; --help lists the options")
    _, run, positional = COMMANDS[options.command]
    if options.rehearse and run is not _submit:
        raise InputError(
            "a rehearsal ends with its command, so there is nothing to "
            f"{options.command}: rehearse "
            "`submit` or `all`, or open notebook 4"
        )
    options.hyperparameters = _hyperparameters(rest)
    where = {name: getattr(options, name) for name in ("role", "bucket", "region", "owner")}
    with jobs.connect(rehearse=options.rehearse, **where) as place:
        if run is _submit:
            _submit(place, options)
        else:
            print(run(place, *(getattr(options, word.lstrip("-")) for word in positional)))


if __name__ == "__main__":
    command.run(main)
