"""Lambda on this machine: Invoke, and the Runtime API that a function's process asks for its events."""

import json
import queue
import re
import threading
import time
import urllib.parse
import uuid
from pathlib import Path

from cloudformation import ACCOUNT, REGION, Stack
from ecs import Programs
from iam import Authorizer
from server import Request, Server, ServiceError, json_answer


class Environment:
    """One execution environment of a function: a process that takes one event after the other."""

    def __init__(self):
        self.identity, self.events, self.answers = uuid.uuid4().hex, queue.Queue(), queue.Queue()
        self.process, self.deadline_ms = None, 0


class Functions:
    """Every function of the stack, by name. `faults` holds, by function and run, what happens to its next calls, for tests: "busy", "twice"
    (it works, and its answer is lost), an error as a pair, a number of seconds after which it is killed, something to do before the call."""

    def __init__(self, stack: Stack, authorizer: Authorizer, programs: Programs, folder: Path):
        self.stack, self.authorizer, self.programs, self.folder = stack, authorizer, programs, folder
        self.properties = {stack.physical_name(name): resource["Properties"] for name, resource in stack.resources("AWS::Lambda::Function").items()}
        self.environments, self.idle = {}, {name: [] for name in self.properties}
        self.lock, self.faults, self.calls, self.answers = threading.Lock(), {}, [], []
        self.server = Server(self.answer)
        self.endpoint = self.server.endpoint

    def answer(self, request: Request):
        """Invoke, or a request of the Runtime API below `/runtime/<environment>`."""
        path = urllib.parse.unquote(request.path)
        if found := re.fullmatch(r"/2015-03-31/functions/(.+)/invocations", path):
            name = found[1].split(":")[-1]
            self.authorizer.check(request.caller, "lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
            body, error = self.invoke(name, request.body())
            return 200, {"content-type": "application/json"} | ({"x-amz-function-error": error} if error else {}), body
        if found := re.fullmatch(r"/runtime/(\w+)/2018-06-01/runtime/(invocation/next|init/error|invocation/([\w-]+)/(response|error))", path):
            return self._runtime(request, self.environments[found[1]], found[2], found[4])
        return json_answer({}, 404)

    def _runtime(self, request: Request, environment: Environment, what: str, kind: str | None):
        if what == "invocation/next":
            identity, payload = environment.events.get()
            return 200, {"content-type": "application/json", "lambda-runtime-aws-request-id": identity, "lambda-runtime-deadline-ms": str(environment.deadline_ms),
                         "lambda-runtime-invoked-function-arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:local", "lambda-runtime-trace-id": "Root=1-0-0"}, payload
        environment.answers.put((request.body(), None if kind == "response" else "Unhandled"))
        return json_answer({"status": "OK"}, 202)

    def invoke(self, name: str, payload: bytes):
        """Runs an event in an idle environment, or a new one; what the function answers, and the kind of error."""
        if name not in self.properties:
            raise ServiceError("ResourceNotFoundException", f"Function not found: {name}", 404)
        with self.lock:
            event = json.loads(payload)
            waiting = self.faults.get((name, event.get("run_id")), [])
            fault = waiting.pop(0) if waiting else None
            self.calls.append((name, event))
        if callable(fault):
            fault()
            fault = None
        if fault == "busy":
            raise ServiceError("TooManyRequestsException", "Rate Exceeded.", 429)
        if isinstance(fault, tuple):
            return json.dumps({"errorType": fault[0], "errorMessage": fault[1]}).encode(), "Unhandled"
        if fault == "twice":
            # Lambda's caller may see an error for a call that was made all the same.
            self._keep(name, event, self._run(name, payload, self.properties[name]["Timeout"]))
            raise ServiceError("ServiceException", "the answer was lost", 500)
        seconds = fault if isinstance(fault, (int, float)) else self.properties[name]["Timeout"]
        return self._keep(name, event, self._run(name, payload, seconds))

    def _keep(self, name: str, event: dict, answered: tuple) -> tuple:
        with self.lock:
            self.answers.append((name, event.get("run_id"), json.loads(answered[0]), answered[1]))
        return answered

    def _run(self, name: str, payload: bytes, seconds: float):
        with self.lock:
            environment = self.idle[name].pop() if self.idle[name] else None
        if environment is None or environment.process.poll() is not None:
            environment = self._start(name)
        identity = str(uuid.uuid4())
        environment.deadline_ms = int((time.time() + seconds) * 1000)
        environment.events.put((identity, payload))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answered = environment.answers.get(timeout=0.1)
            except queue.Empty:
                if environment.process.poll() is None:
                    continue
                return json.dumps({"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {identity} Error: Runtime exited with error: exit status {environment.process.returncode}"}).encode(), "Unhandled"
            with self.lock:
                self.idle[name].append(environment)
            return answered
        environment.process.kill()
        return json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": f"RequestId: {identity} Error: Task timed out after {seconds:.2f} seconds"}).encode(), "Unhandled"

    def _start(self, name: str) -> Environment:
        environment, properties = Environment(), self.properties[name]
        self.environments[environment.identity] = environment
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        variables = {key: str(value) for key, value in properties["Environment"]["Variables"].items() if value != ""} | {
            # With a scheme, since it has a path: one per environment, where Lambda has one machine per environment.
            "AWS_LAMBDA_RUNTIME_API": f"{self.endpoint}/runtime/{environment.identity}", "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"]), "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": environment.identity, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
        program = properties["Code"]["ImageUri"].split("@")[0].rsplit("/", 1)[1]
        environment.process = self.programs.start(program, properties["ImageConfig"]["Command"], variables, properties["Role"].rsplit("/", 1)[1], folder)
        return environment

    def end_all(self) -> None:
        """Ends every environment."""
        for environment in self.environments.values():
            if environment.process and environment.process.poll() is None:
                environment.process.kill()
                environment.process.wait()


def log_of(folder: Path, name: str) -> str:
    """What a function has logged."""
    file = folder / name / "stderr"
    return file.read_text(errors="replace") if file.exists() else ""
