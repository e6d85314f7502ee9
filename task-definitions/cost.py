#!/usr/bin/env python3
"""What a run costs on Fargate, from measured seconds.

    cost.py --task 11.5 --task 0.4
    cost.py --task 11.5 --task 0.4 --task 1 --vcpu 2 --memory-gb 4 --pull-seconds 10 --arm --spot-discount 0.7
    cost.py --first-minute          # the longest task that is still billed as one minute

Each `--task` is one task's seconds from the container's start to its end, as measured. Fargate bills a task from the
start of its image pull until it stops, by the second, at least one minute:

    cost of a task = max(60, pull + seconds) / 3600 x (vCPU x price per vCPU hour + GB x price per GB hour
                                                       + max(0, storage GB - 20) x price per storage GB hour)

The pull is an estimate (`--pull-seconds`): AWS publishes no figure, and it depends on the image and the network. Prices
are list prices of us-east-1, Linux, without tax, data transfer, logs or requests. Needs Python alone.
"""

import argparse
import sys
from dataclasses import dataclass

PER_VCPU_HOUR = {"x86": 0.04048, "arm": 0.03238}
PER_GB_HOUR = {"x86": 0.004445, "arm": 0.00356}
PER_STORAGE_GB_HOUR = 0.000111
FREE_STORAGE_GB = 20
LEAST_SECONDS = 60
ESTIMATED_PULL_SECONDS = 10


@dataclass(frozen=True)
class Size:
    """What a task is given."""

    vcpu: float = 2
    memory_gb: float = 4
    storage_gb: float = 21
    architecture: str = "x86"

    def dollars_per_hour(self) -> float:
        """The list price of this size."""
        storage = max(0.0, self.storage_gb - FREE_STORAGE_GB) * PER_STORAGE_GB_HOUR
        return self.vcpu * PER_VCPU_HOUR[self.architecture] + self.memory_gb * PER_GB_HOUR[self.architecture] + storage


def billed_seconds(seconds: float, pull_seconds: float = ESTIMATED_PULL_SECONDS) -> float:
    """The seconds that are billed for a container that ran `seconds`."""
    return max(LEAST_SECONDS, pull_seconds + seconds)


def task_dollars(seconds: float, size: Size = Size(), pull_seconds: float = ESTIMATED_PULL_SECONDS, spot_discount: float = 0) -> float:
    """The price of one task; `spot_discount` is the share that Spot takes off at the time (it varies, at most 0.7)."""
    return billed_seconds(seconds, pull_seconds) / 3600 * size.dollars_per_hour() * (1 - spot_discount)


def run_dollars(tasks: list, size: Size = Size(), pull_seconds: float = ESTIMATED_PULL_SECONDS, spot_discount: float = 0) -> float:
    """The price of all tasks of a run."""
    return sum(task_dollars(seconds, size, pull_seconds, spot_discount) for seconds in tasks)


def longest_in_the_first_minute(pull_seconds: float = ESTIMATED_PULL_SECONDS) -> float:
    """The container seconds up to which a task is billed as one minute."""
    return max(0.0, LEAST_SECONDS - pull_seconds)


def settings(arguments: list) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", type=float, action="append", default=[], metavar="SECONDS", help="a task's measured seconds (repeats)")
    parser.add_argument("--vcpu", type=float, default=Size.vcpu)
    parser.add_argument("--memory-gb", type=float, default=Size.memory_gb)
    parser.add_argument("--storage-gb", type=float, default=Size.storage_gb)
    parser.add_argument("--pull-seconds", type=float, default=ESTIMATED_PULL_SECONDS, help="image pull and start, an estimate")
    parser.add_argument("--arm", action="store_true", help="prices of arm64")
    parser.add_argument("--spot-discount", type=float, default=0.0, metavar="SHARE", help="0 to 0.7")
    parser.add_argument("--first-minute", action="store_true", help="print the longest task of one billed minute")
    return parser.parse_args(arguments)


def main() -> int:
    """Prints the price of each task and of the run."""
    chosen = settings(sys.argv[1:])
    size = Size(chosen.vcpu, chosen.memory_gb, chosen.storage_gb, "arm" if chosen.arm else "x86")
    if chosen.first_minute:
        print(f"{longest_in_the_first_minute(chosen.pull_seconds):g} s in the container, with {chosen.pull_seconds:g} s of pull as an estimate")
    for seconds in chosen.task:
        billed = billed_seconds(seconds, chosen.pull_seconds)
        print(f"{seconds:g} s in the container, {billed:g} s billed: ${task_dollars(seconds, size, chosen.pull_seconds, chosen.spot_discount):.6f}")
    if chosen.task:
        total = run_dollars(chosen.task, size, chosen.pull_seconds, chosen.spot_discount)
        print(f"the run: ${total:.4f} at {size.vcpu:g} vCPU, {size.memory_gb:g} GB, {size.architecture}, pull estimated as {chosen.pull_seconds:g} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
