"""What shards of `train` take, and that they learn what one task learns: one task with all the memory it wants, N shards at once, one task with a shard's memory.

usage: train_shards.py BIN FOLDER [--shards 2,4] [--memory-mib 1024] [--kills 0] [--seed 1] TRAIN_ARGUMENT …

BIN has `train`; FOLDER takes the model store and is emptied of it in the end. TRAIN_ARGUMENT … are those of `train` for all: --train-data, --id, --target,
--rounds and so on. Every process has a control group of its own, which the kernel holds to --memory-mib, and every shard a network namespace with an
address of its own, whose interface counts what it sends to the others; both need root. One task has as many threads as there are processors, and N
shards share them (one each at least). Every N is run twice, and with --kills K as many times more, when one shard is killed at a random moment, the others are awaited and all are started again.

Ends with 1 where a shard held more than its memory or than one task did, where nothing went between shards, where R² is farther than 0.003 from that of one
task in memory, where bytes differ between runs of one N, or where a shard that lost another did not end with exit 5 within a minute.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from control_groups import MIB, group_of

# R² that N shards may differ from one task by.
NEAR = 0.003
# Seconds within which the others of a lost shard end.
MINUTE = 60
NETWORK = "10.203.0"
PORT = 9091


def settings():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", default="2,4")
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given, given.arguments = parser.parse_known_args()
    given.programs, given.folder = given.programs.resolve(), given.folder.resolve()
    given.models = given.folder / "models"
    return given


class Network:
    """Network namespaces, each with an address of its own, and a bridge between them."""

    def __init__(self, count):
        self.bridge = f"shards{os.getpid()}"
        self.names = [f"{self.bridge}-{index}" for index in range(count)]
        self.ip("link", "add", self.bridge, "type", "bridge")
        self.ip("link", "set", self.bridge, "up")
        for index, name in enumerate(self.names):
            here = f"sh{os.getpid()}.{index}"
            self.ip("netns", "add", name)
            self.ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
            self.ip("link", "set", here, "master", self.bridge, "up")
            self.ip("-n", name, "address", "add", f"{self.address(index)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self.ip("-n", name, "link", "set", device, "up")

    @staticmethod
    def ip(*words):
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout

    @staticmethod
    def address(index):
        return f"{NETWORK}.{index + 1}"

    def sent(self, index):
        """Bytes that left a namespace until now."""
        [device] = json.loads(self.ip("-n", self.names[index], "-json", "-statistics", "link", "show", "dev", "eth0"))
        return device["stats64"]["tx"]["bytes"]

    def close(self):
        for name in self.names:
            self.ip("netns", "delete", name)
        self.ip("link", "delete", self.bridge)


class Process:
    """A process of `train` in a control group, in a network namespace where it has one."""

    def __init__(self, given, run_id, memory_mib, threads, more=(), namespace=None):
        self.group = group_of(f"{run_id}-{namespace or 'one'}", memory_mib)
        if not self.group:
            raise SystemExit("no control groups can be made here: be root")
        command = [given.programs / "train", *given.arguments, *more, "--run-id", run_id, "--threads", str(threads), "--models", given.models,
                   "--model-version", "v1", "--min-r2", "-1e9", "--log-format", "json"]
        if memory_mib:
            command += ["--memory", f"{memory_mib}m"]
        if namespace:
            command = ["ip", "netns", "exec", namespace, *command]
        self.output, self.log = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.started = time.monotonic()
        environment = {**os.environ, "TMPDIR": str(given.folder), "AWS_EC2_METADATA_DISABLED": "true"}
        self.child = subprocess.Popen([str(word) for word in command], env=environment, stdout=self.output, stderr=self.log,
                                      preexec_fn=lambda: (self.group / "cgroup.procs").write_text(str(os.getpid())))

    def kill(self):
        """By SIGKILL. `Popen.kill` would wait for one that has ended, and `ended` wants to."""
        if self.child.returncode is None:
            os.kill(self.child.pid, signal.SIGKILL)

    def ended(self):
        """What it took, and its last line."""
        _, status, usage = os.wait4(self.child.pid, 0)
        seconds = time.monotonic() - self.started
        self.child.returncode = os.waitstatus_to_exitcode(status)
        self.group.rmdir()
        for file in (self.output, self.log):
            file.seek(0)
        lines, said = self.output.read().splitlines(), self.log.read()
        return {"code": self.child.returncode, "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024,
                "result": json.loads(lines[-1]) if lines else None, "log": said,
                "plan": next((json.loads(line)["message"] for line in said.splitlines() if '"memory plan' in line), "")}


def succeeded(ended):
    """The result of a process that ended well."""
    if ended["code"]:
        raise SystemExit(f"a process ended with {ended['code']}: {ended['result']}\n{ended['log'][-3000:]}")
    return ended["result"]


def files(given, run_id):
    """The hash of the model and of the metadata but for what tells of time."""
    folder = given.models / "engagement/v1" / run_id
    metadata = json.loads((folder / "metadata.json").read_text())
    for field in ("created_at", "run_id"):
        metadata.pop(field)
    return [hashlib.sha256((folder / "model.ubj").read_bytes()).hexdigest(), json.dumps(metadata)]


class Shards:
    """Runs of N shards. As on Fargate, every attempt has addresses of its own."""

    def __init__(self, given, count):
        self.given, self.count = given, count
        self.threads = max(1, (os.cpu_count() or 1) // count)

    def start(self, run_id, network):
        """All of them; the first is shard 0."""
        def shard(index):
            more = ["--shard", f"{index}/{self.count}", "--collective-host", network.address(0), "--collective-port", str(PORT)]
            return Process(self.given, run_id, self.given.memory_mib, self.threads, more, network.names[index])
        return [shard(index) for index in range(self.count)]

    def run(self, run_id):
        """All of them to their end, and the bytes that each sent."""
        network = Network(self.count)
        try:
            all_ended = waited_for(self.start(run_id, network))
            for index, ended in enumerate(all_ended):
                succeeded(ended)
                ended["sent"] = network.sent(index)
            return all_ended
        finally:
            network.close()

    def run_with_kill(self, run_id, index, after):
        """One is killed after so many seconds, all are started again; what was seen, and whether it was as it has to be."""
        network = Network(self.count)
        try:
            running = self.start(run_id, network)
            time.sleep(after)
            victim, others = running[index], running[:index] + running[index + 1:]
            victim.kill()
            killed = time.monotonic()
            had_ended = victim.ended()["code"] == 0
            call = self.given.models / "engagement/v1" / run_id / "_checkpoint/collective.json"
            had_met = call.exists() and json.loads(call.read_text())["joining"] is not None
            if not had_met and not had_ended:
                # They would wait for ten minutes, as they do for a shard that starts late.
                for process in others:
                    process.kill()
            codes = [ended["code"] for ended in waited_for(others)]
            took = time.monotonic() - killed
        finally:
            network.close()
        again = self.run(run_id)
        what = "it had ended" if had_ended else f"the others ended after {took:.1f} s with {codes}" if had_met else "they had not met yet"
        right = had_ended or not had_met or (codes == [5] * len(codes) and took < MINUTE)
        return f"shard {index} of {self.count} killed after {after:.1f} s: {what}; all started again took {again[0]['seconds']:.0f} s", right


def waited_for(processes):
    """The ends of all. Where one fails the others have a minute and some more for theirs."""
    patience = threading.Timer(2 * MINUTE, lambda: [process.kill() for process in processes])
    with ThreadPoolExecutor(len(processes)) as pool:
        ends = [pool.submit(process.ended) for process in processes]
        for end in as_completed(ends):
            if end.result()["code"] and not patience.is_alive():
                patience.start()
        patience.cancel()
    return [end.result() for end in ends]


def row(name, threads, memory, runs, r2, same):
    """A line of the table."""
    def each(what, form):
        return ", ".join(form.format(run[what]) for run in runs)
    sent = ", ".join(f"{run['sent'] / 1e6:,.1f}" for run in runs if "sent" in run)
    print(f"| {name} | {threads} | {memory or ''} | {max(run['seconds'] for run in runs):.0f} | {each('cpu', '{:.0f}')} | {each('peak_mib', '{:.0f}')} | {sent} | {r2:.5f} | {same} |", flush=True)


def main():
    """Everything; Markdown comes out."""
    given = settings()
    given.folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(given.seed)
    threads = os.cpu_count() or 1
    print("| | threads of each | memory of each, MiB | wall seconds | CPU seconds of each | peak MiB of each | MB sent by each | R² | same bytes again |\n|---|---|---|---|---|---|---|---|---|")
    one = Process(given, "one", None, threads).ended()
    r2 = succeeded(one)["r2"]
    plans, wrong, said = [one["plan"]], [], []
    row("one task, its own choice of memory", threads, None, [one], r2, "")
    metrics = json.loads((given.models / "engagement/v1/one/metadata.json").read_text())
    rows, columns = one["result"]["rows_train"] + one["result"]["rows_test"], len(metrics["features"])
    data_mib = rows * columns * 4 / MIB
    for count in [int(text) for text in given.shards.split(",")]:
        shards = Shards(given, count)
        runs, again = (shards.run(f"{name}-{count}") for name in ("first", "again"))
        expected = files(given, f"first-{count}")
        same = files(given, f"again-{count}") == expected
        found = runs[0]["result"]["r2"]
        row(f"{count} shards", shards.threads, given.memory_mib, runs, found, "yes" if same else "**no**")
        row(f"{count} shards, again", shards.threads, given.memory_mib, again, again[0]["result"]["r2"], "")
        plans.append(runs[0]["plan"])
        checks = {"other bytes": same, f"R² {found} and {r2}": abs(found - r2) <= NEAR,
                  "too much memory": all(run["peak_mib"] < min(given.memory_mib, one["peak_mib"]) for run in runs + again),
                  "nothing was sent": all(run["sent"] > MIB for run in runs)}
        for number in range(given.kills):
            run_id, index = f"killed-{count}-{number}", number % count
            words, right = shards.run_with_kill(run_id, index, chance.uniform(0.02, 0.98) * min(runs[0]["seconds"], again[0]["seconds"]))
            is_same = files(given, run_id) == expected
            said.append(words + (", the same bytes" if is_same else ", **other bytes**"))
            print(said[-1], file=sys.stderr, flush=True)
            checks |= {f"killed {number}, {index}: other bytes": is_same, f"killed {number}, {index}: ended otherwise": right}
        wrong += [f"{count} shards: {name}" for name, is_right in checks.items() if not is_right]
    little = Process(given, "little", given.memory_mib, threads).ended()
    plans.append(little["plan"])
    if little["code"]:
        said.append(f"one task with {given.memory_mib} MiB ended with {little['code']}: {little['result']['error_message']}")
    else:
        row("one task, as much memory as a shard", threads, given.memory_mib, [little], little["result"]["r2"], "")
    print(f"\n{rows:,} rows x {columns} features, {data_mib:,.0f} MiB as 32-bit floats\n" + "\n".join(plans + said + wrong))
    shutil.rmtree(given.models)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
