"""The whole pipeline on one machine: the state machine as the stack deploys it, with the real programs and functions behind it.

LocalStack executes the state machine and delivers its messages; ECS, Lambda, Athena, Glue and Bedrock are this folder's
stand-ins; S3 is SeaweedFS. Every call is made as the role that the stack gives to its caller, and denied where that role
does not list it.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

from athena import Athena, Query, Statement
from catalogue import Catalogue
from cloudformation import REGION, Stack
from ecs import Ecs, Programs
from functions import Functions
from iam import Authorizer, Denied
from knowledge_base import KnowledgeBase
from ports import free_ports
from s3 import ADMIN, Gate, SeaweedFs, client_of
from server import Request, Server

SERVICES = "s3,stepfunctions,sns,sqs,sts,iam,events"
STARTED_WITHIN_SECONDS = 120
TOLD_WITHIN_SECONDS = 15
BUCKET = "lake"
DIGEST = "sha256:" + "0" * 64


def wait_for(what, seconds: float, description: str):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := what():
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {description}")
        time.sleep(0.05)


@dataclass
class Visit:
    """A state that an execution entered: when, with what data, and for how long it was there."""

    name: str
    at: float
    seconds: float
    input: dict


@dataclass
class Outcome:
    """How an execution ended: its status, its way through the states, its messages on the two topics."""

    name: str
    status: str
    execution: dict
    visits: list
    seconds: float
    messages: list = field(default_factory=list)
    chats: list = field(default_factory=list)

    @property
    def entered(self) -> list:
        """The states by name, in their order."""
        return [visit.name for visit in self.visits]

    @property
    def message(self) -> dict:
        """The one message that was sent."""
        assert len(self.messages) == 1, self.messages
        return self.messages[0]


class LocalStack:
    """The process that plays Step Functions, SNS, SQS and EventBridge."""

    def __init__(self, folder: Path):
        [port] = free_ports(1)
        self.folder, self.endpoint, self.port = folder, f"http://127.0.0.1:{port}", port
        self.process = self.log = None

    def start(self, endpoints: dict) -> None:
        """Starts it, with the stand-ins behind it."""
        self.folder.mkdir(parents=True)
        self.log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("start_localstack.py"))], cwd=self.folder, stdout=self.log, stderr=subprocess.STDOUT,
            env=os.environ | {"GATEWAY_SERVER": "hypercorn", "GATEWAY_LISTEN": f"127.0.0.1:{self.port}", "SERVICES": SERVICES, "STRICT_SERVICE_LOADING": "1",
                              "DNS_ADDRESS": "0", "SKIP_SSL_CERT_DOWNLOAD": "1", "DISABLE_EVENTS": "1", "FILESYSTEM_ROOT": str(self.folder / "root"),
                              "REAL_ENDPOINTS": json.dumps(endpoints)})

    def wait_until_ready(self) -> None:
        """Returns when it answers."""
        def healthy():
            if self.process.poll() is not None:
                raise RuntimeError(f"LocalStack ended with {self.process.returncode}: see {self.log.name}")
            try:
                with urllib.request.urlopen(f"{self.endpoint}/_localstack/health", timeout=5):
                    return True
            except OSError:
                return False
        wait_for(healthy, STARTED_WITHIN_SECONDS, f"LocalStack: see {self.log.name}")

    def client(self, service: str):
        """A client of it."""
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
                            config=Config(retries={"max_attempts": 5}))

    def stop(self) -> None:
        """Ends the process; SIGTERM it ignores."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.log.close()


class Machine:
    """Everything that stands once for many executions. `parameters` are the stack's; `programs` are paths or images of
    `train`, `predict` and `functions`."""

    def __init__(self, folder: Path, programs: dict, parameters: dict, engine: str | None = None):
        self.folder = folder
        self.stack = Stack({"Bucket": BUCKET, "Subnets": "subnet-1,subnet-2", "SecurityGroups": "sg-1", "TrainDigest": DIGEST, "PredictDigest": DIGEST,
                            "FunctionsDigest": DIGEST} | parameters)
        self.authorizer = Authorizer(self.stack)
        self.authorizer.statements[ADMIN] = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
        self.seaweed = SeaweedFs(folder / "s3", [role for role in self.authorizer.statements if role != ADMIN])
        self.localstack = LocalStack(folder / "localstack")
        self.gate = Gate(self.authorizer, self.seaweed.port)
        self.catalogue = Catalogue(self.stack, self.authorizer)
        self.athena = Athena(self.stack, self.catalogue, self.gate.endpoint)
        self.knowledge_base = KnowledgeBase(self.authorizer)
        self.programs = Programs(programs, {"S3": self.gate.endpoint, "ATHENA": self.athena.endpoint}, engine)
        self.ecs = Ecs(self.stack, self.authorizer, self.programs, folder / "tasks")
        self.functions = Functions(self.stack, self.authorizer, self.programs, folder / "functions")
        self.sns = Server(self._publish)
        self.localstack.start({"s3": self.gate.endpoint, "ecs": self.ecs.endpoint, "lambda": self.functions.endpoint, "glue": self.catalogue.endpoint,
                               "bedrock-agent": self.knowledge_base.endpoint, "sns": self.sns.endpoint})
        self.seaweed.wait_until_ready(BUCKET)
        self.s3 = client_of(self.gate.endpoint)
        self.localstack.wait_until_ready()
        self.states, self.sqs = self.localstack.client("stepfunctions"), self.localstack.client("sqs")
        self.queues, self.received, self.lock = {}, {"Notifications": [], "ChatTopic": []}, threading.Lock()
        self._make_topics()
        self.changed, self.substituted = (lambda definition: definition), {}
        self.arn = self._make_state_machine()
        self._make_rules()

    # What the stack makes

    def _make_topics(self) -> None:
        sns = self.localstack.client("sns")
        for logical in self.received:
            name = self.stack.physical_name(logical)
            topic = sns.create_topic(Name=name)["TopicArn"]
            assert topic == self.stack.reference(logical)
            queue = self.sqs.create_queue(QueueName=f"all-of-{name}")["QueueUrl"]
            arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
            self.queues[logical] = queue

    def definition(self) -> str:
        """The state machine's definition, with its placeholders filled in."""
        properties = self.stack.properties("Pipeline")
        text = self.stack.template["Resources"]["Pipeline"]["Properties"]["DefinitionString"]
        for name, value in (properties["DefinitionSubstitutions"] | self.substituted).items():
            text = text.replace("${%s}" % name, str(value))
        return text

    def _make_state_machine(self) -> str:
        role = self.stack.attribute("PipelineRole.Arn")
        return self.states.create_state_machine(name=self.stack.physical_name("Pipeline"), definition=self.definition(), roleArn=role)["stateMachineArn"]

    def _make_rules(self) -> None:
        events = self.localstack.client("events")
        rule = self.stack.properties("EndedWithoutAMessage")
        events.put_rule(Name=rule["Name"], EventPattern=json.dumps(rule["EventPattern"]))
        events.put_targets(Rule=rule["Name"], Targets=rule["Targets"])

    def change(self, change, **substituted) -> None:
        """Deploys the state machine with a change, such as shorter waits, and with other values of its placeholders. Executions that
        run keep what they began with."""
        self.changed, self.substituted = change, substituted
        self.states.update_state_machine(stateMachineArn=self.arn, definition=json.dumps(change(json.loads(self.definition()))))

    def update_the_stack(self) -> None:
        """What an update with other images does: new revisions of the task definitions, which the state machine names from now on."""
        definition = json.dumps(self.changed(json.loads(self.definition())))
        for before, after in self.ecs.register_again().items():
            definition = definition.replace(before, after)
        self.states.update_state_machine(stateMachineArn=self.arn, definition=definition)

    def _publish(self, request: Request):
        """Publish, if the caller's role may; LocalStack delivers."""
        form = dict(urllib.parse.parse_qsl(request.body().decode()))
        try:
            self.authorizer.check(request.caller, f"sns:{form['Action']}", form.get("TopicArn", "*"))
        except Denied as denied:
            body = f"<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>{denied}</Message></Error><RequestId>denied</RequestId></ErrorResponse>"
            return 403, {"content-type": "text/xml"}, body.encode()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length", "connection")}
        with urllib.request.urlopen(urllib.request.Request(self.localstack.endpoint, request.body(), headers)) as answer:
            return answer.status, {"content-type": answer.headers["content-type"]}, answer.read()

    # Executions

    def start(self, name: str, given) -> str:
        """Starts an execution."""
        return self.states.start_execution(stateMachineArn=self.arn, name=name, input=json.dumps(given))["executionArn"]

    def status(self, execution: str) -> str:
        """How it stands."""
        return self.states.describe_execution(executionArn=execution)["status"]

    def outcome(self, execution: str, seconds=300, watch=lambda visits: None) -> Outcome:
        """Waits for the end of an execution, and for its message. `watch` is called with the way so far."""
        deadline = time.monotonic() + seconds
        while (described := self.states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{execution} still runs after {seconds} s, in {self.visits(execution)[-1].name}")
            watch(execution)
            time.sleep(0.5)
        took = (described["stopDate"] - described["startDate"]).total_seconds()
        outcome = Outcome(described["name"], described["status"], described, self.visits(execution), took)
        try:
            wait_for(lambda: self._told("Notifications", execution) and self._told("ChatTopic", execution), TOLD_WITHIN_SECONDS, "messages")
        except TimeoutError:
            pass
        outcome.messages, outcome.chats = self._told("Notifications", execution), self._told("ChatTopic", execution)
        return outcome

    def visits(self, execution: str) -> list:
        """The way through the states so far."""
        pages = self.states.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = [event for page in pages for event in page["events"]]
        ends, found = {}, []
        for event in events:
            if details := event.get("stateExitedEventDetails"):
                ends.setdefault(details["name"], []).append(event["timestamp"].timestamp())
        for event in events:
            if details := event.get("stateEnteredEventDetails"):
                at = event["timestamp"].timestamp()
                left = ends.get(details["name"])
                found.append(Visit(details["name"], at, (left.pop(0) - at) if left else 0.0, json.loads(details["input"])))
        return found

    def _told(self, topic: str, execution: str) -> list:
        with self.lock:
            queue = self.queues[topic]
            while batch := self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
                for message in batch:
                    self.received[topic].append(json.loads(message["Body"]))
                    self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            if topic == "Notifications":
                return [body for body in self.received[topic] if body.get("execution_arn") == execution]
            return [body for body in self.received[topic] if execution in body.get("metadata", {}).get("relatedResources", [])]

    def stop_execution(self, execution: str) -> None:
        """What a person does to abort it."""
        self.states.stop_execution(executionArn=execution)

    # Objects and tables

    def put(self, key: str, body) -> None:
        """An object of the bucket."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        """An object's bytes."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix="") -> dict:
        """The objects below a prefix, with their entity tags."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}

    def query(self, sql: str) -> tuple:
        """Columns and rows of a query, asked as a person who may read everything."""
        query = Query("person", sql, self.stack.outputs()["DatabaseName"], ADMIN, None, time.time())
        columns, rows = Statement(self.athena, query).run()
        return [name for name, _ in columns], rows

    def select(self, sql: str) -> list:
        """The rows of a query."""
        return self.query(sql)[1]

    def checks(self, run: str) -> tuple | None:
        """The rows of the table qa for a run, if it has got as far."""
        if "qa" not in self.catalogue.databases[self.stack.outputs()["DatabaseName"]]:
            return None
        return self.query(f"SELECT * FROM qa WHERE run_id = '{run}'")

    def stop(self) -> None:
        """Ends every process."""
        self.ecs.end_all()
        self.functions.end_all()
        self.localstack.stop()
        self.seaweed.stop()

