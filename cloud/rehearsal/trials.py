"""A search of a rehearsal: two of its trials, one after the other."""

import copy
import os
import threading


class Trials:
    """A search for hyperparameters: two of its trials, one after the other."""

    def __init__(self, stage, record, request: dict):
        self.stage, self.record, self.request, self.stopping = stage, record, request, False
        self._job, self.best = None, -1.0
        record.hyper_parameter_tuning_job_status = "InProgress"
        record.best_training_job = None
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _choices(self) -> list[dict[str, str]]:
        """Both ends of every range."""
        ranges = self.request["HyperParameterTuningJobConfig"]["ParameterRanges"]
        ends: list[dict[str, str]] = [{}, {}]
        for one in [r for kind in ranges.values() for r in kind]:
            values = one.get("Values") or [one["MinValue"], one["MaxValue"]]
            for chosen, value in zip(ends, (values[0], values[-1]), strict=True):
                chosen[one["Name"]] = value
        return ends

    def _live(self) -> None:
        definition = copy.deepcopy(self.request["TrainingJobDefinition"])
        config = self.request["HyperParameterTuningJobConfig"]
        objective = config["HyperParameterTuningJobObjective"]["MetricName"]
        static = definition.pop("StaticHyperParameters") | {"_tuning_objective_metric": objective}
        sagemaker, statuses = self.stage.client("sagemaker"), []
        for number, chosen in enumerate(self._choices(), start=1):
            if self.stopping:
                break
            name = (
                f"{self.request['HyperParameterTuningJobName']}-{number:03}-{os.urandom(4).hex()}"
            )
            sagemaker.create_training_job(
                TrainingJobName=name, HyperParameters=static | chosen, **definition
            )
            self._job = self.stage.jobs[name]
            self._job.thread.join()
            statuses.append(self._job.record.training_job_status)
            self._compare(name, objective, chosen)
        ended = "Stopped" if self.stopping else "Completed"
        self.record.hyper_parameter_tuning_job_status = ended
        self.record.training_job_status_counters |= {"Completed": statuses.count("Completed")}

    def _compare(self, name: str, objective: str, chosen: dict[str, str]) -> None:
        """Is this trial the best so far?"""
        metrics = {m["MetricName"]: m["Value"] for m in self._job.record.final_metric_data_list}
        ended_well = self._job.record.training_job_status == "Completed"
        if ended_well and metrics.get(objective, -1.0) > self.best:
            self.best = metrics[objective]
            metric = {"MetricName": objective, "Value": self.best}
            self.record.best_training_job = {
                "TrainingJobName": name, "TunedHyperParameters": chosen,
                "FinalHyperParameterTuningJobObjectiveMetric": metric,
                "TrainingJobArn": self._job.record.arn, "TrainingJobStatus": "Completed",
                "CreationTime": self._job.record.creation_time,
            }  # fmt: skip

    def stop(self) -> None:
        """Start no other trial; stop the one that runs."""
        self.stopping = True
        if self._job:
            self._job.stop()
