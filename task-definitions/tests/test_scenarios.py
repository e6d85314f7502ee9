"""The state machine, executed: each scenario ends in the right state with the right message, and asked for the right things."""

import json
import re

import pytest

import pipeline
from ecs_answers import TASK_ID
from scenarios import INPUT, LOCATIONS, SCENARIOS, VERSION

SIX_FIELDS = {"execution_arn", "failed_state", "error_type", "error_message", "timestamp", "logs"}
CONSOLE = "https://us-east-1.console.aws.amazon.com"
LOG_GROUPS = f"{CONSOLE}/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/"
TRAINING_LOG = f"{LOG_GROUPS}$252Fengagement-ml$252Ftrain/log-events/train$252Ftraining-container$252F{TASK_ID}"
INFERENCE_LOG = f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events/predict$252Finference-container$252F{TASK_ID}"
STEP = "the execution"

SUCCEEDED = ["first-run-ever", "success", "out-of-memory-once", "out-of-memory-said-once", "memory-and-retries",
             "spot-interruption", "spot-interruption-killed", "never-started", "no-capacity", "predict-fails-twice",
             "lambda-recovers", "no-test-data", "prepare-fails", "results-missing", "results-damaged", "partition-exists",
             "name-that-is-no-run-id", "name-with-a-leading-dot", "scheduled"]
REJECTED = ["rejected-previous", "rejected-stop", "rejected-first-run"]
SILENT = ["failure-cannot-be-told"]
# name: (failed state, error type, part of the error message, where the link leads)
FAILED = {
    "training-crash": ("Training", "States.TaskFailed", "exit code 70 (defect): defect in this program", TRAINING_LOG),
    "training-bad-data": ("Training", "States.TaskFailed", "exit code 4 (data): column target", TRAINING_LOG),
    "training-crash-no-result": ("Training", "States.TaskFailed", "exit code 139: Essential container in task exited", TRAINING_LOG),
    "out-of-memory-twice": ("Training", "States.TaskFailed", "exit code 137: Essential container in task exited (OutOfMemoryError", TRAINING_LOG),
    "spot-interruption-thrice": ("Training", "States.TaskFailed", "exit code 143: Your Spot Task was interrupted.", TRAINING_LOG),
    "predict-fails-thrice": ("Inference", "States.TaskFailed", "exit code 5 (storage): S3 kept failing", INFERENCE_LOG),
    "stale-result": ("Inference", "States.TaskFailed", "exit code 70: Essential", INFERENCE_LOG),
    "emulator-spaces": ("Inference", "States.TaskFailed", "exit code 6: Essential", INFERENCE_LOG),
    "lambda-error": ("DataPreparation", "AthenaError", "query failed", f"{LOG_GROUPS}$252Faws$252Flambda$252FDataPreparation"),
    "no-locations": ("DataPreparation", "NoLocations", "train_data, input_data", f"{LOG_GROUPS}$252Faws$252Flambda$252FDataPreparation"),
    "knowledge-base-error": ("UpdateBedrockKB", "Lambda.Unknown", "no such knowledge base", f"{LOG_GROUPS}$252Faws$252Flambda$252FUpdateBedrockKB"),
    "parallel-branch-failure": ("CreateQATable", "QualityError", "half of the scores are null", f"{LOG_GROUPS}$252Faws$252Flambda$252FCreateQATable"),
    "parallel-other-branch-failure": ("CreateResultsTable", "JoinError", "no customers", f"{LOG_GROUPS}$252Faws$252Flambda$252FCreateResultsTable"),
    "timeout": ("Training", "States.Timeout", "ran out of its time", f"{LOG_GROUPS}$252Fengagement-ml$252Ftrain/log-events$3FfilterPattern$3D$2522run-timeout$2522"),
    "predict-timeout": ("Inference", "States.Timeout", "ran out of its time", f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-predict-timeout$2522"),
    "cause-without-exit-code": ("Training", "States.TaskFailed", "no exit code: Timeout waiting for network interface", TRAINING_LOG),
    "cause-in-plain-text": ("Training", "ECS.TaskFailed", "the task failed, sorry", f"{LOG_GROUPS}$252Fengagement-ml$252Ftrain/log-events$3FfilterPattern$3D$2522run-cause-in-plain-text$2522"),
    "cause-empty": ("Inference", "States.TaskFailed", "gave no cause", f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-empty$2522"),
    "cause-malformed": ("Inference", "States.TaskFailed", "this is no JSON", f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-malformed$2522"),
    "pre-cleanup-error": ("PreCleanup", "Lambda.ServiceException", "busy", f"{LOG_GROUPS}$252Faws$252Flambda$252FPreCleanup"),
    "success-cannot-be-told": ("NotifySuccess", "SNS.InternalErrorException", "busy", STEP),
    "rejection-cannot-be-told": ("NotifyRejected", "SNS.InternalErrorException", "busy", STEP),
    "cause-huge": ("Inference", "States.TaskFailed", 'exit code 70: said "no"', INFERENCE_LOG),
    "cause-huge-and-plain": ("Inference", "States.TaskFailed", 'said "no"', f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-huge-and-plain$2522"),
    "partition-refused": ("AddPartition", "Glue.EntityNotFoundException", "Table not found", STEP),
    "input-without-version": ("CheckInput", "InvalidInput", "must be an object with model_version", STEP),
    "input-of-another-type": ("CheckInput", "InvalidInput", "must be an object with model_version", STEP),
    "input-unknown-policy": ("CheckInput", "InvalidInput", "on_gate_failure (previous or stop)", STEP),
}


def requests(outcome, state: str) -> list:
    """What the executions of `state` asked of their service."""
    return outcome.requests.get(state, [])


def environment(request: dict) -> dict:
    """The environment variables of a runTask request."""
    container, = request["Overrides"]["ContainerOverrides"]
    return {variable["Name"]: variable["Value"] for variable in container["Environment"]}


def capacity(outcome, state: str) -> list:
    """Spot or on demand, attempt by attempt (LocalStack drops CapacityProviderStrategy, so from the state's input)."""
    return ["spot" if task["task"]["spot"] else "on demand" for task in outcome.inputs[state]]


def memory(outcome, state: str) -> list:
    """The task's memory in MiB, attempt by attempt; the container's must be the same."""
    overrides = [request["Overrides"] for request in requests(outcome, state)]
    assert all(int(override["Memory"]) == override["ContainerOverrides"][0]["Memory"] for override in overrides)
    return [override["ContainerOverrides"][0]["Memory"] for override in overrides]


def test_every_scenario_has_an_expectation():
    assert {*SUCCEEDED, *REJECTED, *FAILED, *SILENT} == set(SCENARIOS)


@pytest.mark.parametrize("name", SUCCEEDED)
def test_success(outcomes, name):
    outcome, message = outcomes[name], outcomes[name].message
    assert (outcome.status, outcome.entered[-2:]) == ("SUCCEEDED", ["NotifySuccess", "PipelineSucceeded"])
    assert message["status"] == "succeeded"
    assert message["run_id"] == SCENARIOS[name].run_id
    assert message["execution_arn"] == outcome.execution["executionArn"]
    assert (message["model_version"], message["environment"]) == (VERSION, "prod")
    if not name.startswith("results-"):
        assert (message["r2"], message["rows_train"], message["rows_predicted"], message["rows_rejected"]) == (0.873, 80000, 99990, 10)
        assert (message["training_seconds"], message["prediction_seconds"]) == (11.5, 0.4)
        assert message["output_location"] == f"s3://bucket/scoring/predictions/run_id={message['run_id']}"


@pytest.mark.parametrize("name", FAILED)
def test_failure(outcomes, name):
    failed_state, error_type, text, logs = FAILED[name]
    outcome, message = outcomes[name], outcomes[name].message
    assert (outcome.status, outcome.entered[-2:]) == ("FAILED", ["NotifyFailure", "PipelineFailed"])
    assert SIX_FIELDS <= set(message)
    assert message["execution_arn"] == outcome.execution["executionArn"]
    assert (message["status"], message["failed_state"], message["error_type"]) == ("failed", failed_state, error_type)
    assert text in message["error_message"]
    assert message["timestamp"].startswith("20")
    assert message["logs"] == (f"{CONSOLE}/states/home?region=us-east-1#/v2/executions/details/{message['execution_arn']}" if logs == STEP else logs)
    assert (outcome.execution["error"], outcome.execution["cause"]) == (error_type, message["error_message"])


def test_a_failure_that_cannot_be_told_is_still_a_failure(outcomes):
    outcome = outcomes["failure-cannot-be-told"]
    assert (outcome.status, outcome.entered[-2:], outcome.messages) == ("FAILED", ["NotifyFailure", "PipelineFailed"], [])
    assert (outcome.execution["error"], outcome.execution["cause"]) == ("States.TaskFailed", "exit code 70: Essential container in task exited")


def test_rejected_scores_with_the_previous_model(outcomes):
    outcome, message = outcomes["rejected-previous"], outcomes["rejected-previous"].message
    assert (outcome.status, outcome.entered[-2:]) == ("SUCCEEDED", ["NotifyRejected", "ModelRejected"])
    assert environment(requests(outcome, "Inference")[0])["MODEL_VERSION"] == "latest"
    assert message["status"] == "rejected"
    assert "nothing was deployed" in message["note"] and "previous model" in message["note"]
    assert "below MIN_R2" in message["reason"]
    assert (message["r2"], message["rows_predicted"], message["scored_with_run"]) == (0.61, 99990, "before")


@pytest.mark.parametrize("name, why", [("rejected-stop", "on_gate_failure = stop"), ("rejected-first-run", "no previous model")])
def test_rejected_scores_nothing(outcomes, name, why):
    outcome, message = outcomes[name], outcomes[name].message
    assert (outcome.status, outcome.entered[-2:]) == ("SUCCEEDED", ["NotifyRejected", "ModelRejected"])
    assert "Inference" not in outcome.entered and "UpdateBedrockKB" not in outcome.entered
    assert message["status"] == "rejected"
    assert "nothing was deployed" in message["note"] and why in message["note"]
    assert (message["r2"], message["rows_predicted"]) == (0.61, None)


def test_both_tasks_get_the_run_and_its_data(outcomes):
    outcome = outcomes["success"]
    common = {"RUN_ID": "run-success", "ENVIRONMENT": "prod"}
    assert environment(requests(outcome, "Training")[0]) == common | {
        "MODEL_VERSION": VERSION, "TRAIN_DATA": LOCATIONS["train_data"], "TEST_DATA": LOCATIONS["test_data"]}
    assert environment(requests(outcome, "Inference")[0]) == common | {
        "MODEL_VERSION": f"{VERSION}/run-success", "INPUT_DATA": LOCATIONS["input_data"]}
    prepare, = requests(outcome, "InferencePrep")
    assert prepare["Overrides"]["ContainerOverrides"][0]["Command"] == ["prepare"]
    assert environment(prepare) == common | {"MODEL_VERSION": "latest", "INPUT_DATA": LOCATIONS["input_data"]}


def test_the_functions_get_the_run(outcomes):
    outcome = outcomes["success"]
    before = {"run_id": "run-success", "model_version": VERSION, "environment": "prod", "trigger": "manual"}
    assert requests(outcome, "DataPreparation")[0]["Payload"] == before
    for state in ("CreateQATable", "CreateResultsTable", "UpdateBedrockKB"):
        payload = requests(outcome, state)[0]["Payload"]
        assert before.items() <= payload.items()
        assert payload["predictions"].endswith("/scoring/predictions/run_id=run-success/")
        assert (payload["training"]["r2"], payload["inference"]["rows_predicted"]) == (0.873, 99990)


def test_without_test_data_train_holds_rows_out(outcomes):
    assert environment(requests(outcomes["no-test-data"], "Training")[0])["TEST_DATA"] == ""


def test_the_partition_is_the_table_s_with_the_run_s_location(outcomes):
    request, = requests(outcomes["success"], "AddPartition")
    assert (request["DatabaseName"], request["TableName"]) == ("engagement", "predictions")
    assert request["PartitionInput"]["Values"] == ["run-success"]
    storage = request["PartitionInput"]["StorageDescriptor"]
    assert storage["Location"].endswith("/scoring/predictions/run_id=run-success/")
    assert storage["Columns"][1] == {"Name": "prediction", "Type": "double"}


def test_no_partition_before_success(outcomes):
    for name in ("predict-fails-thrice", "predict-timeout", "rejected-stop"):
        assert "AddPartition" not in outcomes[name].entered


@pytest.mark.parametrize("name, trigger", [("success", "manual"), ("first-run-ever", "manual"), ("scheduled", "schedule")])
def test_the_trigger_is_recorded(outcomes, name, trigger):
    assert outcomes[name].message["trigger"] == trigger


@pytest.mark.parametrize("name", ["name-that-is-no-run-id", "name-with-a-leading-dot"])
def test_a_name_that_is_no_run_id_is_hashed(outcomes, name):
    run_id = environment(requests(outcomes[name], "Training")[0])["RUN_ID"]
    assert len(run_id) == 64 and run_id == SCENARIOS[name].run_id


@pytest.mark.parametrize("name, state, expected", [
    ("out-of-memory-once", "Training", [4096, 8192]),
    ("out-of-memory-said-once", "Inference", [4096, 8192]),
    ("out-of-memory-twice", "Training", [4096, 8192]),
    ("memory-and-retries", "Inference", [4096, 4096, 8192, 8192]),
    ("spot-interruption-killed", "Training", [4096, 4096]),
    ("predict-fails-twice", "Inference", [4096, 4096, 4096]),
])
def test_memory_is_doubled_once(outcomes, name, state, expected):
    assert memory(outcomes[name], state) == expected


@pytest.mark.parametrize("name, state, expected", [
    ("success", "Training", ["spot"]),
    ("spot-interruption", "Training", ["spot", "on demand"]),
    ("spot-interruption-thrice", "Training", ["spot", "on demand", "on demand"]),
    ("never-started", "Training", ["spot", "on demand", "on demand"]),
    ("no-capacity", "Inference", ["spot", "on demand"]),
    ("out-of-memory-once", "Training", ["spot", "spot"]),
    ("training-crash", "Training", ["spot"]),
    ("training-bad-data", "Training", ["spot"]),
    ("timeout", "Training", ["spot"]),
    ("cause-in-plain-text", "Training", ["spot"]),
    ("rejected-stop", "Training", ["spot"]),
])
def test_attempts_and_their_capacity(outcomes, name, state, expected):
    assert capacity(outcomes[name], state) == expected


def test_a_retry_continues_the_same_run(outcomes):
    attempts = [environment(request) for request in requests(outcomes["predict-fails-twice"], "Inference")]
    assert len(attempts) == 3 and attempts[0] == attempts[1] == attempts[2]


def test_a_failed_prepare_is_a_note_in_the_message(outcomes):
    assert outcomes["prepare-fails"].message["prepare"] == "failed"
    assert outcomes["success"].message["prepare"] == "done"


def test_unreadable_results_leave_nulls(outcomes):
    for name in ("results-missing", "results-damaged"):
        assert (outcomes[name].message["r2"], outcomes[name].message["rows_predicted"]) == (None, None)


def test_a_published_model_is_scored_with_even_if_its_result_is_unreadable(outcomes):
    assert environment(requests(outcomes["results-missing"], "Inference")[0])["MODEL_VERSION"] == f"{VERSION}/run-results-missing"


def test_an_execution_out_of_time_still_sends_the_six_fields(timed_out):
    message = timed_out.message
    assert timed_out.status == "TIMED_OUT"
    assert SIX_FIELDS <= set(message)
    assert message["execution_arn"] == timed_out.execution["executionArn"]
    assert message["error_type"] == "TIMED_OUT"
    assert message["logs"].endswith(f"#/v2/executions/details/{message['execution_arn']}")


def test_the_longest_cause_stays_within_the_limit_of_a_state_s_data(outcomes):
    largest = max(len(json.dumps(data)) for outcome in outcomes.values() for states in outcome.inputs.values() for data in states)
    assert 64 * 1024 < largest < 200 * 1024 < 256 * 1024


def test_every_state_was_reached(outcomes):
    """What no scenario enters is not tested. These two catch what a mock cannot bring about: every branch ends in success."""
    reached = {state for outcome in outcomes.values() for state in outcome.entered}
    unreached = set(pipeline.all_states(pipeline.definition())) - reached
    assert unreached == {"ParallelMLFailed", "ParallelPostProcessFailed"}


def test_the_seed_s_input_is_enough(outcomes):
    assert INPUT == {"model_version": "v1.2.0", "environment": "prod"}
    assert SCENARIOS["first-run-ever"].input == INPUT


def test_the_documented_boto3_start_works(aws, timed_out, monkeypatch, capsys):
    code, = [block for block in re.findall(r"```python\n(.*?)```", (pipeline.PROJECT / "docs/deploy.md").read_text(), re.S)]
    for name, value in {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    exec(compile(code, "docs/deploy.md", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out.strip()
    assert ":execution:engagement-ml-pipeline:manual-" in printed
    started = aws.client("stepfunctions").describe_execution(executionArn=printed)
    assert json.loads(started["input"])["trigger"] == "manual"
