"""Fargate on this machine: a task is the real program as a process, or as a container where an engine runs."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from cloudformation import ACCOUNT, REGION, Stack
from iam import Authorizer
from server import Request, Server, ServiceError, json_answer, rpc

SPOT_WARNING_SECONDS = 120


@dataclass
class Task:
    """A task: its description as ECS gives it, its process, and where its output goes."""

    description: dict
    process: subprocess.Popen
    folder: Path
    program: str
    started: float
    command: list
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def run_id(self) -> str:
        """The run that the task works for."""
        overrides = self.description["overrides"]["containerOverrides"][0]["environment"]
        return next(item["value"] for item in overrides if item["name"] == "RUN_ID")


class Ecs:
    """RunTask, DescribeTasks, StopTask, and the metadata endpoint that tells a task its limits."""

    def __init__(self, stack: Stack, authorizer: Authorizer, programs: "Programs", folder: Path):
        self.stack, self.authorizer, self.programs, self.folder = stack, authorizer, programs, folder
        self.tasks, self.lock, self.changed = {}, threading.Lock(), threading.Condition()
        self.on_start = []
        self.definitions = {stack.reference(name): resource["Properties"] for name, resource in stack.resources("AWS::ECS::TaskDefinition").items()}
        operations = rpc({"RunTask": self.run, "DescribeTasks": self.describe, "StopTask": self.stop})
        self.server = Server(lambda request: self.metadata(request) if request.method == "GET" else operations(request))
        self.endpoint = self.server.endpoint

    def register_again(self) -> dict:
        """A second revision of every task definition, by the first; the first is deregistered unless the template retains it."""
        revisions = {}
        for name, resource in self.stack.resources("AWS::ECS::TaskDefinition").items():
            before = self.stack.reference(name)
            revisions[before] = before.rsplit(":", 1)[0] + ":2"
            self.definitions[revisions[before]] = self.definitions[before]
            if resource.get("UpdateReplacePolicy") != "Retain":
                del self.definitions[before]
        return revisions

    def run(self, caller: str, asked: dict) -> dict:
        """Starts the container of a task definition with its overrides."""
        definition = self._definition(asked["taskDefinition"])
        cluster = asked["cluster"].split("/")[-1]
        arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
        self.authorizer.check(caller, "ecs:RunTask", asked["taskDefinition"], ecs__cluster=f"{arn}:cluster/{cluster}")
        for role in (asked.get("overrides", {}).get("taskRoleArn") or definition["TaskRoleArn"], definition["ExecutionRoleArn"]):
            self.authorizer.check(caller, "iam:PassRole", role, iam__PassedToService="ecs-tasks.amazonaws.com")
        # How runTask.sync learns of the end.
        self.authorizer.check(caller, "events:PutRule", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForECSTaskRule")
        task = self._start(asked, definition, cluster)
        return {"tasks": [task.description], "failures": []}

    def _definition(self, name: str) -> dict:
        if name not in self.definitions:
            raise ServiceError("ClientException", f"TaskDefinition not found: {name}")
        return self.definitions[name]

    def _start(self, asked: dict, definition: dict, cluster: str) -> Task:
        container, = definition["ContainerDefinitions"]
        override = (asked.get("overrides", {}).get("containerOverrides") or [{}])[0]
        if override.get("name", container["Name"]) != container["Name"]:
            raise ServiceError("InvalidParameterException", "Override for container named {override['name']} is not a container in the TaskDefinition.")
        environment = {item["Name"]: item["Value"] for item in container["Environment"]} | {item["name"]: item["value"] for item in override.get("environment", [])}
        identity, arn = uuid.uuid4().hex, f"arn:aws:ecs:{REGION}:{ACCOUNT}"
        strategy = asked.get("capacityProviderStrategy") or [{"capacityProvider": "FARGATE", "weight": 1}]
        provider = max(strategy, key=lambda one: one.get("weight", 0))["capacityProvider"]
        memory = int(override.get("memory") or container["Memory"])
        description = {
            "taskArn": f"{arn}:task/{cluster}/{identity}", "clusterArn": f"{arn}:cluster/{cluster}", "lastStatus": "RUNNING", "desiredStatus": "RUNNING",
            "launchType": "FARGATE", "capacityProviderName": provider, "cpu": definition["Cpu"], "memory": str(memory),
            "taskDefinitionArn": asked["taskDefinition"], "overrides": {"containerOverrides": [override | {"environment": override.get("environment", [])}]},
            "containers": [{"name": container["Name"], "taskArn": f"{arn}:task/{cluster}/{identity}", "lastStatus": "RUNNING", "memory": str(memory)}]}
        folder = self.folder / identity
        folder.mkdir(parents=True)
        role = (asked.get("overrides", {}).get("taskRoleArn") or definition["TaskRoleArn"]).rsplit("/", 1)[1]
        environment = {name: value for name, value in environment.items() if value != ""} | {
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.endpoint}/v4/{identity}-1"}
        # On Fargate each task has an address of its own; here attempts would find the port of the one before still taken.
        environment |= {"COLLECTIVE_PORT": "0"} if "SHARD" in environment else {}
        program = container["Image"].split("@")[0].rsplit("/", 1)[1]
        command = override.get("command", [])
        process = self.programs.start(program, command, environment, role, folder)
        task = Task(description, process, folder, program, time.monotonic(), command)
        with self.lock:
            self.tasks[identity] = task
        threading.Thread(target=self._wait, args=(task,), daemon=True).start()
        for hook in list(self.on_start):
            hook(task)
        return task

    def _wait(self, task: Task) -> None:
        code = task.process.wait()
        code = 128 - code if code < 0 else code
        description = task.description
        if code == 137 and description.get("stopCode") is None:
            description["containers"][0]["reason"] = "OutOfMemoryError: Container killed due to memory usage"
        description["containers"][0].update(lastStatus="STOPPED", exitCode=code)
        description.update(stopCode=description.get("stopCode", "EssentialContainerExited"), stoppedAt=int(time.time()),
                           stoppedReason=description.get("stoppedReason", "Essential container in task exited"))
        description.update(lastStatus="STOPPED", desiredStatus="STOPPED")
        task.ended.set()

    def describe(self, caller: str, asked: dict) -> dict:
        """The tasks as they are now."""
        for arn in asked["tasks"]:
            self.authorizer.check(caller, "ecs:DescribeTasks", arn)
        return {"tasks": [self.tasks[arn.split("/")[-1]].description for arn in asked["tasks"]], "failures": []}

    def stop(self, caller: str, asked: dict) -> dict:
        """SIGTERM, and SIGKILL after the container's stopTimeout."""
        self.authorizer.check(caller, "ecs:StopTask", asked["task"])
        task = self.tasks[asked["task"].split("/")[-1]]
        self._end(task, "UserInitiated", asked.get("reason", "stopped"))
        return {"task": task.description}

    def interrupt(self, task: Task) -> None:
        """What Fargate Spot does when it takes a task back."""
        self._end(task, "SpotInterruption", "Your Spot Task was interrupted.")

    def _end(self, task: Task, code: str, reason: str) -> None:
        task.description.setdefault("stopCode", code)
        task.description.setdefault("stoppedReason", reason)
        task.process.send_signal(signal.SIGTERM)

        def kill():
            if not task.ended.wait(SPOT_WARNING_SECONDS):
                task.process.kill()
        threading.Thread(target=kill, daemon=True).start()

    def metadata(self, request: Request):
        """`${ECS_CONTAINER_METADATA_URI_V4}/task`: the limits that Fargate's control group does not show."""
        found = re.fullmatch(r"/v4/(\w+)-1/task", request.path)
        task = self.tasks.get(found[1]) if found else None
        if task is None:
            return json_answer({}, 404)
        description = task.description
        return json_answer({
            "TaskARN": description["taskArn"], "Limits": {"CPU": int(description["cpu"]) / 1024, "Memory": int(description["memory"])},
            "Containers": [{"DockerId": f"{found[1]}-1", "Name": description["containers"][0]["name"], "Limits": {"Memory": int(description["memory"])},
                            "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["127.0.0.1"]}]}]})

    def end_all(self) -> None:
        """Kills what still runs."""
        for task in list(self.tasks.values()):
            if not task.ended.is_set():
                task.process.kill()


class Programs:
    """Starts the real programs: as processes, or in the images of `scripts/image` with Docker or podman."""

    def __init__(self, paths: dict, endpoints: dict, engine: str | None = None):
        self.paths, self.endpoints, self.engine = paths, endpoints, engine

    def environment(self, role: str) -> dict:
        """What leads AWS's SDK to the stand-ins, with the role's key."""
        found = {"AWS_ACCESS_KEY_ID": role, "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true",
                 "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return found | {f"AWS_ENDPOINT_URL_{name.upper().replace('-', '_')}": endpoint for name, endpoint in self.endpoints.items()}

    def start(self, program: str, command: list, environment: dict, role: str, folder: Path) -> subprocess.Popen:
        """One process; its output goes to `stdout` and `stderr` in `folder`, its scratch files to `tmp` there."""
        scratch = folder / "tmp"
        scratch.mkdir(exist_ok=True)
        environment = environment | self.environment(role)
        (folder / "environment.json").write_text(json.dumps(environment, indent=1))
        with (folder / "stdout").open("ab") as out, (folder / "stderr").open("ab") as err:
            if self.engine:
                scratch.chmod(0o777)
                settings = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
                words = [self.engine, "run", "--rm", "--network", "host", "--read-only", "--user", "65532:65532", "--cap-drop", "ALL",
                         "--volume", f"{scratch}:/tmp", *settings, self.paths[program], *command]
                return subprocess.Popen(words, stdout=out, stderr=err)
            inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
            return subprocess.Popen([self.paths[program], *command], env=inherited | environment | {"TMPDIR": str(scratch)}, stdout=out, stderr=err, cwd=folder)
