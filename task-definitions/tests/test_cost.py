"""The cost arithmetic, against the figures of PIPELINE.md and DESIGN.md."""

import subprocess
import sys

import pytest

from pipeline import FOLDER

sys.path.insert(0, str(FOLDER))
import cost  # noqa: E402

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
