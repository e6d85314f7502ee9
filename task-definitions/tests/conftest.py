"""One LocalStack for the whole session, all executions at once, and the closing line."""

import collections
import json
import sys

import pytest

import pipeline
import scenarios
from local_aws import LocalAws, Pipeline

MACHINE = "engagement-ml-pipeline"


def _out_of_time(machine: dict) -> dict:
    """Its whole time is over while it waits to retry the training."""
    machine = pipeline.hurried(machine)
    machine["TimeoutSeconds"] = 2
    pipeline.all_states(machine)["PlanTraining"]["Parameters"]["wait"] = 60
    return machine


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    """A running LocalStack that knows the answers of every scenario."""
    if sys.version_info < (3, 12):
        pytest.skip("the local Step Functions needs Python 3.12 or newer (PYTHON=/path/to/python chooses one)")
    mocks = scenarios.mock_file()
    mocks["StateMachines"][MACHINE] = mocks["StateMachines"]["with-a-model"]
    server = LocalAws(tmp_path_factory.mktemp("localstack"), mocks)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def outcomes(aws):
    """Runs every scenario, side by side; the outcome of each by its name."""
    pipelines = {exists: Pipeline(aws, name) for exists, name in scenarios.MACHINES.items()}
    pipelines[True].put(scenarios.LATEST_KEY, scenarios.LATEST)
    started = {}
    for scenario in scenarios.SCENARIOS.values():
        runner = pipelines[scenario.model_exists]
        for key, content in scenario.contents().items():
            runner.put(key, content)
        started[scenario.name] = runner, runner.start(scenario.input, scenario.execution_name, scenario.name)
    silent = {"failure-cannot-be-told"}
    ended = {name: runner.outcome(execution, messages=int(name not in silent)) for name, (runner, execution) in started.items()}
    assert not any(runner.late_messages() for runner in pipelines.values()), "an execution sent a second message"
    return ended


@pytest.fixture(scope="session")
def timed_out(aws):
    """The outcome of an execution whose own time is over, with the stack's rule in place that tells of it."""
    runner = Pipeline(aws, MACHINE, _out_of_time)
    rule = pipeline.stack(StateMachine=runner.arn, Topic=runner.topic)["Resources"]["EndedWithoutAMessage"]["Properties"]
    events = aws.client("events")
    events.put_rule(Name=rule["Name"], EventPattern=json.dumps(rule["EventPattern"]))
    events.put_targets(Rule=rule["Name"], Targets=rule["Targets"])
    return runner.outcome(runner.start(scenarios.INPUT, "run-out-of-time", "spot-interruption"), messages=1)


def pytest_unconfigure(config):
    """Closes with one plain line, after pytest's own summary."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    count = {kind: len(reporter.stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")}
    reasons = collections.Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", []))
    for reason, times in reasons.items():
        print(f"{times} skipped: {reason}")
    print(f"{count['passed']} passed, {count['failed'] + count['error']} failed")
