"""Every way an execution can go: what ECS and Lambda answer, attempt by attempt, and what lies in S3."""

import hashlib
import re
from dataclasses import dataclass, field

from ecs_answers import LEFT_OUT, exits, fails, interrupted, never_started, returns, succeeds, throws

TRAIN, PREDICT = "training-container", "inference-container"
# How many tasks score in the scenarios with several.
SHARDS = 3
VERSION = "v1.2.0"
INPUT = {"model_version": VERSION, "environment": "prod"}
# Everything that the state machine keeps at its root, as somebody might send it.
ODD_FIELDS = {name: "odd" for name in ("data", "inference", "ml", "prepared", "run_id", "started", "task", "model", "outcome", "failure", "qa", "publication",
                                       "knowledge", "settings", "variables", "partition", "table", "place", "post", "latest", "identity", "defaults", "merged", "comment")}
DATA = "s3://lake/prepared"
LOCATIONS = {"train_data": f"{DATA}/train/", "test_data": f"{DATA}/test/", "input_data": f"{DATA}/customers/"}
ACTUALS = {"actuals": {"run_id": "three-weeks-ago", "location": f"{DATA}/actuals/"}}
TABLE = {"Table": {"Name": "predictions", "StorageDescriptor": {
    "Columns": [{"Name": "customer_id", "Type": "string"}, {"Name": "prediction", "Type": "double"}],
    "Location": "s3://bucket/scoring/predictions/", "InputFormat": "in", "OutputFormat": "out",
    "SerdeInfo": {"SerializationLibrary": "parquet"}}}}
FUNCTIONS_TABLE = {"Table": {"Name": "results", "StorageDescriptor": TABLE["Table"]["StorageDescriptor"] | {"Location": "s3://bucket/results/"}}}
LATEST_TABLE = {"Table": {"Name": "results_latest", "VersionId": "7", "Parameters": {"EXTERNAL": "TRUE"}}}
PREPARED = {"ready": True, "exit_code": 0, "error_message": None}
QUALITY = {"passed": True, "checks": 17, "warnings": ["drift: 0.31, at most 0.2"], "location": "s3://bucket/qa/run_id=r/"}
RESULTS = {"rows": 100000, "location": "s3://bucket/results/run_id=r/0/", "partition": {"run_id": "r"}}
DOCUMENTS = {"status": "written", "documents": 7}
JOB = {"IngestionJob": {"IngestionJobId": "JOB1", "Status": "STARTING"}}


def ingestion(status: str) -> dict:
    """The mocked answer of getIngestionJob."""
    return {"Return": {"IngestionJob": {"IngestionJobId": "JOB1", "Status": status}}}


# A Cause has at most 32,768 characters; escaped in JSON, each quote counts twice.
LONG_REASON = 'said "no" ' * 2800
LONGEST_CAUSE = (LONG_REASON + LONG_REASON)[:32_768]
MALFORMED_TASK = '{"TaskArn":"arn:aws:ecs:us-east-1:000000000000:task/ml-cluster/0a1b", "Containers": [ this is no JSON }'


def train_result(run_id: str, **changes) -> dict:
    """The result.json of a training that passed its gate."""
    return {"event": "result", "run_id": run_id, "model_name": "engagement", "model_version": VERSION,
            "model_location": f"s3://bucket/models/engagement/{VERSION}/{run_id}", "r2": 0.873, "rmse": 0.1, "mae": 0.07,
            "rows_train": 80000, "rows_test": 20000, "rounds": 214, "gate": "passed", "training_seconds": 11.5,
            "data_quality_score": 0.98} | changes


def rejected_result(run_id: str) -> dict:
    """The result.json of a training below the gate."""
    return train_result(run_id, event="failure", exit_code=3, error_type="gate", gate="failed", r2=0.61,
                        error_message="R2 0.61 on 20000 held-out rows is below MIN_R2 0.75; nothing was published")


def failure_result(run_id: str, exit_code: int, error_type: str, message: str) -> dict:
    """The result.json of a program that failed."""
    return {"event": "failure", "run_id": run_id, "exit_code": exit_code, "error_type": error_type, "error_message": message}


def predict_result(run_id: str, model_run_id: str) -> dict:
    """The result.json of a complete scoring."""
    return {"event": "result", "run_id": run_id, "model_version": VERSION, "model_run_id": model_run_id,
            "output_location": f"s3://bucket/scoring/predictions/run_id={run_id}", "rows_read": 100000,
            "rows_predicted": 99990, "rows_rejected": 10, "parts": 1, "seconds": 0.4, "data_quality_score": 0.97,
            "max_drift": 0.03}


@dataclass
class Scenario:
    """One execution. `mocks` replaces answers of the undisturbed run, `objects` adds to the bucket or (None) leaves out."""

    name: str
    mocks: dict = field(default_factory=dict)
    objects: dict = field(default_factory=dict)
    input: object = field(default_factory=lambda: dict(INPUT))
    execution_name: str = ""
    model_exists: bool = False
    shards: int = 1

    @property
    def machine(self) -> str:
        """The pipeline that it runs in: with a model already, without, with several tasks that score, or with settings of the bucket's own."""
        if self.shards > 1:
            return WITH_SHARDS
        if any(key.startswith("config/") for key in self.objects):
            return "with-settings-that-cannot-be-read" if self.name == "settings-unreadable" else "with-settings"
        return MACHINES[self.model_exists]

    def __post_init__(self):
        self.execution_name = self.execution_name or f"run-{self.name}"

    @property
    def run_id(self) -> str:
        """The run id that both programs get: the execution's name, or its hash where that is no run id."""
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", self.execution_name):
            return self.execution_name
        return hashlib.sha256(self.execution_name.encode()).hexdigest()

    def answers(self) -> dict:
        """The answer to each attempt of each mocked state."""
        return {
            "PreCleanup": [returns({})], "DataPreparation": [returns(LOCATIONS)], "Training": [succeeds(TRAIN)], "TrainingShard": [succeeds(TRAIN)] * self.shards,
            "InferencePrep": [returns(PREPARED)], "Inference": [succeeds(PREDICT)], "InferenceShard": [succeeds(PREDICT)] * self.shards,
            "FindPredictionsTable": [{"Return": TABLE}], "AddPartition": [{"Return": {}}],
            "CreateQATable": [returns(QUALITY)], "CreateResultsTable": [returns(RESULTS)],
            "FindResultsTable": [{"Return": FUNCTIONS_TABLE}], "AddResultsPartition": [{"Return": {}}],
            "FindLatestResults": [{"Return": LATEST_TABLE}], "PublishResults": [{"Return": {}}],
            "UpdateBedrockKB": [returns(DOCUMENTS)], "StartIngestion": [{"Return": JOB}], "GetIngestion": [ingestion("IN_PROGRESS"), ingestion("COMPLETE")],
        } | self.mocks

    def training_key(self) -> str:
        """Where `train` leaves its result."""
        return f"models/engagement/{VERSION}/{self.run_id}/result.json"

    def inference_key(self) -> str:
        """Where `predict` leaves its result."""
        return f"scoring/runs/{self.run_id}/result.json"

    def contents(self) -> dict:
        """The objects of the bucket, by key."""
        both = {self.training_key(): train_result(self.run_id), self.inference_key(): predict_result(self.run_id, self.run_id)}
        changed = {key.format(training=self.training_key(), inference=self.inference_key()): content
                   for key, content in self.objects.items()}
        return {key: content for key, content in (both | changed).items() if content is not None}


LATEST_KEY = "models/engagement/latest.json"
LATEST = {"format_version": 1, "model_version": "v1.1.0", "run_id": "before", "r2": 0.8}
GATE_FAILED = {"Training": [exits(TRAIN, 3)]}


def _rejected(name: str, policy: str | None, model_exists: bool, **mocks) -> Scenario:
    wanted = INPUT | ({"on_gate_failure": policy} if policy else {})
    scenario = Scenario(name, GATE_FAILED | mocks, input=wanted, model_exists=model_exists)
    scenario.objects = {"{training}": rejected_result(scenario.run_id), "{inference}": predict_result(scenario.run_id, "before")}
    return scenario


def _failed_with_result(name: str, exit_code: int, error_type: str, message: str, **more) -> Scenario:
    scenario = Scenario(name, {"Training": [exits(TRAIN, exit_code)]}, **more)
    scenario.objects = {"{training}": failure_result(scenario.run_id, exit_code, error_type, message)}
    return scenario


def _all() -> list:
    """The scenarios of issue 6, then what else can go wrong."""
    return [
        Scenario("first-run-ever"),
        Scenario("success", model_exists=True, input=INPUT | {"trigger": "manual"}),
        _rejected("rejected-previous", None, True),
        _rejected("rejected-stop", "stop", True),
        _rejected("rejected-first-run", "previous", False),
        _failed_with_result("training-crash", 70, "defect", "defect in this program: index out of bounds"),
        _failed_with_result("training-bad-data", 4, "data", "column target of train.parquet is text, not a number"),
        Scenario("training-crash-no-result", {"Training": [exits(TRAIN, 139)]}, {"{training}": None}),
        Scenario("out-of-memory-once", {"Training": [exits(TRAIN, 137), succeeds(TRAIN)]}),
        Scenario("out-of-memory-said-once", {"Inference": [exits(PREDICT, 8), succeeds(PREDICT)]}),
        Scenario("out-of-memory-twice", {"Training": [exits(TRAIN, 137), exits(TRAIN, 137)]}, {"{training}": None}),
        Scenario("memory-and-retries", {"Inference": [exits(PREDICT, 5), exits(PREDICT, 8), interrupted(PREDICT), succeeds(PREDICT)]}),
        Scenario("spot-interruption", {"Training": [interrupted(TRAIN), succeeds(TRAIN)]}),
        Scenario("spot-interruption-killed", {"Training": [interrupted(TRAIN, 137), succeeds(TRAIN)]}),
        Scenario("spot-interruption-thrice", {"Training": [interrupted(TRAIN)] * 3}, {"{training}": None}),
        Scenario("never-started", {"Training": [never_started(TRAIN), throws("AmazonECS.Unknown", "RESOURCE:ENI"), succeeds(TRAIN)]}),
        Scenario("no-capacity", {"Inference": [throws("ECS.AmazonECSException", "Capacity is unavailable at this time."), succeeds(PREDICT)]}),
        Scenario("predict-fails-twice", {"Inference": [exits(PREDICT, 5), exits(PREDICT, 143), succeeds(PREDICT)]}),
        Scenario("predict-fails-thrice", {"Inference": [exits(PREDICT, 5)] * 3},
                 {"{inference}": failure_result("run-predict-fails-thrice", 5, "storage", "S3 kept failing")}),
        Scenario("stale-result", {"Inference": [exits(PREDICT, 5), exits(PREDICT, 70)]},
                 {"{inference}": failure_result("run-stale-result", 5, "storage", "S3 kept failing")}),
        Scenario("emulator-spaces", {"Inference": [fails(PREDICT, exit_code=5, spaces=True), fails(PREDICT, exit_code=6, spaces=True)]}, {"{inference}": None}),
        Scenario("shards", shards=SHARDS),
        # Which shard gets which answer is a matter of chance.
        Scenario("a-shard-interrupted", {"InferenceShard": [interrupted(PREDICT)] + [succeeds(PREDICT)] * SHARDS}, shards=SHARDS),
        Scenario("a-shard-out-of-memory", {"InferenceShard": [exits(PREDICT, 137)] + [succeeds(PREDICT)] * SHARDS}, shards=SHARDS),
        Scenario("two-interruptions-of-shards", {"InferenceShard": [interrupted(PREDICT)] * 2 + [succeeds(PREDICT)] * SHARDS}, shards=SHARDS),
        Scenario("a-shard-fails", {"InferenceShard": [exits(PREDICT, 4)] + [succeeds(PREDICT)] * (SHARDS - 1)},
                 {"{inference}": failure_result("run-a-shard-fails", 4, "data", "101 of 1000 rows were rejected")}, shards=SHARDS),
        Scenario("a-training-shard-interrupted", {"TrainingShard": [interrupted(TRAIN)] + [succeeds(TRAIN)] * 2 * SHARDS}, shards=SHARDS),
        Scenario("a-training-shard-out-of-memory", {"TrainingShard": [exits(TRAIN, 137)] + [succeeds(TRAIN)] * 2 * SHARDS}, shards=SHARDS),
        Scenario("training-shards-keep-failing", {"TrainingShard": [exits(TRAIN, 5)] * 3 * SHARDS}, {"{training}": None}, shards=SHARDS),
        Scenario("training-shards-rejected", {"TrainingShard": [exits(TRAIN, 3)] * SHARDS}, {"{training}": rejected_result("run-training-shards-rejected")}, input=INPUT | {"on_gate_failure": "stop"}, shards=SHARDS),
        Scenario("shards-keep-failing", {"InferenceShard": [exits(PREDICT, 5)] * 3 * SHARDS}, {"{inference}": None}, shards=SHARDS),
        Scenario("lambda-error", {"PreCleanup": [throws("Lambda.ServiceException", "busy")] * 2 + [returns({})],
                                  "DataPreparation": [throws("AthenaError", '{"errorMessage":"query failed"}')] * 3}),
        Scenario("pre-cleanup-error", {"PreCleanup": [throws("Lambda.ServiceException", "busy")] * 4}),
        Scenario("lambda-recovers", {"DataPreparation": [throws("Lambda.ServiceException", "busy")] * 2 + [returns(LOCATIONS)]}),
        Scenario("knowledge-base-error", {"UpdateBedrockKB": [throws("Lambda.Unknown", "no such knowledge base")] * 3}),
        Scenario("knowledge-base-off", {"UpdateBedrockKB": [returns({"status": "off", "documents": 0})]}),
        Scenario("ingestion-of-another", {"StartIngestion": [throws("BedrockAgent.ConflictException", "ongoing")] * 2 + [{"Return": JOB}]}),
        Scenario("ingestion-fails", {"GetIngestion": [ingestion("FAILED")]}),
        Scenario("ingestion-never-ends", {"GetIngestion": [ingestion("IN_PROGRESS")] * 39}),
        Scenario("ingestion-of-another-never-ends", {"StartIngestion": [throws("BedrockAgent.ConflictException", "ongoing")] * 40}),
        Scenario("ingestion-refused", {"StartIngestion": [throws("BedrockAgent.ValidationException", "no such data source")] * 3}),
        Scenario("ingestion-unknown", {"GetIngestion": [throws("BedrockAgent.InternalServerException", "busy")] * 3}),
        Scenario("quality-failed", {"CreateQATable": [throws("QualityFailed", '{"errorType":"QualityFailed","errorMessage":"rows: 99 of 100"}')]}),
        Scenario("settings-of-data-prep-wrong", {"DataPreparation": [throws("BadSettings", '{"errorType":"BadSettings","errorMessage":"config/training.sql, line 3, column 8"}')]}),
        Scenario("no-data", {"DataPreparation": [throws("EmptyData", '{"errorType":"EmptyData","errorMessage":"train has no rows"}')]}),
        Scenario("function-error-without-a-message", {"PreCleanup": [throws("Odd", '{"errorMessage":7}')] * 4}),
        Scenario("function-error-malformed", {"PreCleanup": [throws("Odd", '{"errorMessage": this is no JSON}')] * 4}),
        Scenario("results-table-missing", {"FindResultsTable": [throws("Glue.EntityNotFoundException", "Table not found.")] * 3}),
        Scenario("results-partition-exists", {"AddResultsPartition": [throws("Glue.AlreadyExistsException", "Partition already exists.")]}),
        Scenario("published-meanwhile", {"FindLatestResults": [{"Return": LATEST_TABLE}] * 2, "PublishResults": [throws("Glue.ConcurrentModificationException", "changed"), {"Return": {}}]}),
        Scenario("published-again-and-again", {"FindLatestResults": [{"Return": LATEST_TABLE}] * 4, "PublishResults": [throws("Glue.ConcurrentModificationException", "changed")] * 4}),
        Scenario("newer-results-stand", {"FindLatestResults": [{"Return": {"Table": LATEST_TABLE["Table"] | {"Parameters": {"EXTERNAL": "TRUE", "started": "9999-01-01T00:00:00.000Z"}}}}]}),
        Scenario("chat-cannot-be-told", {"ChatSuccess": [throws("SNS.InternalErrorException", "busy")] * 3}),
        Scenario("no-model-yet", {"InferencePrep": [returns({"ready": False, "exit_code": 0, "error_message": None})]}),
        Scenario("customers-do-not-fit", {"InferencePrep": [returns({"ready": False, "exit_code": 4, "error_message": "column district is missing"})]}),
        Scenario("more-variables", objects={"config/environment.json": {"training": [{"Name": "ROUNDS", "Value": "60"}], "inference": [{"Name": "REASONS", "Value": "3"}]}}),
        Scenario("odd-fields", input=INPUT | ODD_FIELDS),
        Scenario("no-locations", {"DataPreparation": [returns({"statusCode": 200})]}),
        Scenario("evaluated", {"DataPreparation": [returns(LOCATIONS | ACTUALS)], "Evaluation": [succeeds(PREDICT)]}),
        Scenario("evaluation-recovers", {"DataPreparation": [returns(LOCATIONS | ACTUALS)], "Evaluation": [interrupted(PREDICT), succeeds(PREDICT)]}),
        Scenario("evaluation-fails", {"DataPreparation": [returns(LOCATIONS | ACTUALS)], "Evaluation": [exits(PREDICT, 4)] * 2}),
        Scenario("nothing-to-evaluate", {"DataPreparation": [returns(LOCATIONS | {"actuals": None})]}),
        Scenario("no-test-data", {"DataPreparation": [returns({k: v for k, v in LOCATIONS.items() if k != "test_data"})]}),
        Scenario("parallel-branch-failure", {"CreateQATable": [throws("QualityError", "half of the scores are null")] * 3}),
        Scenario("parallel-other-branch-failure", {"CreateResultsTable": [throws("JoinError", "no customers")] * 3}),
        Scenario("prepare-fails", {"InferencePrep": [throws("OutOfTime", "{}")] * 3}),
        Scenario("timeout", {"Training": [throws("States.Timeout", "")]}, {"{training}": None}),
        Scenario("predict-timeout", {"Inference": [throws("States.Timeout", "")]}, {"{inference}": None}),
        Scenario("cause-without-exit-code", {"Training": [fails(TRAIN, exit_code=LEFT_OUT, stopped_reason="Timeout waiting for network interface provisioning")]}, {"{training}": None}),
        Scenario("cause-in-plain-text", {"Training": [throws("ECS.TaskFailed", "the task failed, sorry")]}, {"{training}": None}),
        Scenario("cause-empty", {"Inference": [throws("States.TaskFailed", "")]}),
        Scenario("cause-malformed", {"Inference": [throws("States.TaskFailed", MALFORMED_TASK)]}),
        Scenario("cause-huge", {"Inference": [fails(PREDICT, exit_code=70, stopped_reason=LONG_REASON)]}, {"{inference}": None}),
        Scenario("cause-huge-and-plain", {"Inference": [throws("States.TaskFailed", LONG_REASON)]}, {"{inference}": None}),
        Scenario("cause-as-long-as-can-be", {"Inference": [throws("States.TaskFailed", LONGEST_CAUSE)]}, {"{inference}": None}),
        Scenario("settings-unreadable", objects={"config/environment.json": "{\"training\": [", "{training}": None}),
        Scenario("results-missing", objects={"{training}": None, "{inference}": None}),
        Scenario("results-damaged", objects={"{training}": "{\"event\": \"resu", "{inference}": "[1, 2]"}),
        Scenario("partition-exists", {"AddPartition": [throws("Glue.AlreadyExistsException", "Partition already exists.")]}),
        Scenario("partition-refused", {"FindPredictionsTable": [throws("Glue.EntityNotFoundException", "Table not found.")] * 3}),
        Scenario("success-cannot-be-told", {"NotifySuccess": [throws("SNS.InternalErrorException", "busy")] * 3}),
        _rejected("rejection-cannot-be-told", "stop", True, NotifyRejected=[throws("SNS.InternalErrorException", "busy")] * 3),
        Scenario("failure-cannot-be-told", {"Training": [exits(TRAIN, 70)], "NotifyFailure": [throws("SNS.InternalErrorException", "busy")] * 3}, {"{training}": None}),
        Scenario("input-without-version", input={"environment": "prod"}),
        Scenario("input-of-another-type", input=["v1.2.0"]),
        Scenario("input-unknown-policy", input=INPUT | {"on_gate_failure": "shrug"}),
        Scenario("name-that-is-no-run-id", execution_name="Nightly+(1)é"),
        Scenario("name-with-a-leading-dot", execution_name=".nightly"),
        Scenario("scheduled", execution_name="0d2c7a0e-1f8e-7c61-0f0b-7e1c2a9d5b11_5b1a6f0c-3a0f-9a7d-2c4e-8d1f6b0a9e22"),
    ]


SCENARIOS = {scenario.name: scenario for scenario in _all()}


MACHINES = {True: "with-a-model", False: "without-a-model"}


WITH_SHARDS = "with-shards"


EVERY_MACHINE = [*MACHINES.values(), WITH_SHARDS, "with-settings", "with-settings-that-cannot-be-read"]


def mock_file() -> dict:
    """All scenarios in the format of AWS's mocked service integrations."""
    responses, cases = {}, {}
    for scenario in SCENARIOS.values():
        cases[scenario.name] = {}
        for state, answers in scenario.answers().items():
            cases[scenario.name][state] = f"{scenario.name}/{state}"
            responses[f"{scenario.name}/{state}"] = {str(attempt): answer for attempt, answer in enumerate(answers)}
    return {"StateMachines": {machine: {"TestCases": cases} for machine in EVERY_MACHINE}, "MockedResponses": responses}
