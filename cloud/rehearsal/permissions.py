"""IAM, rehearsed: each call is judged by `Stage.policy`, the course's own unless it is replaced.

Caller and role are one, as in Studio. `iam:…` itself is allowed, as to an administrator.
"""

import re
from fnmatch import fnmatchcase

from moto.core.exceptions import JsonRESTError
from moto.s3.exceptions import S3AccessDeniedError

from cloud.rehearsal.refusals import ROLE

CALLER = "rehearsal"  # the access key of whoever rehearses; the stage's own calls are AWS's
SERVICE = {"iam:PassedToService": "sagemaker.amazonaws.com"}
ASKED_AS = {"s3:HeadBucket": "s3:ListBucket"}  # AWS knows no permission of the former name
# The parameter that names a thing -> how its ARN begins.
THINGS = {
    "TrainingJobName": "training-job", "HyperParameterTuningJobName": "hyper-parameter-tuning-job",
    "ModelName": "model", "EndpointConfigName": "endpoint-config", "EndpointName": "endpoint",
}  # fmt: skip


def allows(policy: dict, action: str, resource: str = "*", context: dict | None = None) -> bool:
    """Does a policy's document allow an action? Conditions look into `context` alone."""

    def applies(statement: dict) -> bool:
        conditions = [
            pair for test in statement.get("Condition", {}).values() for pair in test.items()
        ]
        return (
            any(fnmatchcase(action, pattern) for pattern in _several(statement["Action"]))
            and any(fnmatchcase(resource, pattern) for pattern in _several(statement["Resource"]))
            and all(
                any(fnmatchcase((context or {}).get(key, ""), value) for value in _several(values))
                for key, values in conditions
            )
        )

    effects = {s["Effect"] for s in policy["Statement"] if applies(s)}
    return effects == {"Allow"}


def _several(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def check(policy: dict, response, resource: str) -> None:
    """Raise AWS's AccessDenied for a request, moto's `response`, that the policy does not allow."""
    scope = re.search("Credential=([^,]*)", response.headers.get("Authorization", ""))
    if not scope or not scope[1].startswith(f"{CALLER}/"):
        return
    service = scope[1].split("/")[3]
    if service in ("iam", "sts"):
        return
    for action, arn, context in _asked(response, service, resource):
        if not allows(policy, action, arn, context):
            if service == "s3":
                raise S3AccessDeniedError
            raise JsonRESTError(
                "AccessDeniedException",
                f"User: {ROLE} is not authorized to perform: {action} on resource: {arn}",
            )


def _asked(response, service: str, resource: str):
    """What a request asks for: action, resource, context."""
    about = f"arn:aws:{service}:{response.region}:{response.current_account}"
    action, parameters = f"{service}:{response._get_action()}", {}
    action = ASKED_AS.get(action, action)
    if service == "logs":
        resource = f"{about}:log-group:{response._get_param('logGroupName')}"
    elif service == "sagemaker":
        parameters = response._get_params()
        resource = parameters.get("ResourceArn", resource)
        if action.endswith("InvokeEndpoint"):
            parameters["EndpointName"] = response.path.split("/")[2]
        for parameter, kind in THINGS.items():
            if parameter in parameters and not action.endswith(f":List{parameter}"):
                resource = f"{about}:{kind}/{parameters[parameter]}"
                yield action, resource, {}
    yield action, resource, {}
    if parameters.get("Tags"):
        yield "sagemaker:AddTags", resource, {}
    definition = parameters.get("TrainingJobDefinition", parameters)
    for role in {definition.get("RoleArn"), definition.get("ExecutionRoleArn")} - {None}:
        yield "iam:PassRole", role, SERVICE
