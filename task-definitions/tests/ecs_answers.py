"""What `ecs:runTask.sync` answers: a task description, as the output of a success or as the Cause of a failure."""

import json

REGION = "us-east-1"
ACCOUNT = "000000000000"
TASK_ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
LEFT_OUT = object()


def task_description(container: str, *, exit_code=0, stop_code="EssentialContainerExited",
                     stopped_reason="Essential container in task exited", reason=None) -> dict:
    """A stopped Fargate task as Step Functions describes it; `exit_code=LEFT_OUT` as when no container ever started."""
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
    described = {
        "ContainerArn": f"{arn}:container/ml-cluster/{TASK_ID}/5f1c9d0e-52b5-4c12-9d7a-3f3a1b2c4d5e",
        "Cpu": "0",
        "ExitCode": exit_code,
        "GpuIds": [],
        "Image": "000000000000.dkr.ecr.us-east-1.amazonaws.com/engagement@sha256:" + "0" * 64,
        "LastStatus": "STOPPED",
        "ManagedAgents": [],
        "Memory": "4096",
        "Name": container,
        "NetworkBindings": [],
        "NetworkInterfaces": [{"AttachmentId": "d7f2a6f0", "PrivateIpv4Address": "10.0.1.17"}],
        "RuntimeId": f"{TASK_ID}-2531612879",
        "TaskArn": f"{arn}:task/ml-cluster/{TASK_ID}",
    }
    if exit_code is LEFT_OUT:
        del described["ExitCode"]
    if reason is not None:
        described["Reason"] = reason
    return {
        "Attachments": [{"Details": [{"Name": "subnetId", "Value": "subnet-0a1b"}], "Id": "5d6e", "Status": "DELETED",
                         "Type": "eni"}],
        "AvailabilityZone": "us-east-1a",
        "CapacityProviderName": "FARGATE_SPOT",
        "ClusterArn": f"{arn}:cluster/ml-cluster",
        "Connectivity": "CONNECTED",
        "ConnectivityAt": 1795447203000,
        "Containers": [described],
        "Cpu": "2048",
        "CreatedAt": 1795447200000,
        "DesiredStatus": "STOPPED",
        "EnableExecuteCommand": False,
        "EphemeralStorage": {"SizeInGiB": 21},
        "Group": "family:training-task",
        "InferenceAccelerators": [],
        "LastStatus": "STOPPED",
        "LaunchType": "FARGATE",
        "Memory": "4096",
        "Overrides": {"ContainerOverrides": [{"Command": [], "Environment": [{"Name": "RUN_ID", "Value": "r"}],
                                              "EnvironmentFiles": [], "Memory": 4096, "Name": container,
                                              "ResourceRequirements": []}],
                      "InferenceAcceleratorOverrides": [], "Memory": "4096"},
        "PlatformFamily": "Linux",
        "PlatformVersion": "1.4.0",
        "StartedBy": "AWS Step Functions",
        "StopCode": stop_code,
        "StoppedAt": 1795447260000,
        "StoppedReason": stopped_reason,
        "Tags": [],
        "TaskArn": f"{arn}:task/ml-cluster/{TASK_ID}",
        "TaskDefinitionArn": f"{arn}:task-definition/training-task:1",
        "Version": 5,
    }


def _compact(value) -> str:
    return json.dumps(value, separators=(",", ":"))


def succeeds(container: str) -> dict:
    """The mocked answer of a task that exits 0."""
    return {"Return": task_description(container)}


def fails(container: str, *, error="States.TaskFailed", spaces=False, **task) -> dict:
    """The mocked answer of a task that fails; `spaces` writes the Cause as some emulators do."""
    described = task_description(container, **task)
    return throws(error, json.dumps(described) if spaces else _compact(described))


def exits(container: str, exit_code: int) -> dict:
    """The mocked answer of a task whose container exits with `exit_code`."""
    reason = "OutOfMemoryError: Container killed due to memory usage" if exit_code == 137 else None
    return fails(container, exit_code=exit_code, reason=reason)


def interrupted(container: str, exit_code=143) -> dict:
    """The mocked answer of a task that Fargate Spot took back: 143 where the program stopped in time, 137 where it was killed."""
    return fails(container, exit_code=exit_code, stop_code="SpotInterruption", stopped_reason="Your Spot Task was interrupted.")


def never_started(container: str) -> dict:
    """The mocked answer of a task that did not get as far as a running container."""
    return fails(container, exit_code=LEFT_OUT, stop_code="TaskFailedToStart",
                 stopped_reason="ResourceInitializationError: failed to configure ENI")


def throws(error: str, cause: str) -> dict:
    """Any mocked failure."""
    return {"Throw": {"Error": error, "Cause": cause}}


def returns(payload) -> dict:
    """The mocked answer of a Lambda function."""
    return {"Return": {"StatusCode": 200, "Payload": payload}}
