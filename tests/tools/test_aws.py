"""What a teacher puts into an account: templates without a fault, policies that hold, a sweep."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from cfnlint.api import lint_file
from cfnlint.decode import cfn_yaml
from moto import mock_aws
from moto.sagemaker.models import FakeEndpoint

from cloud.jobs.prices import PRICES, TO_STOP
from cloud.rehearsal import permissions
from mnist_utils.files import ROOT

AWS = ROOT / "tools/aws"
RESOURCES = cfn_yaml.load(AWS / "class.yaml")["Resources"]
OWN = "${aws:PrincipalTag/owner}"


@pytest.mark.parametrize("name", ["class.yaml", "budget.yaml"])
def test_cloudformation_takes_a_template(name):
    assert lint_file(AWS / name) == []


def student_policy() -> dict:
    return json.loads(json.dumps(RESOURCES["StudentPolicy"]["Properties"]["PolicyDocument"]))


def test_a_student_may_what_the_course_s_policy_allows_under_a_name_of_one_s_own():
    narrowed = (ROOT / "cloud/jobs/iam/sagemaker_policy.json").read_text()
    for wide, own in (
        ("/mnist-*", f"/mnist-{OWN}-*"),
        ("role/*SageMaker*", f"role/SageMakerCourse-{OWN}"),
        ('"arn:aws:s3:::sagemaker-*/mnist*"', f'["arn:aws:s3:::sagemaker-*/mnist-{OWN}/*", '
         f'"arn:aws:s3:::sagemaker-*/mnist-{OWN}-*"]'),
    ):  # fmt: skip
        assert wide in narrowed
        narrowed = narrowed.replace(wide, own)
    assert student_policy() == json.loads(narrowed)
    assert len(json.dumps(student_policy(), separators=(",", ":"))) < 6144  # AWS's limit


@pytest.mark.parametrize(
    ("action", "thing"),
    [
        (
            "sagemaker:DeleteEndpoint",
            "arn:aws:sagemaker:eu-west-1:1:endpoint/mnist-{}-1",
        ),
        ("sagemaker:StopTrainingJob", "arn:aws:sagemaker:eu-west-1:1:training-job/mnist-{}-1-2"),
        ("s3:PutObject", "arn:aws:s3:::sagemaker-eu-west-1-1/mnist-{}/checkpoints/a"),
        ("iam:PassRole", "arn:aws:iam::1:role/SageMakerCourse-{}"),
    ],
)
def test_nobody_can_end_or_overwrite_what_is_another_s(action, thing):
    alice = json.loads(json.dumps(student_policy()).replace(OWN, "alice"))
    context = {"iam:PassedToService": "sagemaker.amazonaws.com"}
    for owner in ("alice", "bob", "alice2", "al"):
        allowed = permissions.allows(alice, action, thing.format(owner), context)
        assert allowed is (owner == "alice"), owner


def test_the_sweep_deletes_old_endpoints_of_the_course_and_no_other(monkeypatch):
    room = {}
    exec(RESOURCES["Sweep"]["Properties"]["Code"]["ZipFile"], room)
    for name, value in (("HOURS", "2"), ("AWS_DEFAULT_REGION", "us-east-1"),
                        ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")):  # fmt: skip
        monkeypatch.setenv(name, value)
    old = datetime.now(UTC) - timedelta(hours=3)
    with mock_aws():
        client = boto3.client("sagemaker")
        variant = {"VariantName": "one", "ModelName": "m", "InstanceType": "ml.m5.large"}
        variant |= {"InitialInstanceCount": 1, "InitialVariantWeight": 1}
        client.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::1:role/S")
        client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
        keep = [{"Key": "keep", "Value": "yes"}]
        for name, tags in (("mnist-a-1", []), ("mnist-a-2", keep), ("other-mnist-3", [])):
            client.create_endpoint(EndpointName=name, EndpointConfigName="c", Tags=tags)
        assert room["sweep"](None, None) == []  # all are new
        real = FakeEndpoint.summary
        monkeypatch.setattr(FakeEndpoint, "summary", lambda one: real(one) | {"CreationTime": old})
        assert room["sweep"](None, None) == ["mnist-a-1"]
        left = [one["EndpointName"] for one in client.list_endpoints()["Endpoints"]]
    assert sorted(left) == ["mnist-a-2", "other-mnist-3"]


def test_a_space_gets_the_course_and_its_kernel(tmp_path):
    course, home = tmp_path / "course.git", tmp_path / "home"
    course.mkdir()
    home.mkdir()
    (course / "Makefile").write_text("kernel:\n\t@touch $(HOME)/made; echo made\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", course]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    script = (AWS / "studio.sh").read_text().replace("COURSE_URL", str(course))
    for _ in range(2):  # a space starts more than once
        (home / "made").unlink(missing_ok=True)
        subprocess.run(["bash", "-c", script], check=True, env=os.environ | {"HOME": str(home)})
        deadline = time.monotonic() + 60
        while not (home / "made").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (home / "made").exists(), (home / "course.log").read_text()


def test_the_chapter_s_dollars_are_those_of_the_prices():
    page = (ROOT / "notebooks/TEACHING_AWS.md").read_text()
    jobs = 30 * 3 * PRICES["ml.g4dn.xlarge"] * (15 + TO_STOP) / 60
    hour = 30 * PRICES["ml.m5.large"]
    for dollars in (jobs, hour, 48 * hour):
        assert f"${dollars:.2f}" in page
