"""The files of task-definitions/ as the tests read them: placeholders filled in, CloudFormation's functions resolved."""

import json
import re
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent.parent
PROJECT = FOLDER.parent
STATE_MACHINE = FOLDER / "state-machine.asl.json"
STACK = FOLDER / "stack.yaml"

LAMBDAS = ["PreCleanup", "DataPreparation", "CreateQATable", "CreateResultsTable", "UpdateBedrockKB"]


def substitutions(bucket: str, topic: str) -> dict:
    """A value for every placeholder of the state machine; functions are named as in PIPELINE.md, `pre-cleanup` and so on."""
    values = {
        "Environment": "prod", "Region": "us-east-1", "Console": "https://us-east-1.console.aws.amazon.com",
        "Cluster": "ml-cluster", "Subnets": "subnet-1,subnet-2", "SecurityGroups": "sg-1", "AssignPublicIp": "DISABLED",
        "TrainingTask": "training-task", "InferenceTask": "inference-task",
        "TrainingMemory": "4096", "InferenceMemory": "4096",
        "TrainingLogGroup": "$252Fengagement-ml$252Ftrain", "InferenceLogGroup": "$252Fengagement-ml$252Fpredict",
        "Bucket": bucket, "ModelsPrefix": "models", "OutputPrefix": "scoring", "ModelName": "engagement",
        "GlueDatabase": "engagement", "GlueTable": "predictions", "Topic": topic,
    }
    for name in LAMBDAS:
        values[f"{name}Function"] = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        values[f"{name}FunctionName"] = name
    return values


def fill(text: str, values: dict) -> str:
    """`text` with each `${Name}` replaced, as CloudFormation's DefinitionSubstitutions and Sub do; an unknown name is an error."""
    return re.sub(r"\$\{([A-Za-z0-9:]+)\}", lambda match: values[match.group(1)], text)


def definition(bucket="a-bucket", topic="arn:aws:sns:us-east-1:000000000000:pipeline-notifications") -> dict:
    """The state machine, ready to create."""
    return json.loads(fill(STATE_MACHINE.read_text(), substitutions(bucket, topic)))


def all_states(machine: dict) -> dict:
    """Every state by its name, those of the branches included."""
    found = {}
    for name, state in machine["States"].items():
        found[name] = state
        for branch in state.get("Branches", []):
            found.update(all_states(branch))
    return found


def hurried(machine: dict) -> dict:
    """The same machine with every wait and every retry interval at its shortest, for tests."""
    hurried_machine = json.loads(json.dumps(machine))
    for state in all_states(hurried_machine).values():
        for retrier in state.get("Retry", []):
            retrier.update({"IntervalSeconds": 1, "BackoffRate": 1.0})
        if "wait" in state.get("Parameters", {}):
            state["Parameters"]["wait"] = 0
    return hurried_machine


class _Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Sub x` as `{"Fn::Sub": x}`."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Template.add_multi_constructor("!", _short_form)


def template() -> dict:
    """stack.yaml as it is."""
    return yaml.load(STACK.read_text(), _Template)


def stack(**resources) -> dict:
    """stack.yaml as CloudFormation would resolve it, with the defaults of its parameters and some chosen values."""
    read = template()
    values = {name: parameter.get("Default", f"<{name}>") for name, parameter in read["Parameters"].items()}
    values |= {"AWS::Region": "us-east-1", "AWS::AccountId": "000000000000", "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}
    values |= {"Pipeline": resources.get("StateMachine", "<Pipeline>"), "Notifications": resources.get("Topic", "<Notifications>")}
    values |= {"TrainingLogGroup": "/engagement-ml/train", "InferenceLogGroup": "/engagement-ml/predict", "PredictionsTable": "predictions"}
    return _resolve(read, values, read["Mappings"])


def _resolve(value, values: dict, mappings: dict):
    if isinstance(value, list):
        return [_resolve(item, values, mappings) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (name, argument), = value.items()
        if name == "Ref":
            return values.get(argument, f"<{argument}>")
        if name == "Fn::Sub":
            text, more = argument if isinstance(argument, list) else (argument, {})
            known = values | _resolve(more, values, mappings)
            return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", lambda match: str(known.get(match[1], f"<{match[1]}>")), text)
        if name == "Fn::FindInMap":
            table, row, column = _resolve(argument, values, mappings)
            return mappings[table][row][column]
        if name == "Fn::GetAtt":
            return f"<{argument if isinstance(argument, str) else '.'.join(argument)}>"
    return {key: _resolve(item, values, mappings) for key, item in value.items()}
