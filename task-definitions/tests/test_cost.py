"""The cost arithmetic, against the figures of PIPELINE.md and DESIGN.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import FOLDER, PROJECT, stack

sys.path.insert(0, str(FOLDER))
import cost  # noqa: E402

SHARED = Path(os.environ.get("ENGAGEMENT_ML_SHARED", PROJECT.parent / "shared"))
PLAIN = cost.Size(storage_gb=20)


def test_the_first_version_s_run_at_list_price():
    first_version = cost.Size(vcpu=16, memory_gb=64, storage_gb=20)
    assert cost.run_dollars([30 * 60, 20 * 60], first_version, pull_seconds=0) == pytest.approx(0.78, abs=0.005)


def test_the_billing_floor():
    assert cost.task_dollars(1, PLAIN, pull_seconds=0) == pytest.approx(0.0016, abs=0.00005)
    assert cost.run_dollars([1, 1], PLAIN, pull_seconds=0) == pytest.approx(0.0033, abs=0.00005)


def test_the_minute_includes_the_pull():
    assert cost.billed_seconds(49, pull_seconds=10) == 60
    assert cost.billed_seconds(51, pull_seconds=10) == 61
    assert cost.billed_seconds(cost.longest_in_the_first_minute(10), pull_seconds=10) == 60


def test_spot_arm_and_storage():
    assert cost.task_dollars(100, PLAIN, 0, spot_discount=0.7) == pytest.approx(0.3 * cost.task_dollars(100, PLAIN, 0))
    assert cost.Size(architecture="arm").dollars_per_hour() < cost.Size().dollars_per_hour()
    assert cost.Size(storage_gb=21).dollars_per_hour() - cost.Size(storage_gb=20).dollars_per_hour() == pytest.approx(0.000111)


def test_the_command_line():
    command = [sys.executable, str(FOLDER / "cost.py"), "--task", "1", "--task", "1", "--pull-seconds", "0", "--storage-gb", "20"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "the run: $0.0033 at 2 vCPU, 4 GB" in printed


def test_shards_are_tasks_of_their_own():
    chosen = cost.settings(["--task", "11.5", "--task", "90", "--shards", "4"])
    assert chosen.task == [11.5, 90, 90, 90, 90]
    parts = cost.parts_of_a_run(chosen.task, chosen)
    assert parts["predict"] == pytest.approx(4 * cost.task_dollars(90, cost.Size())) and parts["train"] == pytest.approx(cost.task_dollars(11.5, cost.Size()))
    assert cost.parts_of_a_run([11.5], chosen).keys() == parts.keys() - {"predict"}


def test_what_shards_take_is_extrapolated_from_slopes():
    slopes = cost.Slopes(fixed=2, per_million=1, ids_per_million=0.25)
    assert slopes.shard_seconds(100e6, 1) == [102]
    assert slopes.shard_seconds(100e6, 4) == [27, 33.25, 39.5, 45.75]
    command = [sys.executable, str(FOLDER / "cost.py"), "--shards", "4", "--rows", "100e6", "--fixed-seconds", "2", "--seconds-per-million", "1", "--id-seconds-per-million", "0.25"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "100,000,000 rows by 4 shards: 27.0 s the first, 45.8 s the last, 146 s together" in printed and "extrapolated" in printed


def test_the_rest_of_a_run():
    assert cost.athena_dollars(9, 12) == pytest.approx(90 / 1e6 * 5)
    assert cost.athena_dollars(1, 1e6) == pytest.approx(5)
    assert cost.function_dollars({"data-prep": 10}) == pytest.approx(10 * 0.5 * 0.0000166667 + 0.0000002)
    assert cost.function_dollars({"data-prep": 10}, "arm") < cost.function_dollars({"data-prep": 10})


def test_the_functions_have_the_stack_s_memory():
    memory = {resource["Properties"]["FunctionName"]: resource["Properties"]["MemorySize"] for resource in stack()["Resources"].values() if resource["Type"] == "AWS::Lambda::Function"}
    assert memory == cost.FUNCTIONS_MB


def test_the_alarms_are_counted_by_metric():
    alarms = [resource["Properties"] for resource in stack()["Resources"].values() if resource["Type"] == "AWS::CloudWatch::Alarm"]
    metrics = sum(len([metric for metric in alarm.get("Metrics", [{"MetricStat": 1}]) if "MetricStat" in metric]) for alarm in alarms)
    assert any(name.startswith(f"alarms: {metrics} metrics") for name in cost.MONTHLY) and cost.MONTHLY[next(iter(cost.MONTHLY))] == pytest.approx(metrics / 10)


def test_the_first_version_s_costs_are_the_description_s():
    text = (SHARED / "PIPELINE.md")
    if not text.exists():
        pytest.skip(f"no {text}")
    counted = text.read_text().split("What the first version's authors count per run:")[1].split("their total")[0]
    assert [float(dollars) for dollars in re.findall(r"\$([\d.]+)", counted)] == [0.02, 0.04, 1.18, 0.79, 0.01, 0.05] == list(cost.FIRST_VERSION.values())


def test_the_table_of_a_run_stands_beside_the_first_version_s():
    command = [sys.executable, str(FOLDER / "cost.py"), "--task", "11.5", "--task", "0.4", "--transitions", "62", "--function", "data-prep=4", "--queries", "9", "--tokens", "6000"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"Step Functions\s+\$0\.00155\s+\$0\.02", printed) and re.search(r"together\s+\$0\.00\d+\s+\$2\.09", printed)
    assert "By the month:" in printed and "4.33 runs" in printed
