"""What benches/predict runs; its head says how."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
BIN = Path(os.environ["BIN"])
FOLDER = Path(os.environ.get("BENCH_FOLDER", Path(tempfile.gettempdir()) / "engagement-bench"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
THREADS = os.environ.get("THREADS", "2")
ROWS = [int(rows) for rows in os.environ.get("ROWS", "100000 1000000 10000000").split()]
LARGEST = 10_000_000


def run(command, environment=None):
    """Wall seconds, CPU seconds and peak megabytes of a command, and what it printed."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        child = subprocess.Popen([str(word) for word in command], stdout=output, stderr=log, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - started
        output.seek(0)
        text = output.read().decode()
        if child.returncode != 0:
            log.seek(0)
            raise SystemExit(f"{command} ended with {child.returncode}:\n{text[-2000:]}\n{log.read().decode()[-2000:]}")
    return (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024), text


def fastest(runs):
    """Each figure's best."""
    return [min(figures) for figures in zip(*runs)]


def table(rows, name=None, *arguments):
    """The folder of a table, made unless it is there; renamed when complete."""
    folder = FOLDER / (name or f"rows-{rows}")
    if not folder.exists():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        run([sys.executable, HERE / "tables.py", rows, part, *arguments])
        part.rename(folder)
    return folder


def three_times(folder):
    """A table of three times the rows, by links to the files: its ids repeat."""
    thrice = folder.with_name(folder.name + "-thrice")
    shutil.rmtree(thrice, ignore_errors=True)
    thrice.mkdir()
    for copy in range(3):
        for file in sorted(folder.iterdir()):
            (thrice / f"copy-{copy}-{file.name}").hardlink_to(file)
    return thrice


def model():
    """The folder of the model that scores: 200 trees of depth 6."""
    latest = FOLDER / "models" / "engagement" / "latest.json"
    if not latest.exists():
        data = table(100_000, "train-table", 1_000_000_000, "--target")
        command = [BIN / "train", "--train-data", data, "--models", FOLDER / "models", "--model-version", "bench", "--id", "customer_id"]
        command += ["--target", "engagement", "--rounds", 200, "--param", "max_depth=6", "--param", "eta=0.1", "--min-r2", "0.1"]
        run([*command, "--threads", THREADS, "--log-format", "json"])
    return latest.parent / json.loads(latest.read_text())["path"]


def ours(data, *arguments, output=FOLDER / "ours", environment=None):
    """A run of predict: its figures and its result."""
    if isinstance(output, Path):
        shutil.rmtree(output, ignore_errors=True)
    command = [BIN / "predict", "--input", data, "--models", FOLDER / "models", "--output", output, "--threads", THREADS]
    figures, text = run([*command, "--log-format", "json", *arguments], environment)
    return figures, json.loads(text.strip().splitlines()[-1])


def same(result):
    run([sys.executable, HERE / "same.py", FOLDER / "ours" / "predictions" / f"run_id={result['run_id']}", FOLDER / "theirs"])


def peer():
    folder = model()
    lines = ["| rows | program | wall s | CPU s | peak MB | wall × | CPU × | memory × |", "|---|---|---|---|---|---|---|---|"]
    for rows in ROWS:
        data = table(rows)
        mine, theirs = [], []
        for _ in range(ROUNDS):
            figures, result = ours(data)
            mine.append(figures)
            shutil.rmtree(FOLDER / "theirs", ignore_errors=True)
            theirs.append(run([sys.executable, HERE / "peer.py", data, folder, FOLDER / "theirs", THREADS])[0])
            same(result)
        mine, theirs = fastest(mine), fastest(theirs)
        ratios = " | ".join(f"{there / here:.1f}" for there, here in zip(theirs, mine))
        lines.append(f"| {rows:,} | Python | {theirs[0]:.2f} | {theirs[1]:.2f} | {theirs[2]:.0f} | | | |")
        lines.append(f"| {rows:,} | predict | {mine[0]:.2f} | {mine[1]:.2f} | {mine[2]:.0f} | {ratios} |")
    return f"Against polars and XGBoost 3.4.1 in Python, the same predictions bit for bit, ids checked, the fastest of {ROUNDS} runs:", lines


def sets():
    data = table(LARGEST)
    lines = ["| instructions | wall s | CPU s | peak MB |", "|---|---|---|---|"]
    model()
    for instructions in ["avx512", "avx2", "portable"]:
        figures = fastest([ours(data, "--instructions", instructions)[0] for _ in range(ROUNDS)])
        lines.append(f"| {instructions} | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.0f} |")
    return f"{LARGEST:,} rows with the trees compiled for each instruction set, ids checked:", lines


def memory():
    tables = [(rows, table(rows)) for rows in (1_000_000, LARGEST)] + [(3 * LARGEST, three_times(table(LARGEST)))]
    lines = ["| rows | peak MB | planned MB | wall s |", "|---|---|---|---|"]
    model()
    for rows, data in tables:
        runs = [ours(data, "--duplicates", "allow") for _ in range(ROUNDS)]
        peak = statistics.median(figures[2] for figures, _ in runs)
        planned = prepared(data, "--duplicates", "allow")["total_bytes"] / 2**20
        lines.append(f"| {rows:,} | {peak:.0f} | {planned:.0f} | {fastest([figures for figures, _ in runs])[0]:.2f} |")
    return f"Memory as the input grows, repeated ids allowed (the median of {ROUNDS} runs):", lines


def prepared(data, *arguments):
    """The memory plan of a run."""
    shutil.rmtree(FOLDER / "prepared", ignore_errors=True)
    command = [BIN / "predict", "prepare", "--input", data, "--models", FOLDER / "models", "--output", FOLDER / "prepared"]
    run([*command, "--run-id", "look", "--threads", THREADS, "--log-format", "json", *arguments])
    return json.loads((FOLDER / "prepared" / "runs" / "look" / "prepare.json").read_text())["memory"]


class S3:
    """A real S3 server of its own, and plain transfers by curl: as fast as the server can."""

    def __enter__(self):
        command = ["cargo", "run", "--release", "--locked", "-q", "-p", "testkit", "--example", "s3_server"]
        self.server = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.environment = dict(line.strip().split("=", 1) for line in iter(self.server.stdout.readline, "\n"))
        return self

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.wait()

    def transfer(self, pairs, upload):
        """Moves files, several at once; pairs of a local path and a key."""
        key = f"{self.environment['AWS_ACCESS_KEY_ID']}:{self.environment['AWS_SECRET_ACCESS_KEY']}"
        command = ["curl", "-sSf", "--noproxy", "*", "-Z", "--parallel-max", "8", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", key]
        for path, name in pairs:
            url = f"{self.environment['AWS_ENDPOINT_URL_S3']}/bench/{name}"
            command += ["-T", str(path), url] if upload else ["-o", "/dev/null", url]
        # Signing a body needs its hash first; the server is asked to take it unsigned, as our client does over HTTP.
        return run([*command, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"] if upload else command)[0][0]


def s3():
    data = table(LARGEST)
    model()
    lines = ["| what | wall s |", "|---|---|"]
    files = [(file, f"customers/{file.name}") for file in sorted(data.iterdir())]
    with S3() as server:
        server.transfer(files, upload=True)
        models = [file for file in (FOLDER / "models").rglob("*") if file.is_file()]
        server.transfer([(file, f"models/{file.relative_to(FOLDER / 'models')}") for file in models], upload=True)
        _, result = ours(data)
        parts = sorted((FOLDER / "ours" / "predictions" / f"run_id={result['run_id']}").iterdir())
        own, whole = [], []
        for round_number in range(ROUNDS):
            down = server.transfer(files, upload=False)
            up = server.transfer([(part, f"plain-{round_number}/{part.name}") for part in parts], upload=True)
            own.append(down + up)
            arguments = ["--models", "s3://bench/models"]
            command = [BIN / "predict", "--input", "s3://bench/customers", "--output", f"s3://bench/output-{round_number}", *arguments]
            whole.append(run([*command, "--threads", THREADS, "--log-format", "json"], server.environment)[0][0])
    own, whole = min(own), min(whole)
    lines += [f"| the server alone, handing over and taking the same bytes by curl | {own:.2f} |", f"| predict, the whole run | {whole:.2f} |"]
    return f"{LARGEST:,} rows on a local S3 server (SeaweedFS, which shares the cores): {whole / own:.2f} × the server's own time:", lines


def scoring():
    command = ["cargo", "run", "--release", "--locked", "-q", "-p", "common", "--example", "scoring_speed", LARGEST]
    _, text = run(command)
    return "Scoring alone, quantising included, every bit equal:", ["```", *text.strip().splitlines(), "```"]


PARTS = {"peer": peer, "sets": sets, "memory": memory, "s3": s3, "scoring": scoring}


def section(name):
    load = os.getloadavg()[0]
    title, lines = PARTS[name]()
    about = f"{os.cpu_count()} cores, load {load:.1f} at the start, {THREADS} threads. {title}"
    return "\n".join([about, "", *lines])


def write(file, name, text):
    """Puts the text between the part's markers, at the end where there are none yet."""
    begin, end = f"<!-- predict {name}: written by benches/predict -->", f"<!-- end of predict {name} -->"
    content = file.read_text() if file.exists() else "# Benchmarks\n"
    if "## Predict" not in content:
        content = content.rstrip() + "\n\n## Predict\n\nMade by `benches/predict --write docs/benchmarks.md`.\n"
    if begin not in content:
        content = content.rstrip() + f"\n\n{begin}\n{end}\n"
    before, rest = content.split(begin)
    file.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def main():
    arguments = sys.argv[1:]
    file = None
    if "--write" in arguments:
        place = arguments.index("--write")
        file = Path(arguments[place + 1])
        del arguments[place : place + 2]
    unknown = [name for name in arguments if name not in PARTS]
    if unknown:
        raise SystemExit(f"no part {unknown}: there are {', '.join(PARTS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in arguments or PARTS:
        text = section(name)
        print(text + "\n", flush=True)
        if file:
            write(file, name, text)


main()
