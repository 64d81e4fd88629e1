"""Where AWS refuses: what moto accepts and an account does not, in AWS's own words."""

from functools import cache

from moto.core.exceptions import ServiceException
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError

ACCOUNT = "123456789012"  # moto's
ROLE = f"arn:aws:iam::{ACCOUNT}:role/SageMakerRehearsal"  # the one that SageMaker may assume here
# Instances at a time; of all others none: what a new account meets first.
QUOTAS = {"ml.g4dn.xlarge": 4, "ml.g5.xlarge": 1, "ml.m5.large": 8, "ml.m5.xlarge": 4}
RUNNING = ("InProgress", "Stopping")


class ResourceLimitExceeded(ServiceException):
    code = "ResourceLimitExceeded"


def check(operation: str, request: dict, backend) -> None:
    """Raise what AWS answers to such a request, or return: then moto may do it."""
    if rule := RULES.get(operation):
        rule(request, backend)


def _create_training_job(request: dict, backend) -> None:
    if (name := request["TrainingJobName"]) in backend.training_jobs:
        arn = backend.training_jobs[name].arn
        raise ResourceInUseException(
            "Job name must be unique within an AWS account and region, and a job with this name "
            f"already exists ({arn})"
        )
    _job(request, backend)


def _job(definition: dict, backend) -> None:
    _instance(definition["ResourceConfig"]["InstanceType"], "TrainingInstanceType", "training job")
    jobs = [j for j in backend.training_jobs.values() if j.training_job_status in RUNNING]
    kind = definition["ResourceConfig"]["InstanceType"]
    used = sum(
        job.resource_config.get("InstanceCount", 1)
        for job in jobs
        if job.resource_config["InstanceType"] == kind
    )
    spot = "spot " * bool(definition.get("EnableManagedSpotTraining"))
    count = definition["ResourceConfig"].get("InstanceCount", 1)
    _quota(kind, f"{spot}training job usage", used, count)
    _role(definition["RoleArn"])


def _create_tuning_job(request: dict, backend) -> None:
    name = request["HyperParameterTuningJobName"]
    if name in backend.hyper_parameter_tuning_jobs:
        raise ResourceInUseException(f"Hyperparameter tuning job {name} already exists")
    _job(request["TrainingJobDefinition"], backend)


def _stop_training_job(request: dict, backend) -> None:
    job = backend.training_jobs.get(request["TrainingJobName"])
    if job is None:
        raise ValidationError("Requested resource not found.")
    if job.training_job_status not in RUNNING:
        raise ValidationError(
            "The request was rejected because the training job is in status "
            f"{job.training_job_status}."
        )


def _stop_tuning_job(request: dict, backend) -> None:
    job = backend.hyper_parameter_tuning_jobs.get(request["HyperParameterTuningJobName"])
    if job is None:
        raise ValidationError("Requested resource not found.")
    if job.hyper_parameter_tuning_job_status not in RUNNING:
        raise ValidationError(
            "The request was rejected because the hyperparameter tuning job is in status "
            f"{job.hyper_parameter_tuning_job_status}."
        )


def _create_model(request: dict, backend) -> None:
    if (name := request["ModelName"]) in backend._models:
        raise ValidationError(f'Cannot create already existing model "{backend._models[name].arn}"')
    _role(request["ExecutionRoleArn"])


def _create_endpoint_config(request: dict, backend) -> None:
    if (name := request["EndpointConfigName"]) in backend.endpoint_configs:
        arn = backend.endpoint_configs[name].arn
        raise ValidationError(f'Cannot create already existing endpoint configuration "{arn}"')
    for variant in request["ProductionVariants"]:
        if kind := variant.get("InstanceType"):
            _instance(kind, "ProductionVariantInstanceType", "endpoint")


def _create_endpoint(request: dict, backend) -> None:
    if (name := request["EndpointName"]) in backend.endpoints:
        arn = backend.endpoints[name].arn
        raise ValidationError(f'Cannot create already existing endpoint "{arn}"')
    if config := backend.endpoint_configs.get(request["EndpointConfigName"]):
        kinds = [variant.get("InstanceType") for variant in config.production_variants]
        there = [e.production_variants for e in backend.endpoints.values()]
        used = sum(v.get("InstanceType") == kinds[0] for variants in there for v in variants or ())
        if kinds[0]:
            _quota(kinds[0], "endpoint usage", used)


def _delete_endpoint(request: dict, backend) -> None:
    endpoint = backend.endpoints.get(request["EndpointName"])
    if endpoint is not None and endpoint.endpoint_status in ("Creating", "Updating"):
        raise ValidationError(f'Cannot update in-progress endpoint "{endpoint.arn}".')


RULES = {
    "CreateTrainingJob": _create_training_job,
    "CreateHyperParameterTuningJob": _create_tuning_job,
    "StopTrainingJob": _stop_training_job,
    "StopHyperParameterTuningJob": _stop_tuning_job,
    "CreateModel": _create_model,
    "CreateEndpointConfig": _create_endpoint_config,
    "CreateEndpoint": _create_endpoint,
    "DeleteEndpoint": _delete_endpoint,
}


def _role(arn: str) -> None:
    if arn != ROLE:
        raise ValidationError(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )


def _instance(kind: str, shape: str, what: str) -> None:
    if kind not in _known(shape):
        raise ValidationError(
            f"1 validation error detected: Value '{kind}' at the instance type of the {what} "
            "failed to satisfy constraint: Member must satisfy enum value set"
        )


@cache
def _known(shape: str) -> frozenset[str]:
    """The instance types that botocore's model of the service names."""
    from botocore.session import Session

    return frozenset(Session().get_service_model("sagemaker").shape_for(shape).enum)


def _quota(kind: str, usage: str, used: int, count: int = 1) -> None:
    most = QUOTAS.get(kind, 0)
    if used + count > most:
        raise ResourceLimitExceeded(
            f"The account-level service limit '{kind} for {usage}' is {most} Instances, with "
            f"current utilization of {used} Instances and a request delta of {count} Instances. "
            "Please use AWS Service Quotas to request an increase for this quota."
        )
