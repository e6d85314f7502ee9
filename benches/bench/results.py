"""The figures, kept in docs/benchmarks.json: points by section, each with when and where it was measured."""

import datetime
import json
import os
import platform
import subprocess
import time

from .settings import PROJECT, THREADS, docs


def load():
    """All points by section and name."""
    file = docs() / "benchmarks.json"
    return json.loads(file.read_text())["sections"] if file.exists() else {}


def keep(section, point, record):
    """Puts a point in the place of the one that was measured before."""
    sections = load()
    sections.setdefault(section, {})[point] = record
    text = json.dumps({"format_version": 1, "sections": sections}, indent=1, sort_keys=True)
    partial = docs() / "benchmarks.json.part"
    partial.write_text(text + "\n")
    partial.replace(docs() / "benchmarks.json")


def circumstances():
    """What belongs to every figure."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "threads": THREADS,
        "commit": commit,
    }


class Others:
    """How many processors whatever else ran on the machine took while something was measured."""

    def __enter__(self):
        self.started, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()
        return self

    def __exit__(self, *_):
        wall = time.monotonic() - self.started
        self.processors = round(max(0.0, busy_seconds() - self.busy - (own_seconds() - self.own)) / wall, 2)


def busy_seconds():
    """Seconds that all processors have worked since the machine started."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def machine():
    """CPU, cores, memory and system in one line."""
    with open("/proc/cpuinfo") as cpuinfo:
        lines = cpuinfo.read().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    model = fields.get("model name") or f"{platform.machine()} (implementer {fields.get('CPU implementer', '?')}, part {fields.get('CPU part', '?')})"
    flags = fields.get("flags", "").split()
    widest = next((name for flag, name in [("avx512bw", "AVX-512"), ("avx2", "AVX2")] if flag in flags), None)
    with open("/proc/meminfo") as meminfo:
        kilobytes = int(meminfo.readline().split()[1])
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    words = [model, f"{os.cpu_count()} cores", f"{kilobytes / 2**20:.0f} GiB of memory", release]
    return ", ".join(words[:1] + [widest] * bool(widest) + words[1:])
