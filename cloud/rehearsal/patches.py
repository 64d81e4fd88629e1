"""What a rehearsal patches, and what each patch hides.

    session_helper.sts_regional_endpoint    the SDK's address of STS: whether a region's answers
    session_helper.NOTEBOOK_METADATA_FILE   Studio's file: who you are, which role you have there
    socket.connect, connect_ex              every address but this machine's
    socket.getaddrinfo                      every name but this machine's
    SageMakerResponse.create_training_job, stop_training_job
                                            the image and its pull, GPUs, disks; the machine is this
    SageMakerResponse.create_hyper_parameter_tuning_job, stop_hyper_parameter_tuning_job
                                            the tuner's choices: two trials, at the ends of ranges
    SageMakerResponse.create_model, create_endpoint_config
                                            quotas and refusals other than those of `refusals`
    SageMakerResponse.create_endpoint, delete_endpoint
                                            TorchServe, load balancers, minutes of Creating
    SageMakerResponse.describe_model, describe_endpoint, describe_endpoint_config
                                            nothing: moto's empty structures, which AWS leaves out
    SageMakerResponse.describe_training_job, describe_hyper_parameter_tuning_job
                                            nothing: the same
    IamResponse.simulate_principal_policy   boundaries and service control policies
    ActionAuthenticatorMixin._authenticate_and_authorize_action
                                            signatures, policies of buckets and keys, tags of roles
    SageMakerRuntimeResponse.use_raw_body, invoke_endpoint
                                            the limit of 60 seconds, several instances, cold starts

Beside patches: a container is this Python with its packages, not AWS's image; its machines share
one network and one disk, and `algo-1` is found at once; a stop grants 20 seconds, not 120.
"""

import copy
import json
import re
from contextlib import ExitStack
from unittest import mock

from cloud.rehearsal import permissions, refusals
from cloud.rehearsal.job import Job
from cloud.rehearsal.refusals import ACCOUNT, ROLE
from cloud.rehearsal.server import Server
from cloud.rehearsal.stage import Stage
from cloud.rehearsal.trials import Trials


def patch_sdk(stack: ExitStack, stage: Stage) -> None:
    """The SDK asks STS at a hard-coded address for its role; Studio's metadata file names it."""
    from sagemaker.core.helper import session_helper

    metadata = stage.folder / "resource-metadata.json"
    metadata.write_text(json.dumps({"ExecutionRoleArn": ROLE, "UserProfileName": "you"}))
    put = mock.patch.object
    stack.enter_context(put(session_helper, "sts_regional_endpoint", lambda region: stage.endpoint))
    stack.enter_context(put(session_helper, "NOTEBOOK_METADATA_FILE", str(metadata)))


def patch_moto(stack: ExitStack, stage: Stage) -> None:
    """Make real what moto pretends."""
    from moto.core.authorization import ActionAuthenticatorMixin
    from moto.core.responses import EmptyResult
    from moto.iam.responses import IamResponse
    from moto.sagemaker.responses import SageMakerResponse as Control
    from moto.sagemakerruntime.responses import SageMakerRuntimeResponse as Runtime

    def replace(kind, name, new) -> None:
        stack.enter_context(mock.patch.object(kind, name, new, create=True))

    def create_training_job(self, original=Control.create_training_job):
        request = copy.deepcopy(self._get_params())
        result = original(self)
        name = request["TrainingJobName"]
        record = self.sagemaker_backend.training_jobs[name]
        stage.jobs[name] = Job(stage, record, request)
        return result

    def create_hyper_parameter_tuning_job(self, original=Control.create_hyper_parameter_tuning_job):
        request = copy.deepcopy(self._get_params())
        result = original(self)
        name = request["HyperParameterTuningJobName"]
        record = self.sagemaker_backend.hyper_parameter_tuning_jobs[name]
        stage.trials[name] = Trials(stage, record, request)
        return result

    def stop_training_job(self):
        stage.jobs[self._get_param("TrainingJobName")].stop()
        return EmptyResult()

    def stop_hyper_parameter_tuning_job(self):
        stage.trials[self._get_param("HyperParameterTuningJobName")].stop()
        return EmptyResult()

    for new in (
        create_training_job, create_hyper_parameter_tuning_job, stop_training_job,
        stop_hyper_parameter_tuning_job, *_endpoints(stage, Control),
    ):  # fmt: skip
        replace(Control, new.__name__, new)
    for operation in refusals.RULES:
        name = "_".join(re.findall("[A-Z][a-z]+", operation)).lower()
        replace(Control, name, _refusing(operation, getattr(Control, name)))
    for name in (
        "model", "endpoint", "endpoint_config", "training_job", "hyper_parameter_tuning_job",
    ):  # fmt: skip
        name = f"describe_{name}"
        replace(Control, name, _described_without_empty(getattr(Control, name)))
    replace(IamResponse, "simulate_principal_policy", _simulating(stage))
    replace(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", _judging(stage))
    replace(Runtime, "use_raw_body", True)
    replace(Runtime, "invoke_endpoint", _invoking(stage))


def _endpoints(stage: Stage, control) -> tuple:
    """An endpoint's life: a server that is started and killed."""

    def create_endpoint(self, original=control.create_endpoint):
        result = original(self)
        name, backend = self._get_param("EndpointName"), self.sagemaker_backend
        configuration = backend.endpoint_configs[self._get_param("EndpointConfigName")]
        model = backend.describe_model(configuration.production_variants[0]["ModelName"])
        stage.servers[name] = Server(stage, backend.endpoints[name], model.response_object)
        return result

    def delete_endpoint(self, original=control.delete_endpoint):
        result = original(self)
        server = stage.servers.pop(self._get_param("EndpointName"))
        server.thread.join()
        server.stop()
        return result

    return create_endpoint, delete_endpoint


def _refusing(operation: str, original):
    """`original`, but for what AWS would refuse."""

    def asked(self):
        refusals.check(operation, self._get_params(), self.sagemaker_backend)
        return original(self)

    return asked


def _invoking(stage: Stage):
    """What answers a request to an endpoint: the server that `stage` runs for it."""

    def invoke_endpoint(self):
        name = self.path.split("/")[2]
        headers = {key: self.headers[key] for key in ("Content-Type", "Accept")
                   if key in self.headers}  # fmt: skip
        server = stage.servers.get(name)
        if server is None or server.port is None:
            message = {"Message": f"Endpoint {name} of account {ACCOUNT} not found."}
            headers = {"x-amzn-errortype": "ValidationError", "status": 400}
            return 400, headers, json.dumps(message)
        status, kind, body = server.invoke(self.body, headers)
        if status == 200:
            return 200, {"Content-Type": kind}, body
        text = body.decode(errors="replace")
        fault = "client" if 400 <= status < 500 else "server"
        message = {
            "Message": f'Received {fault} error ({status}) from primary with message "{text}".',
            "OriginalStatusCode": status,
            "OriginalMessage": text,
        }
        return 424, {"x-amzn-errortype": "ModelError", "status": 424}, json.dumps(message)

    return invoke_endpoint


def _simulating(stage: Stage):
    """What the SDK asks where its check of roles is on; moto does not know the question."""
    from moto.core.responses import ActionResult

    def simulate_principal_policy(self):
        answers = [
            {"EvalActionName": action, "EvalDecision": decision}
            for action in self._get_param("ActionNames")
            for decision in [
                "allowed" if permissions.allows(stage.policy, action) else "implicitDeny"
            ]
        ]
        return ActionResult({"EvaluationResults": answers})

    return simulate_principal_policy


def _judging(stage: Stage):
    """moto knows no resources and no conditions, and so allows everything."""

    def authorize(self, _, resource="*"):
        permissions.check(stage.policy, self, resource)

    return authorize


def _described_without_empty(original):
    """moto answers {} for structures that are absent; the SDK rejects that."""
    from moto.core.responses import ActionResult

    def describe(self):
        answer = original(self)
        if isinstance(answer, ActionResult):
            return ActionResult(_without_empty(answer.result))
        return json.dumps(_without_empty(json.loads(answer)))

    return describe


def _without_empty(value):
    if isinstance(value, dict):
        pairs = ((name, _without_empty(item)) for name, item in value.items())
        return {name: item for name, item in pairs if item not in ({}, None)}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def forget() -> None:
    """Drop moto's state and every client that remembers other credentials or another address."""
    import boto3
    from moto.moto_api._internal.models import moto_api_backend
    from sagemaker.core.utils.logs import CloudWatchLogsClient
    from sagemaker.core.utils.utils import SageMakerClient, SingletonMeta

    moto_api_backend.reset()
    boto3.DEFAULT_SESSION = None
    SageMakerClient.reset()
    SingletonMeta._instances.pop(CloudWatchLogsClient, None)
