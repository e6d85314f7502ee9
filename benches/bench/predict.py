"""`predict` beside Python, on each instruction set, as its input grows, and against an S3 server's own time."""

import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from . import data
from .measure import built, fastest, paired, run
from .results import busy_seconds
from .settings import BENCHES, BIN, FOLDER, PROJECT, THREADS


def score(table, store, *arguments, output=None, environment=None):
    """A run of predict: its figures and its result."""
    output = output or FOLDER / "ours"
    if isinstance(output, Path):
        shutil.rmtree(output, ignore_errors=True)
    command = [BIN / "predict", "--input", table, "--models", store, "--output", output, "--threads", THREADS]
    figures, text = run([*command, "--log-format", "json", *arguments], environment)
    return figures, json.loads(text.strip().splitlines()[-1])


def beside_python(rows, features, trees, repeats):
    """Figures of both; the predictions must be the same bits."""
    store, table = data.model_store(features, trees), data.table(rows, features)
    scripts, results = BENCHES / "bench", {}

    def ours():
        figures, results["ours"] = score(table, store)
        return figures

    def theirs():
        shutil.rmtree(FOLDER / "theirs", ignore_errors=True)
        peer = [sys.executable, scripts / "peer_predict.py", table, data.model_folder(store), FOLDER / "theirs", THREADS]
        figures, _ = run(peer)
        parts = FOLDER / "ours" / "predictions" / f"run_id={results['ours']['run_id']}"
        run([sys.executable, scripts / "same.py", parts, FOLDER / "theirs"])
        return figures

    return paired(repeats, ours, theirs)


def with_instructions(rows, instructions, repeats):
    """A run whose trees are compiled for an instruction set; none where the machine does not have it."""
    store, table = data.model_store(), data.table(rows)
    if instructions not in available():
        return None
    return {"ours": fastest([score(table, store, "--instructions", instructions)[0] for _ in range(repeats)])}


def available():
    """Instruction sets of this machine, by what its processor says."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    flags = set(re.findall(r"\w+", cpuinfo))
    sets = {"avx512": {"avx512bw", "avx512vl"}, "avx2": {"avx2"}, "neon": {"asimd"}, "portable": set()}
    return [name for name, needed in sets.items() if needed <= flags]


def memory(rows, repeats):
    """Peak and planned memory with repeated ids allowed, so that rows beyond the largest table may be copies of it."""
    store = data.model_store()
    table = data.table(rows) if rows <= 10_000_000 else data.three_times(data.table(rows // 3))
    runs = [score(table, store, "--duplicates", "allow")[0] for _ in range(repeats)]
    planned = prepared(table, store, "--duplicates", "allow")["total_bytes"] / 2**20
    peak = statistics.median(figures["peak_mib"] for figures in runs)
    return {"ours": fastest(runs) | {"peak_mib": peak}, "planned_mib": planned}


def prepared(table, store, *arguments, environment=None):
    """The memory plan of a run."""
    shutil.rmtree(FOLDER / "prepared", ignore_errors=True)
    command = [BIN / "predict", "prepare", "--input", table, "--models", store, "--output", FOLDER / "prepared"]
    run([*command, "--run-id", "look", "--threads", THREADS, "--log-format", "json", *arguments], environment)
    return json.loads((FOLDER / "prepared" / "runs" / "look" / "prepare.json").read_text())["memory"]


class S3:
    """A real S3 server of its own, and plain transfers by curl: as fast as the server can."""

    def __enter__(self):
        server = built("s3_server")
        self.server = subprocess.Popen([server], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.environment = dict(line.strip().split("=", 1) for line in iter(self.server.stdout.readline, "\n"))
        return self

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.wait()

    def transfer(self, pairs, upload):
        """Moves files, several at once; pairs of a local path and a key. Gives wall seconds."""
        key = f"{self.environment['AWS_ACCESS_KEY_ID']}:{self.environment['AWS_SECRET_ACCESS_KEY']}"
        command = ["curl", "-sSf", "--noproxy", "*", "-Z", "--parallel-max", "8", "--aws-sigv4", "aws:amz:us-east-1:s3", "-u", key]
        for path, name in pairs:
            url = f"{self.environment['AWS_ENDPOINT_URL_S3']}/bench/{name}"
            command += ["-T", str(path), url] if upload else ["-o", "/dev/null", url]
        # Signing a body needs its hash first; the server is asked to take it unsigned, as our client does over HTTP.
        return run([*command, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"] if upload else command)[0]["wall"]


def upload(server, table, prefix):
    """Puts the files of a table under a prefix; a few hundred at a time, since they are arguments of a command."""
    files = [(file, f"{prefix}/{file.name}") for file in sorted(table.iterdir())]
    for start in range(0, len(files), 500):
        server.transfer(files[start : start + 500], upload=True)
    return files


def s3(rows, repeats):
    """The whole run against a local S3 server, and that server's own time to hand over and take the same bytes: both share the processors, so
    what both take of these says what is left."""
    store, table = data.model_store(), data.table(rows)
    with S3() as server:
        files = upload(server, table, "customers")
        models = [file for file in store.rglob("*") if file.is_file()]
        server.transfer([(file, f"models/{file.relative_to(store)}") for file in models], upload=True)
        _, result = score(table, store)
        parts = sorted((FOLDER / "ours" / "predictions" / f"run_id={result['run_id']}").iterdir())
        own, whole = [], []
        for number in range(repeats):
            down = server.transfer(files, upload=False)
            up = server.transfer([(part, f"plain-{number}/{part.name}") for part in parts], upload=True)
            own.append(down + up)
            output, environment, busy = f"s3://bench/output-{number}", server.environment, busy_seconds()
            figures = score("s3://bench/customers", "s3://bench/models", output=output, environment=environment)[0]
            whole.append(figures | {"all_cpu": busy_seconds() - busy})
    # Of the fastest run, so that processor seconds and wall time belong together.
    return {"ours": min(whole, key=lambda figures: figures["wall"]), "server_wall": min(own)}


def scoring(rows):
    """The scorer alone against XGBoost's in-place prediction, as its example prints it."""
    return {"text": run([built("scoring_speed"), rows])[1].strip()}
