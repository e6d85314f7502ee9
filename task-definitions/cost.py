#!/usr/bin/env python3
"""What a run costs, from measured seconds, and what the stack costs by the month whether it runs or not.

    cost.py --task 11.5 --task 0.4
    cost.py --task 11.5 --task 0.4 --vcpu 2 --memory-gb 4 --pull-seconds 10 --arm --spot-discount 0.7
    cost.py --task 11.5 --task 0.4 --transitions 62 --function data-prep=4.2 --function update-kb=1 --queries 9 --scanned-mb 12 --tokens 6000 --stored-gb 2
    cost.py --task 11.5 --task 30 --shards 4              # four tasks score together, each for 30 s
    cost.py --shards 16 --rows 1e9 --fixed-seconds 0.3 --seconds-per-million 1.1 --id-seconds-per-million 0.2
    cost.py --first-minute          # the longest task that is still billed as one minute

Each `--task` is one task's seconds from the container's start to its end, as measured. Fargate bills a task from the
start of its image pull until it stops, by the second, at least one minute:

    cost of a task = max(60, pull + seconds) / 3600 x (vCPU x price per vCPU hour + GB x price per GB hour
                                                       + max(0, storage GB - 20) x price per storage GB hour)

The pull is an estimate (`--pull-seconds`): AWS publishes no figure, and it depends on the image and the network. Prices
are list prices of us-east-1 (2026-11), Linux, without tax, data transfer and free tiers. Needs Python alone.

With `--rows` the seconds of N shards (`predict --shard`) are extrapolated from slopes that were measured on one task (docs/benchmarks.md
has some, and how they were measured). Shard i of N (from 0) scores rows / N and reads the ids of i * rows / N rows before them:

    seconds of shard i = fixed + rows / N * seconds per row + i * rows / N * id seconds per row

The last shard is the slowest, and what the run takes. Nothing is shared between tasks but S3; that it serves N tasks as fast as one is assumed.

Step Functions bills each entry of a state, Lambda a request and the seconds times the memory, Athena what is read (10 MB per query at
least; DDL is free), Bedrock the tokens that are embedded. What an account pays by the month is listed by the piece, since much of it
is a choice: endpoints or public addresses, the store behind the knowledge base.
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


PER_TRANSITION = 0.025 / 1000
PER_LAMBDA_GB_SECOND = {"x86": 0.0000166667, "arm": 0.0000133334}
PER_LAMBDA_REQUEST = 0.20 / 1e6
PER_TB_SCANNED = 5.00
LEAST_MB_PER_QUERY = 10
PER_1000_TOKENS = 0.00002
PER_STORED_GB_MONTH = 0.023
# The functions' memory, as the stack has it.
FUNCTIONS_MB = {"pre-cleanup": 256, "data-prep": 512, "inference-prep": 1024, "create-qa-table": 512, "create-results-table": 512, "update-kb": 512}
# What the authors of the first version count per run (PIPELINE.md); their parts add up to $2.09, their total says $2.03.
FIRST_VERSION = {"Step Functions": 0.02, "functions": 0.04, "train": 1.18, "predict": 0.79, "Athena": 0.01, "knowledge base": 0.05}
# By the month, whether anything runs or not.
MONTHLY = {
    "alarms: 18 metrics at $0.10 (10 are free in an account)": 1.80,
    "dashboard (3 are free in an account)": 3.00,
    "images: 3 in ECR, about 0.2 GB at $0.10": 0.02,
    "interface endpoints, 3 in 2 zones at $0.01 an hour (none with AssignPublicIp=ENABLED)": 43.80,
    "store of the knowledge base, OpenSearch Serverless with 2 units at $0.24 an hour (none without a knowledge base; S3 Vectors: cents)": 350.40,
}


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


@dataclass(frozen=True)
class Slopes:
    """What scoring takes: seconds of a task that has nothing to do, per million rows that it scores, and per million rows of which it reads only the ids."""

    fixed: float
    per_million: float
    ids_per_million: float

    def shard_seconds(self, rows: float, shards: int) -> list:
        """The seconds of each shard."""
        share = rows / shards / 1e6
        return [self.fixed + share * self.per_million + shard * share * self.ids_per_million for shard in range(shards)]


def function_dollars(seconds: dict, architecture: str = "x86") -> float:
    """The price of one call of each function, from its seconds by name."""
    return sum(PER_LAMBDA_REQUEST + second * FUNCTIONS_MB[name] / 1024 * PER_LAMBDA_GB_SECOND[architecture] for name, second in seconds.items())


def athena_dollars(queries: int, scanned_mb: float) -> float:
    """The price of so many queries that read so much together; each counts as 10 MB at least."""
    return max(scanned_mb, queries * LEAST_MB_PER_QUERY) / 1e6 * PER_TB_SCANNED


def parts_of_a_run(tasks: list, chosen: argparse.Namespace) -> dict:
    """What a run costs, part by part, under the names of the first version's table."""
    architecture = "arm" if chosen.arm else "x86"
    size = Size(chosen.vcpu, chosen.memory_gb, chosen.storage_gb, architecture)
    found = {name: run_dollars(seconds, size, chosen.pull_seconds, chosen.spot_discount) for name, seconds in (("train", tasks[:1]), ("predict", tasks[1:])) if seconds}
    return found | {"Step Functions": chosen.transitions * PER_TRANSITION, "functions": function_dollars(dict(chosen.function), architecture),
                    "Athena": athena_dollars(chosen.queries, chosen.scanned_mb), "knowledge base": chosen.tokens / 1000 * PER_1000_TOKENS}


def longest_in_the_first_minute(pull_seconds: float = ESTIMATED_PULL_SECONDS) -> float:
    """The container seconds up to which a task is billed as one minute."""
    return max(0.0, LEAST_SECONDS - pull_seconds)


def _function(text: str) -> tuple:
    name, _, seconds = text.partition("=")
    if name not in FUNCTIONS_MB:
        raise argparse.ArgumentTypeError(f"no function {name}: {', '.join(FUNCTIONS_MB)}")
    return name, float(seconds)


def table_of_a_run(parts: dict) -> str:
    """The parts beside the first version's."""
    lines = [f"{'part':16}{'this run':>12}{'first version':>16}"]
    lines += [f"{name:16}{f'${parts[name]:.5f}':>12}{f'${FIRST_VERSION[name]:.2f}':>16}" for name in FIRST_VERSION if name in parts]
    return "\n".join([*lines, f"{'together':16}{f'${sum(parts.values()):.5f}':>12}{f'${sum(FIRST_VERSION.values()):.2f}':>16}"])


def table_of_a_month(stored_gb: float, per_run: float, runs: float = 52 / 12) -> str:
    """What a month costs: the runs, what is stored, and what is paid in any case."""
    lines = {f"{runs:.2f} runs": runs * per_run, f"storage: {stored_gb:g} GB at $0.023": stored_gb * PER_STORED_GB_MONTH} | MONTHLY
    return "\n".join(f"${dollars:9.4f}  {name}" for name, dollars in lines.items())


def extrapolated(chosen: argparse.Namespace, size: Size) -> str:
    """What N shards would take and cost, in one line."""
    seconds = Slopes(chosen.fixed_seconds, chosen.seconds_per_million, chosen.id_seconds_per_million).shard_seconds(chosen.rows, chosen.shards)
    dollars = run_dollars(seconds, size, chosen.pull_seconds, chosen.spot_discount)
    return (f"{chosen.rows:,.0f} rows by {chosen.shards} shards: {seconds[0]:.1f} s the first, {seconds[-1]:.1f} s the last, {sum(seconds):,.0f} s together, "
            f"${dollars:.4f} at {size.vcpu:g} vCPU, {size.memory_gb:g} GB (extrapolated)")


def settings(arguments: list) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", type=float, action="append", default=[], metavar="SECONDS", help="a task's measured seconds (repeats)")
    parser.add_argument("--shards", type=int, default=1, metavar="N", help="tasks that score together: the last --task is one of them")
    parser.add_argument("--rows", type=float, help="rows that N shards score, to extrapolate their seconds from the three slopes")
    parser.add_argument("--fixed-seconds", type=float, default=0.0)
    parser.add_argument("--seconds-per-million", type=float, default=0.0)
    parser.add_argument("--id-seconds-per-million", type=float, default=0.0)
    parser.add_argument("--vcpu", type=float, default=Size.vcpu)
    parser.add_argument("--memory-gb", type=float, default=Size.memory_gb)
    parser.add_argument("--storage-gb", type=float, default=Size.storage_gb)
    parser.add_argument("--pull-seconds", type=float, default=ESTIMATED_PULL_SECONDS, help="image pull and start, an estimate")
    parser.add_argument("--arm", action="store_true", help="prices of arm64")
    parser.add_argument("--spot-discount", type=float, default=0.0, metavar="SHARE", help="0 to 0.7")
    parser.add_argument("--transitions", type=int, default=0, help="states that the run entered")
    parser.add_argument("--function", type=_function, action="append", default=[], metavar="NAME=SECONDS", help="a function's measured seconds (repeats)")
    parser.add_argument("--queries", type=int, default=0, help="queries of Athena that read data")
    parser.add_argument("--scanned-mb", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=0, help="tokens embedded for the knowledge base")
    parser.add_argument("--stored-gb", type=float, default=0.0, help="what lies in the bucket")
    parser.add_argument("--first-minute", action="store_true", help="print the longest task of one billed minute")
    chosen = parser.parse_args(arguments)
    if chosen.shards < 1:
        parser.error("--shards is 1 or more")
    if chosen.rows is None:
        chosen.task += chosen.task[-1:] * (chosen.shards - 1)
    return chosen


def main() -> int:
    """Prints the price of each task and of the run."""
    chosen = settings(sys.argv[1:])
    size = Size(chosen.vcpu, chosen.memory_gb, chosen.storage_gb, "arm" if chosen.arm else "x86")
    if chosen.first_minute:
        print(f"{longest_in_the_first_minute(chosen.pull_seconds):g} s in the container, with {chosen.pull_seconds:g} s of pull as an estimate")
    if chosen.rows is not None:
        print(extrapolated(chosen, size))
    for seconds in chosen.task:
        billed = billed_seconds(seconds, chosen.pull_seconds)
        print(f"{seconds:g} s in the container, {billed:g} s billed: ${task_dollars(seconds, size, chosen.pull_seconds, chosen.spot_discount):.6f}")
    if chosen.transitions:
        parts = parts_of_a_run(chosen.task, chosen)
        print("\n" + table_of_a_run(parts) + "\n\nBy the month:\n" + table_of_a_month(chosen.stored_gb, sum(parts.values())))
    elif chosen.task:
        total = run_dollars(chosen.task, size, chosen.pull_seconds, chosen.spot_discount)
        print(f"the run: ${total:.4f} at {size.vcpu:g} vCPU, {size.memory_gb:g} GB, {size.architecture}, pull estimated as {chosen.pull_seconds:g} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
