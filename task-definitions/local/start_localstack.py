"""Starts LocalStack (Step Functions, S3, SNS, SQS, EventBridge) as `python start_localstack.py`, with some changes.

Its mocked integrations cannot throw an error whose name starts with `States.`, but `States.TaskFailed` and
`States.Timeout` are what `ecs:runTask.sync` throws on AWS: here they can. It describes no execution whose name has other
characters than letters, digits and `-_.`, and AWS allows more of them. And it parses each path anew at each use and
each definition anew at each start, which is most of its time: here it parses a text once. It needs two things of Python
3.13, which Python 3.12 gets here.

With the variable REAL_ENDPOINTS (JSON: service to address) nothing is mocked: what a state asks of those services goes to the
stand-ins of this folder, signed as the state machine's role, and `ecs:runTask.sync` ends as it does on AWS.
"""

import copy
import functools
import importlib
import json
import os
import re
import runpy
import sys
import threading
import warnings

import boto3
import jsonpath_ng
import jsonpath_ng.ext
import typing_extensions
from botocore.config import Config

# Before LocalStack imports them by name. Parsed paths hold no state of an evaluation.
jsonpath_ng.parse = functools.lru_cache(maxsize=None)(jsonpath_ng.parse)
jsonpath_ng.ext.parse = functools.lru_cache(maxsize=None)(jsonpath_ng.ext.parse)


def _give_python_3_12_what_3_13_has() -> None:
    make_lock = threading.Lock

    class LockAsAType:
        """`threading.Lock` as a type, so that `Lock | None` can be written."""

        def __new__(cls):
            return make_lock()

    warnings.deprecated = typing_extensions.deprecated
    threading.Lock = LockAsAType
    importlib.import_module("localstack.packages.api")
    threading.Lock = make_lock


if sys.version_info < (3, 13):
    _give_python_3_12_what_3_13_has()

from localstack.services.stepfunctions.asl.component.common.error_name import custom_error_name  # noqa: E402
from localstack.services.stepfunctions.asl.parse.asl_parser import AmazonStateLanguageParser  # noqa: E402
from localstack.services.stepfunctions.provider import StepFunctionsProvider  # noqa: E402

PREFIX_OF_NO_NAME = "\0"


def _parse_definitions_once() -> None:
    parse_anew = functools.lru_cache(maxsize=None)(AmazonStateLanguageParser.parse)

    def parse(definition: str):
        program, tree = parse_anew(definition)
        return copy.deepcopy(program), tree

    AmazonStateLanguageParser.parse = staticmethod(parse)


def _know_bedrock() -> None:
    """LocalStack looks for a service `bedrockagent`; the SDK's is `bedrock-agent`, and its errors begin with `BedrockAgent.`"""
    from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import state_task_service, state_task_service_aws_sdk

    state_task_service.StateTaskService._SERVICE_NAME_SFN_TO_BOTO_OVERRIDES["bedrockagent"] = "bedrock-agent"
    state_task_service_aws_sdk._SERVICE_ERROR_NAMES["bedrockagent"] = "BedrockAgent"


def _ask_the_stand_ins(endpoints: dict) -> None:
    """Every client that a state uses leads to the stand-ins; LocalStack's own would lead to itself, as its own account's root."""
    from localstack.services.stepfunctions.asl.utils import boto_client

    lock = threading.Lock()

    @functools.lru_cache(maxsize=None)
    def client(service: str, region: str, role: str):
        with lock:
            return boto3.client(service, endpoint_url=endpoints[service], region_name=region, aws_access_key_id=role, aws_secret_access_key="local",
                                config=boto_client._BOTO_CLIENT_CONFIG.merge(Config(s3={"addressing_style": "path"}, max_pool_connections=50)))

    def boto_client_for(service: str, region: str, state_credentials):
        return client(service, region, state_credentials.role_arn.rsplit("/", 1)[1])

    for module in list(sys.modules.values()):
        if module.__name__.startswith("localstack.services.stepfunctions") and hasattr(module, "boto_client_for"):
            module.boto_client_for = boto_client_for


def _end_tasks_as_aws_does() -> None:
    """LocalStack drops CapacityProviderStrategy, takes every exit code for success, and lets a task run on that is out of time."""
    from localstack.aws.api.stepfunctions import HistoryEventType, TaskFailedEventDetails
    from localstack.services.stepfunctions.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
    from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import state_task_service_callback as callback
    from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service import state_task_service_ecs as ecs
    from localstack.services.stepfunctions.asl.eval.event.event_detail import EventDetails

    ecs._SUPPORTED_API_PARAM_BINDINGS["runtask"].add("CapacityProviderStrategy")
    build = ecs.StateTaskServiceEcs._build_sync_resolver

    def build_sync_resolver(self, env, resource_runtime_part, normalised_parameters, state_credentials):
        submitted = env.stack[-1]["Tasks"][0]
        client = ecs.boto_client_for(service="ecs", region=resource_runtime_part.region, state_credentials=state_credentials)
        ask = build(self, env, resource_runtime_part, normalised_parameters, state_credentials)

        def ended():
            task = ask()
            if task and not (task.get("StopCode") == "EssentialContainerExited" and all(container.get("ExitCode") == 0 for container in task["Containers"])):
                details = TaskFailedEventDetails(error="States.TaskFailed", cause=json.dumps(task, separators=(",", ":"), default=str),
                                                 resource=self._get_sfn_resource(), resourceType=self._get_sfn_resource_type())
                raise FailureEventException(FailureEvent(env=env, error_name=custom_error_name.CustomErrorName("States.TaskFailed"),
                                                         event_type=HistoryEventType.TaskFailed, event_details=EventDetails(taskFailedEventDetails=details)))
            return task

        ended.stop = lambda: client.stop_task(cluster=submitted["ClusterArn"], task=submitted["TaskArn"], reason="Step Functions: out of time, or stopped")
        return ended

    def eval_sync(self, env, sync_resolver, timeout_seconds, callback_endpoint, heartbeat_endpoint):
        result = callback.StateTaskServiceCallback._eval_sync(self, env, sync_resolver, timeout_seconds, callback_endpoint, heartbeat_endpoint)
        if not isinstance(result, dict):
            sync_resolver.stop()
        return result

    ecs.StateTaskServiceEcs._build_sync_resolver = build_sync_resolver
    ecs.StateTaskServiceEcs._eval_sync = eval_sync


def main() -> None:
    """Makes the changes, then runs LocalStack in this process."""
    custom_error_name.ILLEGAL_CUSTOM_ERROR_PREFIX = PREFIX_OF_NO_NAME
    StepFunctionsProvider._STATE_MACHINE_EXECUTION_ARN_REGEX = re.compile(r"^arn:aws:states:[^:]+:\d+:execution:[^:]+:[^:]+$")
    _parse_definitions_once()
    _know_bedrock()
    if endpoints := os.environ.get("REAL_ENDPOINTS"):
        _ask_the_stand_ins(json.loads(endpoints))
        _end_tasks_as_aws_does()
    runpy.run_module("localstack.runtime.main", run_name="__main__")


if __name__ == "__main__":
    main()
