"""The files of task-definitions/ as the tests read them: placeholders filled in, CloudFormation's functions resolved."""

import json
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
PROJECT = FOLDER.parent
STATE_MACHINE = FOLDER / "state-machine.asl.json"
STACK = FOLDER / "stack.yaml"
LOCAL = FOLDER / "local"
sys.path.insert(0, str(LOCAL))

from cloudformation import Stack, template  # noqa: E402, F401

# Functions by the state that calls them.
LAMBDAS = ["PreCleanup", "DataPreparation", "InferencePrep", "CreateQATable", "CreateResultsTable", "UpdateBedrockKB"]


def substitutions(bucket: str, topic: str, shards: int = 1) -> dict:
    """A value for every placeholder of the state machine; functions are named as in PIPELINE.md, `pre-cleanup` and so on."""
    values = {
        "Environment": "prod", "Region": "us-east-1", "Console": "https://us-east-1.console.aws.amazon.com",
        "Cluster": "ml-cluster", "Subnets": "subnet-1,subnet-2", "SecurityGroups": "sg-1", "AssignPublicIp": "DISABLED",
        "TrainingTask": "training-task", "InferenceTask": "inference-task",
        "EvaluationRole": "arn:aws:iam::000000000000:role/EvaluationRole",
        "TrainingMemory": "4096", "InferenceMemory": "4096", "PredictShards": str(shards), "TrainShards": str(shards),
        "TrainingLogGroup": "$252Fengagement-ml$252Ftrain", "InferenceLogGroup": "$252Fengagement-ml$252Fpredict",
        "Bucket": bucket, "ModelsPrefix": "models", "OutputPrefix": "scoring", "ModelName": "engagement",
        "ConfigPrefix": "config", "GlueDatabase": "engagement", "GlueTable": "predictions", "Topic": topic, "ChatTopic": f"{topic}-chat",
        "KnowledgeBaseId": "KB1", "DataSourceId": "DS1",
    }
    functions = Stack().resources("AWS::Lambda::Function")
    for name in LAMBDAS:
        called = functions[f"{name}Function"]["Properties"]["FunctionName"]
        values[f"{name}Function"] = f"arn:aws:lambda:us-east-1:000000000000:function:{called}"
        # Its failure is a word in the message, which links to no log.
        if name != "InferencePrep":
            values[f"{name}FunctionName"] = called
    return values


def fill(text: str, values: dict) -> str:
    """`text` with each `${Name}` replaced, as CloudFormation's DefinitionSubstitutions and Sub do; an unknown name is an error."""
    return re.sub(r"\$\{([A-Za-z0-9:]+)\}", lambda match: values[match.group(1)], text)


def definition(bucket="a-bucket", topic="arn:aws:sns:us-east-1:000000000000:pipeline-notifications", shards: int = 1) -> dict:
    """The state machine, ready to create, with so many tasks that score."""
    return json.loads(fill(STATE_MACHINE.read_text(), substitutions(bucket, topic, shards)))


def all_states(machine: dict) -> dict:
    """Every state by its name, those of branches and of a Map's iterations included."""
    found = {}
    for name, state in machine["States"].items():
        found[name] = state
        for branch in state.get("Branches", []) + ([state["ItemProcessor"]] if "ItemProcessor" in state else []):
            found.update(all_states(branch))
    return found


def hurried(machine: dict) -> dict:
    """The same machine with every wait and every retry interval at its shortest, for tests."""
    hurried_machine = json.loads(json.dumps(machine))
    for state in all_states(hurried_machine).values():
        for retrier in state.get("Retry", []):
            retrier.update({"IntervalSeconds": 1, "BackoffRate": 1.0})
        if isinstance(state.get("Parameters", {}).get("wait"), int):
            state["Parameters"]["wait"] = 0
    return hurried_machine


def stack(**parameters) -> dict:
    """stack.yaml as CloudFormation would deploy it, with the defaults of its parameters and some chosen values."""
    return {"Resources": Stack(parameters).resources()}
