"""What scripts/image-test and benches/container share: the two images, run as ECS runs them, and a real S3 server beside them.

Needs Python 3.11 alone, and Docker or podman.
"""

import datetime
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
RUNTIME_IMAGE = os.environ.get("RUNTIME_IMAGE", "gcr.io/distroless/cc-debian12:nonroot")
USER = 65532
KEY_ID, SECRET, REGION = "AKIAIMAGETEST", "secret-of-the-image-test", "us-east-1"
S3_PORT = 8333
S3_IS_READY_WITHIN = 90


def find_engine() -> str:
    """`docker` where its engine runs, else `podman`; ENGINE chooses."""
    chosen = os.environ.get("ENGINE")
    if chosen:
        return chosen
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return "docker"
    if shutil.which("podman"):
        return "podman"
    raise SystemExit("neither Docker nor podman runs here: apt-get install podman")


ENGINE = find_engine()


def engine(*arguments, check=True, **options) -> subprocess.CompletedProcess:
    """One command of the engine, with its output as text."""
    done = subprocess.run([ENGINE, *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        raise SystemExit(f"{ENGINE} {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def seconds_between(earlier: str, later: str) -> float:
    """Between two times as engines and our logs print them."""
    return (_time(later) - _time(earlier)).total_seconds()


def _time(text: str) -> datetime.datetime:
    """RFC 3339 with up to nine digits, or what podman prints: `2026-11-25 04:05:06.789012345 +0000 UTC`."""
    text = text.replace(" UTC", "").replace(" +0000", "+00:00").replace("Z", "+00:00").replace(" ", "T", 1)
    head, _, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return datetime.datetime.fromisoformat(f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}" if tail else head)


@dataclass
class Outcome:
    """How a program's container ended."""

    exit_code: int
    started: str
    finished: str
    stdout: list
    stderr: list

    @property
    def seconds(self) -> float:
        """From the container's start to its end, as the engine saw them."""
        return seconds_between(self.started, self.finished)

    @property
    def result(self) -> dict:
        """The last line of standard output."""
        return json.loads(self.stdout[-1]) if self.stdout else {}

    @property
    def metrics(self) -> dict:
        """The values of all EMF lines, by name."""
        found = {}
        for line in self.stdout[:-1]:
            for description in json.loads(line).get("_aws", {}).get("CloudWatchMetrics", []):
                found |= {metric["Name"]: json.loads(line)[metric["Name"]] for metric in description["Metrics"]}
        return found


class Container:
    """A program in its image: confined as the task definitions say, with a fresh volume at /tmp."""

    def __init__(self, program: str, *arguments, environment=None, mounts=(), memory="512m", cpus=None, network=None, tag="latest"):
        self.name = f"engagement-{program}-{uuid.uuid4().hex[:8]}"
        self.volume = f"{self.name}-tmp"
        options = ["--name", self.name, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", USER,
                   "--memory", memory, "--volume", f"{self.volume}:/tmp"]
        options += ["--read-only-tmpfs=false"] if ENGINE == "podman" else []
        options += ["--cpus", cpus] if cpus else []
        options += ["--network", network or "none"]
        options += [item for mount in mounts for item in ("--volume", mount)]
        options += [item for name, value in (environment or {}).items() for item in ("--env", f"{name}={value}")]
        engine("create", *options, f"engagement-ml/{program}:{tag}", *arguments)

    def start(self) -> "Container":
        """Starts the program and does not wait for it."""
        engine("start", self.name)
        return self

    def wait_for(self, text: str, within: float = 60) -> str:
        """The first line of the log with `text`, once it is there."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for line in engine("logs", self.name).stderr.splitlines():
                if text in line:
                    return line
            if not self.runs():
                break
            time.sleep(0.05)
        raise SystemExit(f"{self.name} never logged {text!r}:\n{engine('logs', self.name).stderr[-3000:]}")

    def runs(self) -> bool:
        """Whether the program is still there."""
        return self._inspect()["State"]["Running"]

    def stop(self, signal: str) -> None:
        """Sends a signal to PID 1."""
        engine("kill", "--signal", signal, self.name)

    def finish(self) -> Outcome:
        """Waits for the end, and removes the container and its volume."""
        engine("wait", self.name)
        logs, state = engine("logs", self.name), self._inspect()["State"]
        engine("rm", "--force", self.name)
        engine("volume", "rm", "--force", self.volume)
        return Outcome(state["ExitCode"], state["StartedAt"], state["FinishedAt"], logs.stdout.splitlines(), logs.stderr.splitlines())

    def _inspect(self) -> dict:
        return json.loads(engine("container", "inspect", self.name).stdout)[0]


def run(program: str, *arguments, **options) -> Outcome:
    """Runs a program to its end."""
    return Container(program, *arguments, **options).start().finish()


def folder_for_the_programs() -> Path:
    """A temporary folder that the images' user may write."""
    folder = Path(tempfile.mkdtemp(prefix="engagement-images-"))
    folder.chmod(0o777)
    return folder


class S3Server:
    """SeaweedFS in a container of its own, on a network of its own; the programs reach it as http://s3:8333."""

    def __init__(self):
        self.name = f"engagement-s3-{uuid.uuid4().hex[:8]}"
        self.folder = Path(tempfile.mkdtemp(prefix="engagement-s3-"))

    def __enter__(self) -> "S3Server":
        weed = subprocess.run([PROJECT / "scripts/setup-s3-server"], check=True, capture_output=True, text=True).stdout.strip()
        (self.folder / "data").mkdir()
        identity = {"name": "test", "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        engine("network", "create", self.name)
        engine("run", "--detach", "--name", self.name, "--network", self.name, "--network-alias", "s3", "--user", "0",
               "--volume", f"{weed}:/weed:ro", "--volume", f"{self.folder}:/s3", "--workdir", "/s3", "--entrypoint", "/weed",
               RUNTIME_IMAGE, "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-dir=/s3/data",
               "-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=1024", "-volume.max=1000",
               "-filer", "-s3", f"-s3.port={S3_PORT}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=/s3/s3.json")
        networks = json.loads(engine("container", "inspect", self.name).stdout)[0]["NetworkSettings"]["Networks"]
        self.address = f"{networks[self.name]['IPAddress']}:{S3_PORT}"
        self._wait_until_ready()
        return self

    def __exit__(self, *_) -> None:
        engine("rm", "--force", self.name, check=False)
        engine("network", "rm", "--force", self.name, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self) -> dict:
        """What a program needs to use the server."""
        return {"AWS_ENDPOINT_URL_S3": f"http://s3:{S3_PORT}", "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}

    def create_bucket(self, name: str) -> None:
        """Makes a bucket."""
        self.put(f"/{name}", b"")

    def upload(self, folder: Path, bucket: str) -> None:
        """Puts every file below `folder` into the bucket, under its path below `folder`."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"/{bucket}/{file.relative_to(folder)}", file.read_bytes())

    def get(self, path: str) -> bytes:
        """An object."""
        return self._send("GET", path, b"")

    def put(self, path: str, body: bytes) -> None:
        """Stores an object."""
        self._send("PUT", path, body)

    def _send(self, method: str, path: str, body: bytes) -> bytes:
        request = urllib.request.Request(f"http://{self.address}{path}", body or None, _signed(method, self.address, path, body), method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.read()

    def _wait_until_ready(self) -> None:
        """Ready is who has stored an object: the server's parts find each other some time after the port is open."""
        deadline = time.monotonic() + S3_IS_READY_WITHIN
        while True:
            try:
                self.create_bucket("ready")
                return self.put("/ready/object", b"ready")
            except (urllib.error.URLError, OSError) as error:
                if time.monotonic() > deadline:
                    raise SystemExit(f"the S3 server does not start: {error}\n{engine('logs', self.name).stderr[-3000:]}") from error
                time.sleep(0.2)


def _signed(method: str, host: str, path: str, body: bytes) -> dict:
    """Headers with Signature Version 4: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. No query, plain path."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": host, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "x-amz-date": now}
    names = ";".join(headers)
    canonical = "\n".join([method, path, "", *(f"{name}:{value}" for name, value in headers.items()), "", names, headers["x-amz-content-sha256"]])
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return headers | {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}"}
