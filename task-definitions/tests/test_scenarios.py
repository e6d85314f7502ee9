"""The state machine, executed: each scenario ends in the right state with the right message, and asked for the right things."""

import datetime
import json
import re

import pytest

import pipeline
from ecs_answers import TASK_ID
from scenarios import INPUT, LOCATIONS, SCENARIOS, SHARDS, VERSION

SIX_FIELDS = {"execution_arn", "failed_state", "error_type", "error_message", "timestamp", "logs"}
CONSOLE = "https://us-east-1.console.aws.amazon.com"
LOG_GROUPS = f"{CONSOLE}/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/"
TRAINING_LOG = f"{LOG_GROUPS}$252Fengagement-ml$252Ftrain/log-events/train$252Ftraining-container$252F{TASK_ID}"
INFERENCE_LOG = f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events/predict$252Finference-container$252F{TASK_ID}"
STEP = "the execution"

SUCCEEDED = ["first-run-ever", "success", "out-of-memory-once", "out-of-memory-said-once", "memory-and-retries",
             "spot-interruption", "spot-interruption-killed", "never-started", "no-capacity", "predict-fails-twice",
             "lambda-recovers", "no-test-data", "prepare-fails", "results-missing", "results-damaged", "partition-exists",
             "name-that-is-no-run-id", "name-with-a-leading-dot", "scheduled", "knowledge-base-off", "ingestion-of-another", "ingestion-fails",
             "ingestion-never-ends", "ingestion-of-another-never-ends", "ingestion-refused", "ingestion-unknown", "results-partition-exists",
             "published-meanwhile", "newer-results-stand", "chat-cannot-be-told", "no-model-yet", "customers-do-not-fit", "more-variables", "odd-fields",
             "evaluated", "evaluation-recovers", "evaluation-fails", "nothing-to-evaluate",
             "shards", "a-shard-interrupted", "a-shard-out-of-memory", "two-interruptions-of-shards",
             "a-training-shard-interrupted", "a-training-shard-out-of-memory"]
REJECTED = ["rejected-previous", "rejected-stop", "rejected-first-run", "training-shards-rejected"]
SILENT = ["failure-cannot-be-told"]
# name: (failed state, error type, part of the error message, where the link leads)
FAILED = {
    "training-crash": ("Training", "States.TaskFailed", "exit code 70 (defect): defect in this program", TRAINING_LOG),
    "training-bad-data": ("Training", "States.TaskFailed", "exit code 4 (data): column target", TRAINING_LOG),
    "training-crash-no-result": ("Training", "States.TaskFailed", "exit code 139: Essential container in task exited", TRAINING_LOG),
    "out-of-memory-twice": ("Training", "States.TaskFailed", "exit code 137: Essential container in task exited (OutOfMemoryError", TRAINING_LOG),
    "spot-interruption-thrice": ("Training", "States.TaskFailed", "exit code 143: Your Spot Task was interrupted.", TRAINING_LOG),
    "predict-fails-thrice": ("Inference", "States.TaskFailed", "exit code 5 (storage): S3 kept failing", INFERENCE_LOG),
    "a-shard-fails": ("Inference", "States.TaskFailed", "exit code 4 (data): 101 of 1000 rows were rejected", INFERENCE_LOG),
    "shards-keep-failing": ("Inference", "States.TaskFailed", "exit code 5: Essential", INFERENCE_LOG),
    "training-shards-keep-failing": ("Training", "States.TaskFailed", "exit code 5: Essential", TRAINING_LOG),
    "stale-result": ("Inference", "States.TaskFailed", "exit code 70: Essential", INFERENCE_LOG),
    "emulator-spaces": ("Inference", "States.TaskFailed", "exit code 6: Essential", INFERENCE_LOG),
    "lambda-error": ("DataPreparation", "AthenaError", "query failed", f"{LOG_GROUPS}$252Faws$252Flambda$252Fdata-prep"),
    "no-locations": ("DataPreparation", "NoLocations", "train_data, input_data", f"{LOG_GROUPS}$252Faws$252Flambda$252Fdata-prep"),
    "knowledge-base-error": ("UpdateBedrockKB", "Lambda.Unknown", "no such knowledge base", f"{LOG_GROUPS}$252Faws$252Flambda$252Fupdate-kb"),
    "parallel-branch-failure": ("CreateQATable", "QualityError", "half of the scores are null", f"{LOG_GROUPS}$252Faws$252Flambda$252Fcreate-qa-table"),
    "parallel-other-branch-failure": ("CreateResultsTable", "JoinError", "no customers", f"{LOG_GROUPS}$252Faws$252Flambda$252Fcreate-results-table"),
    "timeout": ("Training", "States.Timeout", "ran out of its time", f"{LOG_GROUPS}$252Fengagement-ml$252Ftrain/log-events$3FfilterPattern$3D$2522run-timeout$2522"),
    "predict-timeout": ("Inference", "States.Timeout", "ran out of its time", f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-predict-timeout$2522"),
    "cause-without-exit-code": ("Training", "States.TaskFailed", "no exit code: Timeout waiting for network interface", TRAINING_LOG),
    "cause-in-plain-text": ("Training", "ECS.TaskFailed", "the task failed, sorry", f"{LOG_GROUPS}$252Fengagement-ml$252Ftrain/log-events$3FfilterPattern$3D$2522run-cause-in-plain-text$2522"),
    "cause-empty": ("Inference", "States.TaskFailed", "gave no cause", f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-empty$2522"),
    "cause-malformed": ("Inference", "States.TaskFailed", "this is no JSON", f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-malformed$2522"),
    "pre-cleanup-error": ("PreCleanup", "Lambda.ServiceException", "busy", f"{LOG_GROUPS}$252Faws$252Flambda$252Fpre-cleanup"),
    "success-cannot-be-told": ("NotifySuccess", "SNS.InternalErrorException", "busy", STEP),
    "rejection-cannot-be-told": ("NotifyRejected", "SNS.InternalErrorException", "busy", STEP),
    "cause-huge": ("Inference", "States.TaskFailed", 'exit code 70: said "no"', INFERENCE_LOG),
    "cause-as-long-as-can-be": ("Inference", "States.TaskFailed", 'said "no"', f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-as-long-as-can-be$2522"),
    # States.IntrinsicFailure on AWS, which Catch takes as well.
    "settings-unreadable": ("ReadSettings", "States.Runtime", "config/environment.json cannot be read as JSON", STEP),
    "cause-huge-and-plain": ("Inference", "States.TaskFailed", 'said "no"', f"{LOG_GROUPS}$252Fengagement-ml$252Fpredict/log-events$3FfilterPattern$3D$2522run-cause-huge-and-plain$2522"),
    "partition-refused": ("AddPartition", "Glue.EntityNotFoundException", "Table not found", STEP),
    "quality-failed": ("CreateQATable", "QualityFailed", "QualityFailed: rows: 99 of 100", f"{LOG_GROUPS}$252Faws$252Flambda$252Fcreate-qa-table"),
    "settings-of-data-prep-wrong": ("DataPreparation", "BadSettings", "BadSettings: config/training.sql, line 3, column 8", f"{LOG_GROUPS}$252Faws$252Flambda$252Fdata-prep"),
    "no-data": ("DataPreparation", "EmptyData", "EmptyData: train has no rows", f"{LOG_GROUPS}$252Faws$252Flambda$252Fdata-prep"),
    "function-error-without-a-message": ("PreCleanup", "Odd", '{"errorMessage":7}', f"{LOG_GROUPS}$252Faws$252Flambda$252Fpre-cleanup"),
    "function-error-malformed": ("PreCleanup", "Odd", "this is no JSON", f"{LOG_GROUPS}$252Faws$252Flambda$252Fpre-cleanup"),
    "results-table-missing": ("AddResultsPartition", "Glue.EntityNotFoundException", "Table not found", STEP),
    "published-again-and-again": ("PublishResults", "Glue.ConcurrentModificationException", "changed", STEP),
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
    assert (outcome.status, outcome.entered[-3:]) == ("SUCCEEDED", ["NotifySuccess", "ChatSuccess", "PipelineSucceeded"])
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
    assert (outcome.status, outcome.entered[-4:]) == ("FAILED", ["NotifyFailure", "ChatFailure", "MarkAsReported", "PipelineFailed"])
    assert SIX_FIELDS | {"attempts", "memory_mib", "capacity", "publication"} <= set(message)
    assert message["execution_arn"] == outcome.execution["executionArn"]
    assert (message["status"], message["failed_state"], message["error_type"]) == ("failed", failed_state, error_type)
    assert text in message["error_message"]
    assert message["timestamp"].startswith("20")
    assert message["logs"] == (f"{CONSOLE}/states/home?region=us-east-1#/v2/executions/details/{message['execution_arn']}" if logs == STEP else logs)
    assert outcome.execution["error"] == f"Reported: {error_type}"
    assert text in outcome.execution["cause"] and outcome.execution["cause"] in message["error_message"]


def test_a_failure_that_cannot_be_told_is_told_by_the_rule(outcomes):
    outcome, message = outcomes["failure-cannot-be-told"], outcomes["failure-cannot-be-told"].message
    assert (outcome.status, outcome.entered[-2:]) == ("FAILED", ["NotifyFailure", "PipelineFailedUnreported"])
    assert (outcome.execution["error"], outcome.execution["cause"]) == ("States.TaskFailed", "exit code 70: Essential container in task exited")
    assert (message["error_type"], message["failed_state"]) == ("FAILED", "(the whole execution)")


def test_a_cause_is_never_longer_than_a_fail_state_takes(outcomes):
    """32,768 characters; the message has room for all of an error and its name."""
    longest = max(len(outcome.execution.get("cause", "")) for outcome in outcomes.values())
    assert 28_000 < longest <= 32_768
    assert len(outcomes["cause-as-long-as-can-be"].execution["cause"]) == 32_768 < len(outcomes["cause-as-long-as-can-be"].message["error_message"])


def test_chat_gets_the_same_facts_in_its_own_schema(outcomes):
    for name, outcome in outcomes.items():
        if name == "chat-cannot-be-told":
            continue
        chat, = outcome.chats
        assert (chat["version"], chat["source"], chat["content"]["textType"]) == ("1.0", "custom", "client-markdown")
        assert 0 < len(chat["content"]["description"]) <= 8000 and len(chat["content"]["title"]) <= 250, name
        assert chat["metadata"]["eventType"] == outcome.message["status"]
        assert chat["metadata"]["relatedResources"] == [outcome.execution["executionArn"]]
    assert "drift: 0.31, at most 0.2" in outcomes["success"].chats[0]["content"]["description"]
    assert "config/training.sql, line 3" in outcomes["settings-of-data-prep-wrong"].chats[0]["content"]["description"]


SUCCESS = {
    "status": "succeeded", "run_id": "run-success", "model_version": VERSION, "environment": "prod", "trigger": "manual", "prepare": "done", "prepare_error": "",
    "r2": 0.873, "rmse": 0.1, "mae": 0.07, "rows_train": 80000, "rows_test": 20000, "training_seconds": 11.5, "model_location": f"s3://bucket/models/engagement/{VERSION}/run-success",
    "scored_with_version": VERSION, "scored_with_run": "run-success", "rows_read": 100000, "rows_predicted": 99990, "rows_rejected": 10, "prediction_seconds": 0.4,
    "output_location": "s3://bucket/scoring/predictions/run_id=run-success", "data_quality_score": 0.97, "max_drift": 0.03, "publication": "published",
    "qa_passed": True, "qa_checks": 17, "qa_warnings": ["drift: 0.31, at most 0.2"], "training_attempts": 1, "training_memory_mib": 4096, "training_capacity": "FARGATE_SPOT",
    "prediction_attempts": 1, "prediction_memory_mib": 4096, "prediction_capacity": "FARGATE_SPOT", "evaluation": "nothing to evaluate", "evaluated_run": "", "evaluation_error": "",
    "knowledge_base": "indexed"}
REJECTED_WITH_THE_PREVIOUS = SUCCESS | {
    "status": "rejected", "run_id": "run-rejected-previous", "r2": 0.61, "scored_with_run": "before", "model_location": f"s3://bucket/models/engagement/{VERSION}/run-rejected-previous",
    "output_location": "s3://bucket/scoring/predictions/run_id=run-rejected-previous", "reason": "R2 0.61 on 20000 held-out rows is below MIN_R2 0.75; nothing was published",
    "note": "The gate rejected the model: nothing was deployed. The customers were scored with the previous model."}
OUT_OF_MEMORY = {
    "status": "failed", "failed_state": "Training", "error_type": "States.TaskFailed", "logs": TRAINING_LOG, "run_id": "run-out-of-memory-twice", "model_version": VERSION,
    "environment": "prod", "trigger": "manual", "publication": "not published", "attempts": 2, "memory_mib": 8192, "capacity": "FARGATE_SPOT",
    "error_message": "exit code 137: Essential container in task exited (OutOfMemoryError: Container killed due to memory usage)"}


@pytest.mark.parametrize("name, expected, times", [
    ("success", SUCCESS, {"started", "timestamp"}), ("rejected-previous", REJECTED_WITH_THE_PREVIOUS, {"started", "timestamp"}), ("out-of-memory-twice", OUT_OF_MEMORY, {"timestamp"})])
def test_a_message_has_these_fields_with_these_values_and_no_other(outcomes, name, expected, times):
    outcome = outcomes[name]
    said = dict(outcome.message)
    assert said.pop("execution_arn") == outcome.execution["executionArn"]
    began, ended = outcome.execution["startDate"].timestamp(), outcome.execution["stopDate"].timestamp()
    for field in times:
        assert began - 1 <= datetime.datetime.fromisoformat(said.pop(field)).timestamp() <= ended + 1, field
    assert said == expected


def test_a_success_says_what_the_tasks_were_given_and_what_the_checks_warned_of(outcomes):
    message = outcomes["memory-and-retries"].message
    assert (message["prediction_attempts"], message["prediction_memory_mib"], message["prediction_capacity"]) == (4, 8192, "FARGATE")
    assert (message["training_attempts"], message["training_memory_mib"], message["training_capacity"]) == (1, 4096, "FARGATE_SPOT")
    assert (message["qa_passed"], message["qa_checks"], message["qa_warnings"]) == (True, 17, ["drift: 0.31, at most 0.2"])
    rejected = outcomes["rejected-stop"].message
    assert (rejected["prediction_attempts"], rejected["qa_passed"], rejected["publication"]) == (None, None, "not published")


def test_a_failure_says_what_the_killed_task_was_given(outcomes):
    message = outcomes["out-of-memory-twice"].message
    assert (message["attempts"], message["memory_mib"], message["capacity"]) == (2, 8192, "FARGATE_SPOT")
    message = outcomes["spot-interruption-thrice"].message
    assert (message["attempts"], message["memory_mib"], message["capacity"]) == (3, 4096, "FARGATE")
    assert outcomes["lambda-error"].message["memory_mib"] is None


@pytest.mark.parametrize("name, state, attempts", [
    ("settings-of-data-prep-wrong", "DataPreparation", 1), ("no-data", "DataPreparation", 1), ("quality-failed", "CreateQATable", 1),
    ("lambda-error", "DataPreparation", 3), ("pre-cleanup-error", "PreCleanup", 4), ("prepare-fails", "InferencePrep", 3), ("knowledge-base-error", "UpdateBedrockKB", 3)])
def test_what_no_retry_helps_is_not_retried(outcomes, name, state, attempts):
    assert len(requests(outcomes[name], state)) == attempts


def test_results_are_published_after_the_checks_in_one_call(outcomes):
    outcome = outcomes["success"]
    request, = requests(outcome, "PublishResults")
    assert (request["DatabaseName"], request["VersionId"], request["TableInput"]["Name"]) == ("engagement", "7", "results_latest")
    assert request["TableInput"]["StorageDescriptor"]["Location"] == "s3://bucket/results/run_id=r/0/"
    assert request["TableInput"]["Parameters"]["run_id"] == "run-success" and request["TableInput"]["PartitionKeys"] == []
    partition, = requests(outcome, "AddResultsPartition")
    assert (partition["TableName"], partition["PartitionInput"]["Values"]) == ("results", ["run-success"])
    assert partition["PartitionInput"]["StorageDescriptor"]["Location"] == "s3://bucket/results/run_id=r/0/"
    assert outcome.entered.index("PublishResults") > outcome.entered.index("PostProcessVerdict")
    assert outcome.message["publication"] == "published"


@pytest.mark.parametrize("name", ["quality-failed", "parallel-branch-failure", "parallel-other-branch-failure", "partition-refused", "predict-fails-thrice"])
def test_nothing_is_published_that_failed_its_checks(outcomes, name):
    assert not {"PublishResults", "AddResultsPartition", "UpdateBedrockKB"} & set(outcomes[name].entered)
    assert outcomes[name].message["publication"] == "not published"


def test_a_table_that_somebody_changed_meanwhile_is_looked_at_again(outcomes):
    assert len(requests(outcomes["published-meanwhile"], "PublishResults")) == 2
    assert outcomes["published-meanwhile"].message["publication"] == "published"
    assert len(requests(outcomes["published-again-and-again"], "PublishResults")) == 4


def test_results_do_not_move_back(outcomes):
    outcome = outcomes["newer-results-stand"]
    assert "PublishResults" not in outcome.entered and "began later" in outcome.message["publication"]


def test_a_failure_after_the_publication_says_that_results_stand(outcomes):
    assert outcomes["knowledge-base-error"].message["publication"] == "published"


@pytest.mark.parametrize("name, status", [
    ("success", "indexed"), ("knowledge-base-off", "off"), ("ingestion-of-another", "indexed"), ("ingestion-fails", "written, not indexed: ingestion job JOB1 is FAILED"),
    ("ingestion-never-ends", "written, not indexed: no ingestion was complete within 20 minutes"),
    ("ingestion-of-another-never-ends", "written, not indexed: no ingestion was complete within 20 minutes"),
    ("ingestion-refused", "written, not indexed: the ingestion job could not be started (BedrockAgent.ValidationException)"),
    ("ingestion-unknown", "written: ingestion job JOB1 could not be asked for (BedrockAgent.InternalServerException)")])
def test_what_became_of_the_knowledge_base_is_said_and_fails_nothing(outcomes, name, status):
    assert (outcomes[name].status, outcomes[name].message["knowledge_base"], outcomes[name].message["publication"]) == ("SUCCEEDED", status, "published")


def test_the_ingestion_is_awaited_for_twenty_minutes_at_most(outcomes):
    machine = pipeline.all_states(pipeline.definition())
    seconds = machine["PlanIngestion"]["Parameters"]["wait"]
    for name, wait in (("ingestion-never-ends", "WaitForIngestion"), ("ingestion-of-another-never-ends", "WaitForOtherIngestion")):
        assert outcomes[name].entered.count(wait) * seconds == 1170 <= 20 * 60
    tokens = {request["ClientToken"] for request in requests(outcomes["ingestion-of-another"], "StartIngestion")}
    assert len(tokens) == 1 and len(tokens.pop()) == 64


def test_the_functions_get_what_the_contract_says(outcomes):
    payload = requests(outcomes["success"], "UpdateBedrockKB")[0]["Payload"]
    assert payload["qa"]["checks"] == 17 and payload["results"]["rows"] == 100000
    prepare = requests(outcomes["success"], "InferencePrep")[0]["Payload"]
    assert (prepare["run_id"], prepare["locations"]) == ("run-success", LOCATIONS)


def test_what_inference_prep_found_is_in_the_message(outcomes):
    assert (outcomes["no-model-yet"].message["prepare"], outcomes["no-model-yet"].message["prepare_error"]) == ("no model yet", "")
    message = outcomes["customers-do-not-fit"].message
    assert (message["prepare"], message["prepare_error"]) == ("failed", "column district is missing")


def test_odd_fields_of_the_input_overwrite_nothing(outcomes):
    outcome = outcomes["odd-fields"]
    assert outcome.message["run_id"] == "run-odd-fields"
    assert environment(requests(outcome, "Training")[0]) == environment(requests(outcomes["first-run-ever"], "Training")[0]) | {"RUN_ID": "run-odd-fields"}
    assert "odd" not in json.dumps([outcome.inputs["PreCleanup"], outcome.message]).replace("run-odd-fields", "")


def test_the_bucket_s_settings_reach_the_tasks(outcomes):
    outcome = outcomes["more-variables"]
    assert environment(requests(outcome, "Training")[0])["ROUNDS"] == "60" and environment(requests(outcome, "Inference")[0])["REASONS"] == "3"
    # What the scoring is asked for is checked before it begins.
    assert requests(outcome, "InferencePrep")[0]["Payload"]["variables"] == [{"Name": "REASONS", "Value": "3"}]
    assert requests(outcomes["success"], "InferencePrep")[0]["Payload"]["variables"] == []
    assert set(environment(requests(outcomes["success"], "Training")[0])) == {"MODEL_VERSION", "RUN_ID", "ENVIRONMENT", "TRAIN_DATA", "TEST_DATA"}


def test_rejected_scores_with_the_previous_model(outcomes):
    outcome, message = outcomes["rejected-previous"], outcomes["rejected-previous"].message
    assert (outcome.status, outcome.entered[-3:]) == ("SUCCEEDED", ["NotifyRejected", "ChatRejected", "ModelRejected"])
    assert environment(requests(outcome, "Inference")[0])["MODEL_VERSION"] == "latest"
    assert message["status"] == "rejected"
    assert "nothing was deployed" in message["note"] and "previous model" in message["note"]
    assert "below MIN_R2" in message["reason"]
    assert (message["r2"], message["rows_predicted"], message["scored_with_run"]) == (0.61, 99990, "before")


@pytest.mark.parametrize("name, why", [("rejected-stop", "on_gate_failure = stop"), ("rejected-first-run", "no previous model")])
def test_rejected_scores_nothing(outcomes, name, why):
    outcome, message = outcomes[name], outcomes[name].message
    assert (outcome.status, outcome.entered[-3:]) == ("SUCCEEDED", ["NotifyRejected", "ChatRejected", "ModelRejected"])
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


def test_an_earlier_run_is_evaluated_beside_the_training(outcomes):
    outcome = outcomes["evaluated"]
    request, = requests(outcome, "Evaluation")
    container, = request["Overrides"]["ContainerOverrides"]
    assert container["Command"] == ["evaluate", "--run-id", "three-weeks-ago"]
    assert request["Overrides"]["TaskRoleArn"].endswith("/EvaluationRole")
    assert environment(request) == {"RUN_ID": "run-evaluated", "ENVIRONMENT": "prod", "ACTUALS": "s3://lake/prepared/actuals/"}
    assert (outcome.message["evaluation"], outcome.message["evaluated_run"], outcome.message["evaluation_error"]) == ("done", "three-weeks-ago", "")


@pytest.mark.parametrize("name, attempts, said", [
    ("evaluation-recovers", 2, ("done", "three-weeks-ago", "")), ("evaluation-fails", 2, ("failed", "three-weeks-ago", "States.TaskFailed")),
    ("nothing-to-evaluate", 0, ("nothing to evaluate", "", "")), ("success", 0, ("nothing to evaluate", "", ""))])
def test_an_evaluation_stops_nothing_and_is_told_of(outcomes, name, attempts, said):
    message = outcomes[name].message
    assert len(requests(outcomes[name], "Evaluation")) == attempts
    assert (message["evaluation"], message["evaluated_run"], message["evaluation_error"]) == said
    assert (message["rows_predicted"], message["publication"]) == (99990, "published")


def test_each_shard_is_told_which_it_is(outcomes):
    asked = [environment(request) for request in requests(outcomes["shards"], "InferenceShard")]
    assert sorted(variables.pop("SHARD") for variables in asked) == [f"{shard}/{SHARDS}" for shard in range(SHARDS)]
    one = environment(requests(outcomes["success"], "Inference")[0])
    assert {json.dumps(variables, sort_keys=True) for variables in asked} == {json.dumps(one, sort_keys=True).replace("run-success", "run-shards")}
    assert "Inference" not in outcomes["shards"].entered and "InferenceShards" not in outcomes["success"].entered


@pytest.mark.parametrize("name, attempts, memory_mib, capacities", [
    ("shards", [1] * SHARDS, [4096] * SHARDS, ["FARGATE_SPOT"] * SHARDS),
    ("a-shard-interrupted", [1] * (SHARDS - 1) + [2], [4096] * SHARDS, ["FARGATE"] + ["FARGATE_SPOT"] * (SHARDS - 1)),
    ("a-shard-out-of-memory", [1] * (SHARDS - 1) + [2], [4096] * (SHARDS - 1) + [8192], ["FARGATE_SPOT"] * SHARDS)])
def test_a_shard_is_tried_again_alone(outcomes, name, attempts, memory_mib, capacities):
    message = outcomes[name].message
    assert (sorted(message["prediction_attempts"]), sorted(message["prediction_memory_mib"]), sorted(message["prediction_capacity"])) == (attempts, memory_mib, capacities)
    asked = [environment(request)["SHARD"] for request in requests(outcomes[name], "InferenceShard")]
    assert sorted(asked.count(f"{shard}/{SHARDS}") for shard in range(SHARDS)) == attempts
    assert message["rows_predicted"] == 99990


def test_each_shard_has_retries_of_its_own(outcomes):
    """One shard twice, or two shards once."""
    attempts = outcomes["two-interruptions-of-shards"].message["prediction_attempts"]
    assert sorted(attempts) in ([1] * (SHARDS - 1) + [3], [1] * (SHARDS - 2) + [2, 2])


def test_a_shard_that_fails_for_good_ends_the_run(outcomes):
    outcome = outcomes["a-shard-fails"]
    assert outcome.entered.count("ShardFailed") == 1 and "AddPartition" not in outcome.entered
    assert (outcome.message["attempts"], outcome.message["publication"]) == (None, "not published")
    assert "AddPartition" not in outcomes["shards-keep-failing"].entered


def test_each_shard_of_a_training_is_told_which_it_is(outcomes):
    asked = [environment(request) for request in requests(outcomes["shards"], "TrainingShard")]
    assert sorted(variables.pop("SHARD") for variables in asked) == [f"{shard}/{SHARDS}" for shard in range(SHARDS)]
    one = environment(requests(outcomes["success"], "Training")[0])
    assert {json.dumps(variables, sort_keys=True) for variables in asked} == {json.dumps(one, sort_keys=True).replace("run-success", "run-shards")}
    assert "Training" not in outcomes["shards"].entered and "TrainingShards" not in outcomes["success"].entered
    assert (outcomes["shards"].message["training_attempts"], outcomes["shards"].message["publication"]) == (1, "published")


@pytest.mark.parametrize("name, attempts, memory_mib, capacity", [
    ("a-training-shard-interrupted", 2, 4096, "FARGATE"), ("a-training-shard-out-of-memory", 2, 8192, "FARGATE_SPOT")])
def test_shards_of_a_training_are_tried_again_together(outcomes, name, attempts, memory_mib, capacity):
    message = outcomes[name].message
    assert (message["training_attempts"], message["training_memory_mib"], message["training_capacity"]) == (attempts, memory_mib, capacity)
    assert outcomes[name].entered.count("TrainingShards") == attempts and message["publication"] == "published"


def test_shards_of_a_training_that_keep_failing_end_the_run(outcomes):
    outcome = outcomes["training-shards-keep-failing"]
    assert outcome.entered.count("TrainingShards") == 3 and "TrainingFailed" in outcome.entered and "AddPartition" not in outcome.entered


def test_a_model_that_shards_learnt_may_be_rejected(outcomes):
    outcome = outcomes["training-shards-rejected"]
    assert "TrainingRejected" in outcome.entered and outcome.entered.count("TrainingShards") == 1 and "NotifyRejected" in outcome.entered


def test_a_failed_prepare_is_a_note_in_the_message(outcomes):
    assert (outcomes["prepare-fails"].message["prepare"], outcomes["prepare-fails"].message["prepare_error"]) == ("failed", "OutOfTime")
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


def test_the_readme_counts_the_states_of_a_run(outcomes):
    """Each of them is entered once, where the ingestion is done at the first look."""
    readme = (pipeline.PROJECT / "README.md").read_text()
    counted = {int(count) for count in re.findall(r"entered (\d+) states|(\d+) states entered", readme) for count in count if count}
    assert counted == {len(set(outcomes["first-run-ever"].entered) - {"IngestionMayEnd"})}


def test_the_seed_s_input_is_enough(outcomes):
    assert INPUT == {"model_version": "v1.2.0", "environment": "prod"}
    assert SCENARIOS["first-run-ever"].input == INPUT


def test_the_documented_boto3_start_works(aws, timed_out, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", (pipeline.PROJECT / "docs/deploy.md").read_text(), re.S)
    code, = [block for block in blocks if "start_execution" in block]
    for name, value in {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    exec(compile(code, "docs/deploy.md", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out.strip()
    assert ":execution:engagement-ml-pipeline:manual-" in printed
    started = aws.client("stepfunctions").describe_execution(executionArn=printed)
    assert json.loads(started["input"])["trigger"] == "manual"
