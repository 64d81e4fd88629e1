"""A search for the best hyperparameters: SageMaker's own tuner, and who won."""

import secrets

from cloud import container
from cloud.jobs import archive, training
from cloud.jobs.place import Place, aws_errors, image_of, needs_toolkit, to_its_end
from cloud.jobs.prices import price
from mnist_utils.config import TrainConfig
from mnist_utils.errors import InputError
from mnist_utils.train.progress import PATTERNS


@aws_errors()
def tune(
    place: Place,
    hyperparameters: dict,
    ranges: dict[str, tuple],
    *,
    jobs: int = 40,
    at_once: int = 4,
    instance_type: str = "ml.g4dn.xlarge",
    spot: bool = True,
    minutes: int = 15,
) -> str:
    """Start SageMaker's own search for the hyperparameters of best validation accuracy.

    Parameters
    ----------
    ranges : dict
        Name to `(low, high)`, or to the choices, if they are words: `{"lr": (0.005, 0.05)}`.
        `hyperparameters` must set `validation`: nobody tunes on the test digits.
    jobs, at_once
        How many training jobs in all, and how many at a time.

    Returns
    -------
    str
        The tuning job's name. A rehearsal runs two trials, at both ends of the ranges.
    """
    from sagemaker.train.tuner import HyperparameterTuner

    ranges = _checked(place, hyperparameters, ranges, jobs, at_once)
    machines = training.Machines(instance_type, 1, 1, spot, minutes)
    training.check_machines(place, machines)
    image = image_of(place, "training", instance_type)
    print(price(instance_type, minutes, spot=spot, jobs=jobs))
    name = f"{place.prefix}-{secrets.token_hex(4)}"
    with archive.training_source(hyperparameters) as source:
        # The tuner runs the entry script through the image's own toolkit, and knows no `command`.
        # It shares one checkpoint folder among all trials: SEARCH tells each to have its own.
        trainer = training.trainer_of(
            place, hyperparameters, name, image, machines, source, **{container.SEARCH: name}
        )
        trainer.source_code.command, trainer.source_code.entry_script = None, "train.py"
        tuner = HyperparameterTuner(
            model_trainer=trainer,
            objective_metric_name="validation:accuracy",
            metric_definitions=[{"Name": key, "Regex": regex} for key, regex in PATTERNS.items()],
            hyperparameter_ranges=_parameters(ranges),
            max_jobs=jobs,
            max_parallel_jobs=at_once,
            early_stopping_type="Auto",
        )
        inputs = training.channel_of(place, None, upload=True)
        with to_its_end():
            tuner.tune(inputs=inputs, job_name=name, wait=False)
    return name


def _checked(place: Place, hyperparameters, ranges, jobs: int, at_once: int) -> dict[str, tuple]:
    """The ranges as AWS takes them, or InputError: nothing has been uploaded yet."""
    if not hyperparameters.get("validation"):
        raise InputError("set validation, for instance 5000: nobody tunes on the test digits")
    if not 1 <= at_once <= jobs:
        raise InputError(f"jobs={jobs!r}, at_once={at_once!r}: 1 or more, and no more at once")
    ranges = {name: _range(name, values) for name, values in ranges.items()}
    for end in (0, -1):
        ends = {name: values[end] for name, values in ranges.items()}
        training.check_hyperparameters(hyperparameters | ends)
    if place.rehearsal:
        needs_toolkit("a search", "sagemaker-training==5.1.4")  # it takes a C compiler, on Linux
    return ranges


def _parameters(ranges: dict[str, tuple]) -> dict:
    """Ranges in the SDK's words."""
    from sagemaker.core import parameter

    kinds = {
        int: parameter.IntegerParameter,
        float: parameter.ContinuousParameter,
        str: lambda *words: parameter.CategoricalParameter(list(words)),
    }
    return {name: kinds[type(values[0])](*values) for name, values in ranges.items()}


def _range(name: str, values: tuple) -> tuple:
    """`(low, high)` as the option's own kind of number, or two words and more."""
    kind = type(getattr(TrainConfig(), name, ""))
    if kind is float and all(type(value) in (int, float) for value in values):
        values = tuple(map(float, values))
    kinds = {type(value) for value in values}
    if kinds == {str} and len(values) > 1:
        return tuple(values)
    if kinds in ({int}, {float}) and len(values) == 2 and values[0] < values[1]:
        return tuple(values)
    raise InputError(f"{name}={values!r} is not a range: pass (low, high), or two words or more")


@aws_errors()
def best(place: Place, search: str) -> str:
    """The best trial of a search so far: its name, its accuracy, its hyperparameters.

    Raises
    ------
    InputError
        No such search, or no trial of it has succeeded yet.
    """
    about = place.client("sagemaker").describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=search
    )
    status, trial = about["HyperParameterTuningJobStatus"], about.get("BestTrainingJob")
    if not trial:
        raise InputError(f"search {search} is {status}, and no trial of it has ended well yet")
    value = trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    tuned = ", ".join(f"{key} {value}" for key, value in trial["TunedHyperParameters"].items())
    return f"{trial['TrainingJobName']}: validation accuracy {value:.4f} with {tuned} ({status})"
