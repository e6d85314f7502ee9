"""One LocalStack for the whole session, all executions at once, and the closing line."""

import collections
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
    mocks["StateMachines"][MACHINE] = mocks["StateMachines"]["with-a-runtime-error"] = mocks["StateMachines"]["with-a-model"]
    server = LocalAws(tmp_path_factory.mktemp("localstack"), mocks)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def outcomes(aws):
    """Runs every scenario, side by side; the outcome of each by its name."""
    pipelines = {name: Pipeline(aws, name, shards=scenarios.SHARDS if name == scenarios.WITH_SHARDS else 1) for name in scenarios.EVERY_MACHINE}
    pipelines["with-a-model"].put(scenarios.LATEST_KEY, scenarios.LATEST)
    for runner in pipelines.values():
        runner.make_rule()
    started = {}
    for scenario in scenarios.SCENARIOS.values():
        runner = pipelines[scenario.machine]
        for key, content in scenario.contents().items():
            runner.put(key, content)
        started[scenario.name] = runner, runner.start(scenario.input, scenario.execution_name, scenario.name)
    ended = {name: runner.outcome(execution, messages=1) for name, (runner, execution) in started.items()}
    assert not any(runner.late_messages() for runner in pipelines.values()), "an execution sent a second message"
    return ended


@pytest.fixture(scope="session")
def timed_out(aws):
    """The outcome of an execution whose own time is over, with the stack's rule in place that tells of it."""
    runner = Pipeline(aws, MACHINE, _out_of_time)
    runner.make_rule()
    return runner.outcome(runner.start(scenarios.INPUT, "run-out-of-time", "spot-interruption"), messages=1)


@pytest.fixture(scope="session")
def runtime_error(aws):
    """The outcome of an execution that fails where no Catch can help: a Pass state finds nothing at its path."""
    def broken(machine: dict) -> dict:
        machine = pipeline.hurried(machine)
        pipeline.all_states(machine)["PlaceResults"]["Parameters"]["location"]["Location.$"] = "$.post[1].nothing.here"
        return machine

    runner = Pipeline(aws, "with-a-runtime-error", broken)
    runner.make_rule()
    success = scenarios.SCENARIOS["success"]
    for key, content in success.contents().items():
        runner.put(key.replace(success.run_id, "run-with-a-runtime-error"), content)
    return runner.outcome(runner.start(scenarios.INPUT, "run-with-a-runtime-error", "success"), messages=1)


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
