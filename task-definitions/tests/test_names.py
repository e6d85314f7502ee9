"""Names that task definitions, state machine, stack, contract and code share, and that no compiler compares.

The contract is docs/contract.md. CONTRACT.md, which it is a copy of, and PIPELINE.md lie in the folder `shared` beside the project, or
where ENGAGEMENT_ML_SHARED says; where they are not, those comparisons are skipped.
"""

import json
import os
import re
from pathlib import Path

import pytest

import pipeline
from pipeline import FOLDER, PROJECT

SHARED = Path(os.environ.get("ENGAGEMENT_ML_SHARED", PROJECT.parent / "shared"))
ENV_RS = PROJECT / "common/machine/src/env.rs"
EMF_RS = PROJECT / "common/telemetry/src/emf.rs"
ERROR_RS = PROJECT / "common/error/src/lib.rs"
SET_BY_ECS = {"ECS_CONTAINER_METADATA_URI_V4"}
TASKS = {"Training": "training-task.json", "Inference": "inference-task.json"}


def shared(file: str) -> str:
    """A file of the folder beside the project."""
    if not (SHARED / file).exists():
        pytest.skip(f"no {SHARED / file}")
    return (SHARED / file).read_text()


def contract() -> str:
    """What other systems rely on."""
    return (PROJECT / "docs/contract.md").read_text()


def source(file: Path) -> str:
    """A Rust source that may not be written yet."""
    if not file.exists():
        pytest.skip(f"no {file.relative_to(PROJECT)} yet")
    return file.read_text()


def task(file: str) -> dict:
    """A task definition as it is."""
    return json.loads((FOLDER / file).read_text())


def states() -> dict:
    """Every state by its name."""
    return pipeline.all_states(pipeline.definition())


def set_by_the_run(name: str) -> set:
    """The environment variables that the state machine sets for a task."""
    own = {item["Name"] for item in states()[f"{name}Variables"]["Parameters"]["own"]}
    return own | {item["Name"] for item in states()[f"{name}Shards"]["ItemSelector"]["variables"]["shard"]}


def variables() -> set:
    """Every environment variable that a task definition or an override sets."""
    in_tasks = {item["name"] for file in TASKS.values() for item in task(file)["containerDefinitions"][0]["environment"]}
    return in_tasks.union(*map(set_by_the_run, TASKS))


def settings_of_the_contract() -> set:
    """The variables of the contract: a flag's name in capitals, or the name in parentheses after it."""
    text = contract().split("## Settings")[1].split("## Exit codes")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `--")]
    cells.append(text.split("\nBoth:")[1].split("\n\n")[0].replace("`--version`", ""))
    found = set()
    for cell in cells:
        for flag, named in re.findall(r"`--([a-z0-9-]+)[^`]*`(?: \((?:repeats; )?`([A-Z_0-9]+)`)?", cell):
            found.add(named or flag.upper().replace("-", "_"))
    return found


def exit_codes_of_the_contract() -> dict:
    """Each exit code with the answer to "does a retry help?"."""
    text = contract().split("## Exit codes")[1].split("## Standard output")[0]
    return {int(row[0]): row[1].strip() for row in re.findall(r"^\| (\d+) \|.*\|(.*)\|$", text, re.M)}


def exit_codes_to(state: str, *next_states: str) -> set:
    """The exit codes by which a Choice goes to one of the states."""
    rules = [rule for rule in states()[state]["Choices"] if rule["Next"] in next_states]
    return {int(code) for code in re.findall(r'\\"ExitCode\\": ?(\d+)[,}]', json.dumps(rules))}


def test_the_contract_s_settings_were_found():
    assert {"TRAIN_DATA", "ID_COLUMN", "XGB_PARAMS", "INPUT_DATA", "RUN_ID", "MODELS", "LOG_FORMAT"} <= settings_of_the_contract()
    assert not {"ID", "TARGET", "INPUT", "PARAM"} & settings_of_the_contract()


def test_variables_are_settings_of_the_contract():
    assert variables() - settings_of_the_contract() == set()


def test_variables_are_read_by_the_programs():
    known = set(re.findall(r'pub const \w+: &str = "(\w+)"', source(ENV_RS)))
    assert known, f"{ENV_RS} has another form than expected"
    assert variables() - known == set()


def test_the_programs_read_what_the_contract_says():
    known = set(re.findall(r'pub const \w+: &str = "(\w+)"', source(ENV_RS))) - SET_BY_ECS
    assert settings_of_the_contract() - known == set()


def test_every_variable_that_a_task_needs_is_set():
    required = {"Training": {"TRAIN_DATA", "MODELS", "MODEL_VERSION", "RUN_ID"}, "Inference": {"INPUT_DATA", "OUTPUT", "MODELS", "RUN_ID"}}
    for name, needed in required.items():
        given = {item["name"] for item in task(TASKS[name])["containerDefinitions"][0]["environment"]}
        given |= set_by_the_run(name)
        assert needed <= given


def test_overrides_name_the_containers_of_the_task_definitions():
    resources = pipeline.stack()["Resources"]
    for name, file in TASKS.items():
        container = task(file)["containerDefinitions"][0]["name"]
        for state in (name, "InferenceShard") if name == "Inference" else (name,):
            assert states()[state]["Parameters"]["Overrides"]["ContainerOverrides"][0]["Name"] == container
    assert (resources["TrainingTask"]["Properties"]["Family"], resources["InferenceTask"]["Properties"]["Family"]) == ("training-task", "inference-task")
    assert resources["Pipeline"]["Properties"]["StateMachineName"] == "engagement-ml-pipeline"


def test_log_links_lead_where_the_tasks_log():
    machine = pipeline.STATE_MACHINE.read_text()
    for file, group in (("training-task.json", "TrainingLogGroup"), ("inference-task.json", "InferenceLogGroup")):
        container = task(file)["containerDefinitions"][0]
        options = container["logConfiguration"]["options"]
        assert options["awslogs-group"] == "${%s}" % group
        assert "${%s}/log-events/%s$252F%s$252F" % (group, options["awslogs-stream-prefix"], container["name"]) in machine


def test_exit_codes_are_the_contract_s():
    helped = exit_codes_of_the_contract()
    assert exit_codes_to("ClassifyTraining", "TrainingRetriesLeft") == {code for code, answer in helped.items() if answer == "yes"}
    larger = {code for code, answer in helped.items() if answer == "with a larger task"}
    assert exit_codes_to("ClassifyTraining", "TrainWithMoreMemory") == larger | {137}
    assert exit_codes_to("ClassifyTraining", "TrainingRejected") == {3}


def test_exit_codes_are_the_programs():
    text = source(ERROR_RS)
    codes = {int(code) for code in re.findall(r"=> (\d+),", text.split("fn exit_code")[1].split("fn kind")[0])}
    assert exit_codes_to("ClassifyTraining", "TrainingRetriesLeft", "TrainWithMoreMemory", "TrainingRejected") - {137} <= codes
    assert codes | {0} == set(exit_codes_of_the_contract())


def metrics_of_the_stack() -> set:
    """Every metric of our namespace that an alarm or the dashboard shows."""
    resources = pipeline.stack()["Resources"]
    text = json.dumps(resources)
    found = {metric for metric in re.findall(r'"Namespace": "EngagementML", "MetricName": "(\w+)"', text)}
    for widget in json.loads(resources["Dashboard"]["Properties"]["DashboardBody"])["widgets"]:
        namespace = None
        for line in widget["properties"].get("metrics", []):
            namespace = line[0] if line[0] not in (".", "...") else namespace
            if namespace == "EngagementML" and line[0] != "..." and line[1] != ".":
                found.add(line[1])
    return found


def test_metrics_are_the_contract_s():
    text = contract()
    described = re.search(r"Namespace `(\w+)`, dimensions (.*?): (.*?)\.\n", text, re.S)
    assert described[1] == "EngagementML"
    assert set(re.findall(r"`(\w+)`", described[3])) == metrics_of_the_stack()
    dimensions = re.findall(r"`(\w+)`", described[2])
    alarm = pipeline.stack()["Resources"]["LowAccuracyAlarm"]["Properties"]
    assert [dimension["Name"] for dimension in alarm["Dimensions"]] == dimensions


def test_metrics_are_the_programs():
    text = source(EMF_RS)
    assert {name for name in metrics_of_the_stack() if f'"{name}"' not in text} == set()
    assert '"EngagementML"' in text


def test_messages_quote_fields_of_the_results():
    text = contract()
    train = set(re.findall(r"[a-z0-9_]+", re.search(r"`train`'s result: (.*?)\. `predict`'s", text, re.S)[1]))
    predict = set(re.findall(r"[a-z0-9_]+", re.search(r"`predict`'s: (.*?)\.\n", text, re.S)[1]))
    message = json.dumps(states()["NotifySuccess"]["Parameters"]["Message"])
    assert set(re.findall(r"\$\.ml\.training\.result\.(\w+)", message)) <= train
    assert set(re.findall(r"\$\.inference\.result\.(\w+)", message)) <= predict
    for field in ("exit_code", "error_type", "error_message"):
        assert f'"{field}"' in text


def test_results_are_read_where_the_contract_puts_them():
    text = contract()
    assert "<models>/<name>/<version>/<run_id>/result.json" in text
    assert "<output>/runs/<run_id>/plan.json  manifest.json  result.json" in text
    assert states()["ReadTrainingResult"]["Parameters"]["Key.$"] == "States.Format('models/engagement/{}/{}/result.json', $.model_version, $.run_id)"
    assert states()["ReadInferenceResult"]["Parameters"]["Key.$"] == "States.Format('scoring/runs/{}/result.json', $.run_id)"
    assert states()["FindPreviousModel"]["Parameters"]["Key"] == "models/engagement/latest.json"


def rows_of_the_pipeline() -> dict:
    """PIPELINE.md's table of states: timeout in seconds, and retry as attempts, interval, backoff (None: none)."""
    found = {}
    for line in shared("PIPELINE.md").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 7 or cells[1] in ("state", "---"):
            continue
        name = re.sub(r"\*", "", cells[1]).split("/")[-1].strip()
        timeout = re.match(r"(\d+) s", cells[4])
        retry = re.match(r"(\d+) × (\d+) s × ([\d.]+)", cells[5])
        found[name] = int(timeout[1]) if timeout else None, tuple(map(float, retry.groups())) if retry else None
    text = shared("PIPELINE.md").split("Not in the first version's table:")[1].split("\n\n")[0]
    seconds, *prepare = re.search(r"InferencePrep \((\d+) s, (\d+) × (\d+) s × ([\d.]+)", text).groups()
    found["InferencePrep"] = int(seconds), tuple(map(float, prepare))
    found["UpdateBedrockKB"] = found["UpdateBedrockKB"][0], tuple(map(float, re.search(r"UpdateBedrockKB \((\d+) × (\d+) s × ([\d.]+)\)", text).groups()))
    return found


def test_states_timeouts_and_retries_are_pipeline_md_s():
    rows = rows_of_the_pipeline()
    assert len(rows) == 9
    for name, (timeout, retry) in rows.items():
        if timeout is None:
            continue
        state = states()[name]
        assert state["TimeoutSeconds"] == timeout, name
        if name == "Inference":
            # By exit code, so in a counted loop of as many attempts and the same waits.
            wait = states()["PlanInference"]["Parameters"]["wait"], states()["InferAgain"]["Parameters"]["wait"]
            assert (2.0, float(wait[0]), wait[1] / wait[0]) == retry
            assert states()["InferenceRetriesLeft"]["Choices"][0]["NumericLessThan"] == 2
        elif retry:
            assert state["Retry"][0] == {"ErrorEquals": ["BadSettings", "EmptyData", "QualityFailed"], "MaxAttempts": 0}, name
            retrier = state["Retry"][-1]
            assert retrier["ErrorEquals"] == ["States.ALL"] and len(state["Retry"]) == 2
            assert (retrier["MaxAttempts"], retrier["IntervalSeconds"], retrier["BackoffRate"]) == retry, name
        else:
            assert "Retry" not in state, name


def test_the_failure_message_has_pipeline_md_s_fields():
    fields = re.search(r"the failure message carries `([^`]+)`", shared("PIPELINE.md"))[1].split(", ")
    message = {key.removesuffix(".$") for key in states()["NotifyFailure"]["Parameters"]["Message"]}
    assert len(fields) == 6 and set(fields) <= message


def test_a_program_that_deletes_may_delete():
    roles = pipeline.template()["Resources"]
    for program, role in (("train", "TrainingTaskRole"), ("predict", "InferenceTaskRole")):
        deletes = any(".delete(" in file.read_text() for file in (PROJECT / program / "src").rglob("*.rs"))
        assert not deletes or "s3:DeleteObject" in json.dumps(roles[role]), program


def test_the_contract_of_the_repository_is_the_one_that_was_agreed() -> None:
    assert contract() == shared("CONTRACT.md"), "docs/contract.md and CONTRACT.md of the shared folder differ"
