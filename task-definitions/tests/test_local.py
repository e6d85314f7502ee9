"""The whole pipeline with the real programs: executed by the local Step Functions, every call made as its caller's role.

PROGRAMS is the folder of `train`, `predict` and `functions`; PIPELINE=all runs every scenario (`make pipeline-test`), else the ones
that `make test` has three minutes for. All scenarios run side by side in one machine, as executions of one state machine.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

import pipeline
from pipeline import LOCAL

PROGRAMS = os.environ.get("PROGRAMS")
pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="PROGRAMS, the folder of train, predict and functions, is not set")
ALL = os.environ.get("PIPELINE") == "all"
# The longest that one scenario may take, on a machine that has other work.
SECONDS = 900
QUICK = [{"Name": "ROUNDS", "Value": "60"}]
# As many days as a tenth of a second: what the first run predicted is evaluated by those that follow.
SOON = "0.000001"
INPUT = {"model_version": "v1.2.0", "environment": "prod"}
FUNCTIONS = ["pre-cleanup", "data-prep", "inference-prep", "create-qa-table", "create-results-table", "update-kb"]


@dataclass
class Case:
    """A scenario: its input, the tasks' variables, what happens to functions, and what is done while it runs."""

    input: dict = field(default_factory=lambda: dict(INPUT))
    training: list = field(default_factory=lambda: list(QUICK))
    faults: dict = field(default_factory=dict)
    on_task: object = None
    watch: object = None
    shards: int = 1
    train_shards: int = 1


def interrupted(machine, task) -> None:
    """Spot takes the first attempt of a training back as soon as it has read its rows."""
    if task.program != "train" or task.description["capacityProviderName"] != "FARGATE_SPOT":
        return
    _when_it_has_read(task, lambda: machine.ecs.interrupt(task))


def a_shard_interrupted(machine, task) -> None:
    """Spot takes the first attempt of the second shard back as soon as it runs."""
    override, = task.description["overrides"]["containerOverrides"]
    is_second = {"name": "SHARD", "value": "1/4"} in override["environment"]
    if is_second and task.description["capacityProviderName"] == "FARGATE_SPOT":
        machine.ecs.interrupt(task)


def a_training_shard_interrupted(machine, task) -> None:
    """Spot takes the first attempt of the third shard of a training back as soon as it has read its rows."""
    override, = task.description["overrides"]["containerOverrides"]
    is_third = task.program == "train" and {"name": "SHARD", "value": "2/4"} in override["environment"]
    if is_third and task.description["capacityProviderName"] == "FARGATE_SPOT":
        _when_it_has_read(task, lambda: machine.ecs.interrupt(task))


def _when_it_has_read(task, then) -> None:
    def work():
        log = task.folder / "stderr"
        while not task.ended.is_set():
            if '"rows read"' in log.read_text():
                return then()
            time.sleep(0.02)
    threading.Thread(target=work, daemon=True).start()


def aborted(machine, task) -> None:
    """Somebody stops the execution in the middle of its training."""
    if task.program == "train":
        arn = machine.arn.replace(":stateMachine:", ":execution:") + f":{task.run_id}"
        _when_it_has_read(task, lambda: machine.stop_execution(arn))


def updated(machine, task) -> None:
    """The stack is updated with other images in the middle of a training."""
    if task.program == "train":
        machine.update_the_stack()


def a_part_too_many(machine, run: str):
    """Puts a part of the predictions there twice, before they are checked."""
    def work():
        folder = f"scoring/predictions/run_id={run}/"
        first = min(machine.keys(folder))
        machine.put(f"{folder}part-90000.parquet", machine.get(first))
    return work


LONG = [{"Name": "ROUNDS", "Value": "1500"}]
BELOW_THE_GATE = [*QUICK, {"Name": "MIN_R2", "Value": "0.999"}]
CASES = {
    "success": Case(),
    "called-twice": Case(faults={name: ["twice"] for name in FUNCTIONS}),
    "checks-fail": Case(faults={"create-qa-table": [a_part_too_many]}),
    "shards": Case(shards=2),
    "learnt-by-two": Case(train_shards=2),
}
MORE = {
    "rejected-previous": Case(training=BELOW_THE_GATE),
    "rejected-stop": Case(INPUT | {"on_gate_failure": "stop"}, BELOW_THE_GATE),
    "spot": Case(training=LONG, on_task=interrupted),
    "function-fails": Case(faults={"data-prep": [("QueryFailed", "Athena could not be reached")] * 3}),
    "function-recovers": Case(faults={"data-prep": ["busy", 1.0], "create-results-table": [0.5], "pre-cleanup": [("OutOfTime", "45 s were over")]}),
    "aborted": Case(training=LONG, on_task=aborted),
    "four-shards": Case(shards=4, on_task=a_shard_interrupted),
    "learnt-by-four": Case(train_shards=4, on_task=a_training_shard_interrupted),
    "stack-updated": Case(on_task=updated),
    "at-once-a": Case(),
    "at-once-b": Case(),
    "odd-fields": Case(INPUT | {"data": {"locations": 1}, "run_id": "other", "publication": "odd"}),
    "bad-input": Case({"environment": "prod"}),
}


@dataclass
class Ran:
    """The machine after all scenarios, and the outcome of each."""

    machine: object
    outcomes: dict
    first_results: dict


def hurried(definition: dict) -> dict:
    """Short waits; an ingestion that really runs needs a second for each look at it."""
    definition = pipeline.hurried(definition)
    pipeline.all_states(definition)["PlanIngestion"]["Parameters"]["wait"] = 1
    return definition


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Everything, executed. The first run is over before the others begin, so that there is something published before."""
    sys.path.insert(0, str(LOCAL))
    import source
    from machine import Machine, wait_for

    programs = {name: str(Path(PROGRAMS).resolve() / name) for name in ("train", "predict", "functions")}
    missing = [path for path in programs.values() if not Path(path).exists()]
    assert not missing, f"not built: {missing}"
    tables = source.sample()
    machine = Machine(tmp_path_factory.mktemp("machine"), programs, tables.parameters("lake") | {"KnowledgeBaseId": "KB1", "DataSourceId": "DS1", "EvaluateAfterDays": SOON})
    try:
        source.install(machine, tables)
        machine.change(hurried)
        cases = CASES | (MORE if ALL else {})

        def on_start(task):
            if hook := cases[task.run_id].on_task:
                hook(machine, task)
        machine.ecs.on_start.append(on_start)

        def start(name):
            case = cases[name]
            for function, faults in case.faults.items():
                machine.functions.faults[function, name] = [fault(machine, name) if callable(fault) else fault for fault in faults]
            machine.put("config/environment.json", json.dumps({"training": case.training}))
            machine.change(hurried, PredictShards=case.shards, TrainShards=case.train_shards)
            execution = machine.start(name, case.input)
            wait_for(lambda: {"KeepSettings", "InvalidInput"} & {visit.name for visit in machine.visits(execution)}, 120, f"{name} has read its settings")
            return execution

        outcomes = {"success": machine.outcome(start("success"), SECONDS)}
        assert outcomes["success"].status == "SUCCEEDED", (outcomes["success"].messages, outcomes["success"].entered)
        first = machine.keys("results/")
        # Results move with the time of the start, so what is checked by them begins last.
        running = {name: start(name) for name in cases if name != "success"}
        outcomes |= {name: machine.outcome(execution, SECONDS) for name, execution in running.items()}
        yield Ran(machine, outcomes, first)
    finally:
        machine.stop()


def case(name: str):
    """A test of a scenario that only PIPELINE=all runs."""
    return pytest.mark.skipif(name in MORE and not ALL, reason="PIPELINE=all (make pipeline-test) runs the other scenarios")


def test_a_run_scores_every_customer_and_publishes_the_results(ran):
    outcome = ran.outcomes["success"]
    assert (outcome.status, outcome.entered[-3:]) == ("SUCCEEDED", ["NotifySuccess", "ChatSuccess", "PipelineSucceeded"])
    message = outcome.message
    assert (message["status"], message["rows_predicted"], message["publication"], message["qa_passed"]) == ("succeeded", 30000, "published", True)
    assert message["r2"] > 0.85 and message["knowledge_base"] == "indexed"
    rows, = ran.machine.select("SELECT count(*), count(DISTINCT id), count_if(prediction IS NULL) FROM results WHERE run_id = 'success'")
    assert rows == [30000, 30000, 0]


def test_what_came_of_an_earlier_run_is_told_beside_the_training(ran):
    first, later = ran.outcomes["success"].message, ran.outcomes["called-twice"].message
    assert (first["evaluation"], first["evaluated_run"]) == ("nothing to evaluate", "")
    assert (later["evaluation"], later["evaluated_run"], later["evaluation_error"]) == ("done", "success", "")
    found = json.loads(ran.machine.get("models/engagement/realized/success.json"))
    assert found == json.loads(ran.machine.get("scoring/runs/success/actuals.json"))
    assert found["rows_matched"] == 30000 and found["r2"] > 0.85 and found["r2_interval"]["low"] < found["r2"] < found["r2_interval"]["high"]
    for folder in ("scoring", "models/engagement"):
        page = ran.machine.get(f"{folder}/index.html").decode()
        history = json.loads(ran.machine.get(f"{folder}/history.json"))
        known = {run["run_id"]: run for run in history["runs"]}
        assert known["success"]["evaluated"]["r2"]["value"] == found["r2"] and known["success"]["dollars"] > 0, folder
        assert "success" in page and page.endswith("</main></body></html>\n"), folder


def test_the_checks_are_rows_of_a_table(ran):
    columns, rows = ran.machine.checks("success")
    assert {"check", "passed"} <= set(columns) and rows
    # Null where there is no run before to compare with.
    assert {row[columns.index("passed")] for row in rows} <= {True, None} and sum(row[columns.index("passed")] is True for row in rows) > 10


def test_no_call_was_denied(ran):
    """Nothing asked for what its role does not list."""
    assert ran.machine.authorizer.denied == []


def test_what_a_role_does_not_list_is_denied(ran):
    """The stand-ins would say so: of S3, Athena, Lambda, Glue, ECS and SNS."""
    import boto3
    from botocore.exceptions import ClientError
    from s3 import client_of

    machine = ran.machine

    def client(service, endpoint, role):
        return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=role, aws_secret_access_key="local")

    before = list(machine.authorizer.denied)
    outputs = machine.stack.outputs()
    calls = {
        "s3:PutObject": lambda: client_of(machine.gate.endpoint, "UpdateBedrockKBRole").put_object(Bucket="lake", Key="models/engagement/latest.json", Body=b"{}"),
        "s3:DeleteObject": lambda: client_of(machine.gate.endpoint, "TrainingTaskRole").delete_object(Bucket="lake", Key="models/engagement/latest.json"),
        "s3:ListBucket": lambda: client_of(machine.gate.endpoint, "TrainingTaskRole").list_objects_v2(Bucket="lake", Prefix="scoring/"),
        "athena:StartQueryExecution": lambda: client("athena", machine.athena.endpoint, "InferencePrepRole").start_query_execution(QueryString="SELECT 1", WorkGroup=outputs["WorkgroupName"]),
        "lambda:InvokeFunction": lambda: client("lambda", machine.functions.endpoint, "InferenceTaskRole").invoke(FunctionName="data-prep", Payload=b"{}"),
        "glue:UpdateTable": lambda: client("glue", machine.catalogue.endpoint, "PipelineRole").update_table(DatabaseName=outputs["DatabaseName"], TableInput={"Name": "results"}),
        "sns:Publish": lambda: client("sns", machine.sns.endpoint, "DataPreparationRole").publish(TopicArn=outputs["TopicArn"], Message="x"),
        "ecs:StopTask": lambda: client("ecs", machine.ecs.endpoint, "CreateQATableRole").stop_task(cluster="ml-cluster", task="arn:aws:ecs:us-east-1:000000000000:task/ml-cluster/0"),
    }
    for action, call in calls.items():
        with pytest.raises(ClientError, match="not authorized|AccessDenied"):
            call()
        assert machine.authorizer.denied[-1][1] == action
    machine.authorizer.denied[:] = before


def test_every_statement_is_athena_s(ran):
    """Parsed in Athena's own dialect, by sqlglot."""
    import sqlglot

    for query in ran.machine.athena.queries.values():
        text = query.text.strip().rstrip(";")
        unload = re.match(r"(?is)^UNLOAD\s*\((.*)\)\s*TO\s*'[^']+'\s*WITH\s*\(.*\)$", text)
        assert sqlglot.parse_one(unload[1] if unload else text, read="athena") is not None


def test_what_a_select_gave_is_used_again_only_where_it_is_a_check_of_the_user_s_sql(ran):
    """UNLOAD never uses results again, and a table of the pipeline's own may have changed."""
    queries = ran.machine.athena.queries.values()
    again = [query.text for query in queries if query.reused]
    assert again and all(" AS t LIMIT 0" in text for text in again), again
    # Every run asks for both checks; those after the first find the answers there.
    assert len(again) >= 2 * (len(CASES) - 1)


def test_every_end_sent_one_message_on_each_topic(ran):
    for name, outcome in ran.outcomes.items():
        assert (len(outcome.messages), len(outcome.chats)) == (1, 1), name


def test_a_function_that_is_called_twice_answers_alike(ran):
    outcome = ran.outcomes["called-twice"]
    assert (outcome.status, outcome.message["rows_predicted"]) == ("SUCCEEDED", 30000)
    for function in FUNCTIONS:
        answers = [answer for name, run, answer, error in ran.machine.functions.answers if (name, run, error) == (function, "called-twice", None)]
        assert len(answers) == 2, function
        if function != "pre-cleanup":
            assert answers[0] == answers[1], function
    rows, = ran.machine.select("SELECT count(*), count(DISTINCT id) FROM results WHERE run_id = 'called-twice'")
    assert rows == [30000, 30000]
    checks = ran.machine.select("SELECT count(*), count(DISTINCT concat(\"check\", severity)) FROM qa WHERE run_id = 'called-twice'")[0]
    assert checks[0] == checks[1]


def test_what_failed_its_checks_is_never_published(ran):
    outcome = ran.outcomes["checks-fail"]
    assert (outcome.status, outcome.message["failed_state"], outcome.message["error_type"]) == ("FAILED", "CreateQATable", "QualityFailed")
    assert outcome.message["publication"] == "not published" and "PublishResults" not in outcome.entered
    assert len([name for name, event in ran.machine.functions.calls if (name, event["run_id"]) == ("create-qa-table", "checks-fail")]) == 1
    table = ran.machine.catalogue.find(ran.machine.stack.outputs()["DatabaseName"], "results_latest")
    assert "checks-fail" not in table.location and table.input["Parameters"]["run_id"] != "checks-fail"
    columns, rows = ran.machine.checks("checks-fail")
    assert False in {row[columns.index("passed")] for row in rows}


def test_the_results_of_a_run_stay_as_they_were(ran):
    now = ran.machine.keys("results/")
    assert {key: now.get(key) for key in ran.first_results} == ran.first_results


def predictions_of(machine, run: str) -> dict:
    """The rows of a run's predictions by id, and its manifest without what names the run and the time."""
    manifest = json.loads(machine.get(f"scoring/runs/{run}/manifest.json"))
    same = {name: manifest[name] for name in ("rows_read", "rows_predicted", "rejected_by_reason", "features", "predictions", "data_quality_score", "max_drift")}
    return {"rows": dict(machine.select(f"SELECT id, prediction FROM predictions WHERE run_id = '{run}'")), "manifest": same}


@pytest.mark.parametrize("name, shards", [("shards", 2), pytest.param("four-shards", 4, marks=case("four-shards"))])
def test_shards_score_what_one_task_scores(ran, name, shards):
    outcome = ran.outcomes[name]
    message = outcome.message
    assert (outcome.status, message["rows_predicted"], message["qa_passed"]) == ("SUCCEEDED", 30000, True)
    # Others run at the same time, and one that began later may have ended earlier.
    assert message["publication"] in ("published", "not published: results of an execution that began later stand already")
    assert (len(message["prediction_attempts"]), outcome.entered.count("Inference")) == (shards, 0)
    # Beside them an earlier run may be evaluated, by a task with a command of its own.
    tasks = [task for task in ran.machine.ecs.tasks.values() if (task.run_id, task.program, task.command) == (name, "predict", [])]
    told = [json.loads((task.folder / "stdout").read_text().splitlines()[-1]) for task in tasks if task.description["containers"][0]["exitCode"] == 0]
    assert len(told) == shards and True in [result["complete"] for result in told]
    assert len(tasks) == sum(message["prediction_attempts"])
    if name == "four-shards":
        assert (sorted(message["prediction_attempts"]), message["prediction_capacity"].count("FARGATE")) == ([1, 1, 1, 2], 1)
    # Both trained on the same rows, so the models are the same.
    one = predictions_of(ran.machine, "success")
    assert len(one["rows"]) == 30000 and predictions_of(ran.machine, name) == one


@pytest.mark.parametrize("name, shards, attempts", [("learnt-by-two", 2, 1), pytest.param("learnt-by-four", 4, 2, marks=case("learnt-by-four"))])
def test_shards_learn_a_model_as_good_as_one_task_s(ran, name, shards, attempts):
    outcome = ran.outcomes[name]
    message = outcome.message
    assert (outcome.status, message["rows_predicted"], message["qa_passed"], message["training_attempts"]) == ("SUCCEEDED", 30000, True, attempts)
    assert (outcome.entered.count("TrainingShards"), outcome.entered.count("Training")) == (attempts, 0)
    tasks = [task for task in ran.machine.ecs.tasks.values() if (task.run_id, task.program) == (name, "train")]
    told = [json.loads((task.folder / "stdout").read_text().splitlines()[-1]) for task in tasks if task.description["containers"][0]["exitCode"] == 0]
    assert len(tasks) == shards * attempts and len(told) == shards
    # All of them tell of the one run, and each had row groups of its own.
    assert all(one == told[0] and one["shards"] == shards for one in told)
    assert abs(message["r2"] - ran.outcomes["success"].message["r2"]) < 0.01 and "_checkpoint" not in str(ran.machine.keys(f"models/engagement/v1.2.0/{name}/"))


@case("rejected-previous")
def test_below_the_gate_customers_are_scored_with_the_model_before(ran):
    outcome = ran.outcomes["rejected-previous"]
    message = outcome.message
    assert (outcome.status, message["status"], message["rows_predicted"], message["publication"]) == ("SUCCEEDED", "rejected", 30000, "published")
    assert "0.999" in message["reason"] and message["scored_with_run"] != "rejected-previous"


@case("rejected-stop")
def test_below_the_gate_nothing_is_scored_if_so_wanted(ran):
    outcome = ran.outcomes["rejected-stop"]
    assert (outcome.status, outcome.message["status"], outcome.message["rows_predicted"]) == ("SUCCEEDED", "rejected", None)
    assert not ran.machine.keys("scoring/predictions/run_id=rejected-stop/")


@case("spot")
def test_a_training_that_spot_took_back_goes_on_on_demand(ran):
    outcome = ran.outcomes["spot"]
    message = outcome.message
    assert (outcome.status, message["training_attempts"], message["training_capacity"]) == ("SUCCEEDED", 2, "FARGATE")
    tasks = [task for task in ran.machine.ecs.tasks.values() if (task.run_id, task.program) == ("spot", "train")]
    assert [task.description["containers"][0]["exitCode"] for task in tasks] == [143, 0]
    assert [task.description["capacityProviderName"] for task in tasks] == ["FARGATE_SPOT", "FARGATE"]


@case("function-fails")
def test_a_function_that_keeps_failing_fails_the_execution(ran):
    outcome = ran.outcomes["function-fails"]
    assert (outcome.status, outcome.message["failed_state"], outcome.message["error_type"]) == ("FAILED", "DataPreparation", "QueryFailed")
    assert "Athena could not be reached" in outcome.message["error_message"]


@case("function-recovers")
def test_a_function_that_was_busy_killed_or_out_of_time_is_called_again(ran):
    outcome = ran.outcomes["function-recovers"]
    assert (outcome.status, outcome.message["rows_predicted"]) == ("SUCCEEDED", 30000)
    rows, = ran.machine.select("SELECT count(*), count(DISTINCT id) FROM results WHERE run_id = 'function-recovers'")
    assert rows == [30000, 30000]


@case("aborted")
def test_an_aborted_execution_stops_its_task_and_is_told_of(ran):
    outcome = ran.outcomes["aborted"]
    assert (outcome.status, outcome.message["error_type"]) == ("ABORTED", "ABORTED")
    task, = [task for task in ran.machine.ecs.tasks.values() if (task.run_id, task.program) == ("aborted", "train")]
    assert task.ended.wait(60) and task.description["containers"][0]["exitCode"] == 143


@case("stack-updated")
def test_an_update_of_the_stack_leaves_the_execution_that_runs_its_tasks(ran):
    assert ran.outcomes["stack-updated"].status == "SUCCEEDED"
    tasks = {task.program: task.description["taskDefinitionArn"] for task in ran.machine.ecs.tasks.values() if task.run_id == "stack-updated"}
    assert {name: arn.rsplit(":", 1)[1] for name, arn in tasks.items()} == {"train": "1", "predict": "1"}
    assert {arn.rsplit(":", 1)[1] for arn in ran.machine.ecs.definitions} == {"1", "2"}


@case("at-once-a")
def test_two_executions_at_once_do_not_touch_one_another(ran):
    for name in ("at-once-a", "at-once-b"):
        assert ran.outcomes[name].status == "SUCCEEDED"
        rows, = ran.machine.select(f"SELECT count(*), count(DISTINCT id) FROM results WHERE run_id = '{name}'")
        assert rows == [30000, 30000]


@case("at-once-a")
def test_the_results_that_stand_are_those_of_the_run_that_began_last(ran):
    published = [outcome for outcome in ran.outcomes.values() if outcome.messages[0].get("publication") == "published"]
    newest = max(published, key=lambda outcome: outcome.execution["startDate"])
    table = ran.machine.catalogue.find(ran.machine.stack.outputs()["DatabaseName"], "results_latest")
    assert table.input["Parameters"]["run_id"] == newest.name and f"run_id={newest.name}/" in table.location


@case("odd-fields")
def test_odd_fields_change_nothing(ran):
    assert (ran.outcomes["odd-fields"].status, ran.outcomes["odd-fields"].message["run_id"]) == ("SUCCEEDED", "odd-fields")
    assert (ran.outcomes["bad-input"].status, ran.outcomes["bad-input"].message["error_type"]) == ("FAILED", "InvalidInput")


def own_tables(folder: Path) -> None:
    """Two tables of one's own, as CSV, of which the customers are those without a target."""
    random = Random(7)
    people, visits = ["Key,Plan,Spend"], ["Key,Visits"]
    for key in range(1, 3701):
        plan, times = random.choice(["basic", "family", "premium"]), random.randint(0, 40)
        spend = 3 * times + {"basic": 0, "family": 20, "premium": 50}[plan] + random.gauss(0, 3)
        people.append(f"{key},{plan},{spend:.3f}" if key <= 3000 else f"{key},{plan},")
        visits.append(f"{key},{times}")
    (folder / "data/visits").mkdir(parents=True)
    (folder / "sql").mkdir()
    (folder / "data/people.csv").write_text("\n".join(people))
    for part, rows in enumerate((visits[1:2000], visits[2000:])):
        (folder / f"data/visits/part-{part}.csv").write_text("\n".join([visits[0], *rows]))
    select = "SELECT p.key, p.plan, v.visits{target} FROM source.people p JOIN source.visits v ON v.key = p.key WHERE p.spend IS {null}\n"
    (folder / "sql/training.sql").write_text("-- whom we know\n" + select.format(target=", p.spend", null="NOT NULL"))
    (folder / "sql/customers.sql").write_text(select.format(target="", null="NULL") + " AND '{{run_date}}' > '2020';")


def test_make_pipeline_runs_on_tables_of_one_s_own_and_says_what_it_did(tmp_path):
    if not ALL:
        pytest.skip("PIPELINE=all (make pipeline-test) runs the other scenarios")
    own_tables(tmp_path)
    into = tmp_path / "into"
    command = [sys.executable, str(LOCAL / "run.py"), "--programs", PROGRAMS, "--into", str(into), "--sql", str(tmp_path / "sql"), "--data", str(tmp_path / "data"), "--id", "Key", "--target", "Spend"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    printed = ended.stdout
    assert ended.returncode == 0, printed + ended.stderr
    way = re.findall(r"^ +[\d.]+  (\w+)$", printed.split("The way through the states (seconds):")[1].split("SUCCEEDED after")[0], re.M)
    assert f"{len(way)} states entered" in printed and {"PreCleanup", "Training", "Inference", "PublishResults", "WaitForIngestion"} <= set(way)
    message = json.loads(printed.split("The message on pipeline-notifications:")[1].split("The checks (table qa):")[0])
    assert (message["status"], message["rows_train"] + message["rows_test"], message["rows_predicted"]) == ("succeeded", 3000, 700) and message["r2"] > 0.9
    assert re.search(r"rows_read_match_customers +700 +700 +fail +True", printed) and "results_latest: 700 customers" in printed
    assert re.search(r"together +\$0\.00\d+ +\$2\.09", printed)
    for what in re.findall(r"^  [\w ]+ (/\S+)$", printed.split("Where everything lies:")[1], re.M):
        assert Path(what).is_dir() and any(Path(what).iterdir()), what


# What a role may and no scenario asks for, with the reason.
NOT_ASKED_FOR_HERE = {
    "logs:CreateLogStream", "logs:PutLogEvents",  # Lambda itself, as the role
    "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads",  # of an upload that fails, or of Athena's large ones
    "athena:StopQueryExecution",  # out of time
    "kms:Decrypt", "kms:GenerateDataKey",  # with a key of one's own
    "events:PutTargets", "events:DescribeRule",  # Step Functions itself, as the role
    "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
}
NOT_ASKED_FOR_BY = {
    ("TrainingTaskRole", "s3:DeleteObject"),  # a checkpoint, which a short training has none of
    ("InferenceTaskRole", "s3:DeleteObject"),  # records of parts, of a scoring that was interrupted
    ("PreCleanupRole", "s3:DeleteObject"), ("PreCleanupRole", "glue:DeleteTable"), ("PreCleanupRole", "glue:GetTable"),  # nothing here is a day old
    ("PipelineRole", "s3:ListBucket"),  # S3 itself, to answer 404 and not 403 for an object that is missing
    ("CreateResultsTableRole", "glue:UpdateTable"),  # customers with new columns
    ("DataPreparationRole", "glue:GetPartition"), ("DataPreparationRole", "glue:GetPartitions"), ("DataPreparationRole", "glue:BatchGetPartition"),  # sources with partitions
}


def test_a_role_may_nothing_that_nobody_asks_for(ran):
    if not ALL:
        pytest.skip("PIPELINE=all (make pipeline-test) runs the other scenarios")
    asked = {(role, action) for role, action, _ in ran.machine.authorizer.calls}
    roles = [role for role in ran.machine.authorizer.statements if role.endswith("Role") and role not in ("ExecutionRole", "ScheduleRole", "ChatRole")]
    unused = set()
    for role in roles:
        for statement in ran.machine.authorizer.statements[role]:
            for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
                if (role, action) not in asked and action not in NOT_ASKED_FOR_HERE and (role, action) not in NOT_ASKED_FOR_BY:
                    unused.add((role, action))
    assert unused == set()
