"""A LocalStack process for the tests, and one isolated pipeline (bucket, topic, queue, state machine) per scenario."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

import pipeline
from ports import free_ports

ROLE = "arn:aws:iam::000000000000:role/engagement-ml-pipeline"
SERVICES = "s3,stepfunctions,sns,sqs,sts,iam,events"
STARTED_WITHIN_SECONDS = 90
ENDED_WITHIN_SECONDS = 120
TOLD_WITHIN_SECONDS = 10


@dataclass
class Outcome:
    """How an execution ended: its status, the states it entered and with what, what it asked of services, and its messages."""

    status: str
    execution: dict
    entered: list
    inputs: dict = field(default_factory=dict)
    requests: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)
    chats: list = field(default_factory=list)

    @property
    def message(self) -> dict:
        """The one message that was sent."""
        assert len(self.messages) == 1, self.messages
        return self.messages[0]


class LocalAws:
    """Starts LocalStack on a free port with the mocked answers of all scenarios; `stop` ends it."""

    def __init__(self, folder: Path, mocks: dict):
        [port] = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        (folder / "mocks.json").write_text(json.dumps(mocks))
        self.log = (folder / "localstack.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(pipeline.LOCAL / "start_localstack.py")], cwd=folder,
            stdout=self.log, stderr=subprocess.STDOUT, env=os.environ | {
                "SFN_MOCK_CONFIG": str(folder / "mocks.json"), "GATEWAY_SERVER": "hypercorn",
                "GATEWAY_LISTEN": f"127.0.0.1:{port}", "SERVICES": SERVICES, "STRICT_SERVICE_LOADING": "1",
                "DNS_ADDRESS": "0", "SKIP_SSL_CERT_DOWNLOAD": "1", "DISABLE_EVENTS": "1",
                "FILESYSTEM_ROOT": str(folder / "root")})
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"LocalStack ended with {self.process.returncode}: see {self.log.name}")
            try:
                with urllib.request.urlopen(f"{self.endpoint}/_localstack/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"LocalStack did not start within {STARTED_WITHIN_SECONDS} s: see {self.log.name}")

    def client(self, service: str):
        """A client of this LocalStack."""
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test",
                            aws_secret_access_key="test", config=Config(retries={"max_attempts": 5}))

    def stop(self) -> None:
        """Ends the process."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Pipeline:
    """A bucket, a topic, a queue and the state machine, all called `name`."""

    def __init__(self, aws: LocalAws, name: str, change=pipeline.hurried, shards: int = 1):
        self.states, self.s3, self.sqs = aws.client("stepfunctions"), aws.client("s3"), aws.client("sqs")
        sns = aws.client("sns")
        self.bucket = f"bucket-{name}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.topic = sns.create_topic(Name=name)["TopicArn"]
        self.chat = sns.create_topic(Name=f"{name}-chat")["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        queue_arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for topic in (self.topic, self.chat):
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})
        self.events, self.name = aws.client("events"), name
        machine = change(pipeline.definition(self.bucket, self.topic, shards))
        self.arn = self.states.create_state_machine(name=name, definition=json.dumps(machine), roleArn=ROLE)["stateMachineArn"]
        self.received, self.chats = {}, {}

    def make_rule(self) -> None:
        """The stack's rule that tells of what ends without a message of the state machine's own, for this state machine and its topics."""
        rule = pipeline.Stack().properties("EndedWithoutAMessage")
        outputs = pipeline.Stack().outputs()
        text = json.dumps(rule).replace(outputs["PipelineArn"], self.arn).replace(outputs["TopicArn"], self.topic).replace(outputs["ChatTopicArn"], self.chat)
        rule = json.loads(text)
        self.events.put_rule(Name=f"{rule['Name']}-{self.name}", EventPattern=json.dumps(rule["EventPattern"]))
        self.events.put_targets(Rule=f"{rule['Name']}-{self.name}", Targets=rule["Targets"])

    def put(self, key: str, content) -> None:
        """An object of the bucket, as JSON or, if it is text, as it is."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content if isinstance(content, str) else json.dumps(content))

    def start(self, execution_input, execution_name: str, test_case: str) -> str:
        """Starts an execution with the mocked answers of `test_case`."""
        return self.states.start_execution(stateMachineArn=f"{self.arn}#{test_case}", name=execution_name,
                                           input=json.dumps(execution_input))["executionArn"]

    def outcome(self, execution_arn: str, messages: int) -> Outcome:
        """Waits for the end of the execution, and a little for so many messages; reads back what it did and said."""
        deadline = time.monotonic() + ENDED_WITHIN_SECONDS
        while (execution := self.states.describe_execution(executionArn=execution_arn))["status"] == "RUNNING":
            assert time.monotonic() < deadline, f"{execution_arn} still runs after {ENDED_WITHIN_SECONDS} s"
            time.sleep(0.2)
        outcome = Outcome(execution["status"], execution, [])
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
        events = {event["id"]: event for page in pages for event in page["events"]}
        for event in events.values():
            if details := event.get("stateEnteredEventDetails"):
                outcome.entered.append(details["name"])
                outcome.inputs.setdefault(details["name"], []).append(json.loads(details["input"]))
            if details := event.get("taskScheduledEventDetails"):
                outcome.requests.setdefault(_state_of(event, events), []).append(json.loads(details["parameters"]))
        self._receive()
        deadline = time.monotonic() + TOLD_WITHIN_SECONDS
        while len(self.received.get(execution_arn, [])) < messages and time.monotonic() < deadline:
            self._receive(wait_seconds=1)
        outcome.messages, outcome.chats = self.received.pop(execution_arn, []), self.chats.pop(execution_arn, [])
        return outcome

    def late_messages(self) -> dict:
        """What came beyond the messages that were waited for."""
        self._receive(wait_seconds=1)
        return self.received

    def _receive(self, wait_seconds=0) -> None:
        """Empties the queue into `received`, by execution."""
        while batch := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds).get("Messages"):
            for message in batch:
                body = json.loads(message["Body"])
                if "execution_arn" in body:
                    self.received.setdefault(body["execution_arn"], []).append(body)
                else:
                    self.chats.setdefault(body["metadata"]["relatedResources"][0], []).append(body)
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])


def _state_of(event: dict, events: dict) -> str:
    """The name of the state in which `event` happened: that of the nearest entered state before it in its own branch."""
    while "stateEnteredEventDetails" not in event:
        event = events[event["previousEventId"]]
    return event["stateEnteredEventDetails"]["name"]
