#!/usr/bin/env python3
"""Copies the task definitions and the state machine into stack.yaml, between its BEGIN and END lines.

    render.py            writes stack.yaml
    render.py --check    writes nothing; exit 1 where stack.yaml is not what it would write

The JSON files are the originals: `aws ecs register-task-definition` and the tests read them, CloudFormation reads the
copies. A placeholder `${Name}` of a task definition becomes a parameter, a resource or a pseudo parameter of the stack.
Needs Python alone.
"""

import json
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
STACK = FOLDER / "stack.yaml"

# Placeholders that the stack knows by another name; every other one is a parameter or a resource of that name.
IN_THE_STACK = {
    "Region": "AWS::Region",
    "ExecutionRoleArn": "ExecutionRole.Arn",
    "TrainingTaskRoleArn": "TrainingTaskRole.Arn",
    "InferenceTaskRoleArn": "InferenceTaskRole.Arn",
    "TrainImage": "AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${TrainRepository}@${TrainDigest",
    "PredictImage": "AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${PredictRepository}@${PredictDigest",
}
# Maps whose keys are data, not property names.
KEYS_AS_THEY_ARE = {"options"}


def in_the_stack(value):
    """A value of a task definition as CloudFormation writes it: capitalised names, placeholders as `Fn::Sub`."""
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: _raw(item) if key in KEYS_AS_THEY_ARE else in_the_stack(item)
                for key, item in value.items()}
    if isinstance(value, list):
        return [in_the_stack(item) for item in value]
    return _with_placeholders(value)


def _raw(options: dict) -> dict:
    return {key: _with_placeholders(value) for key, value in options.items()}


def _with_placeholders(value):
    if not isinstance(value, str) or "${" not in value:
        return value
    return {"Fn::Sub": re.sub(r"\$\{(\w+)\}", lambda match: "${%s}" % IN_THE_STACK.get(match[1], match[1]), value)}


def task_definition(file: str, size_parameter: str) -> str:
    """The properties of an AWS::ECS::TaskDefinition: the file's, with the size that the stack's parameter chooses."""
    properties = in_the_stack(json.loads((FOLDER / file).read_text()))
    memory = {"Fn::FindInMap": ["Sizes", {"Ref": size_parameter}, "Memory"]}
    properties |= {"Cpu": {"Fn::FindInMap": ["Sizes", {"Ref": size_parameter}, "Cpu"]}, "Memory": memory}
    properties["ContainerDefinitions"][0]["Memory"] = memory
    return "Properties: " + json.dumps(properties, indent=2)


def state_machine(file: str) -> str:
    """The DefinitionString: the file as it is, since DefinitionSubstitutions fills its placeholders."""
    text = (FOLDER / file).read_text()
    return "DefinitionString: |\n" + "".join(f"  {line}\n" for line in text.splitlines())


BLOCKS = {
    "training-task.json": lambda file: task_definition(file, "TrainingSize"),
    "inference-task.json": lambda file: task_definition(file, "InferenceSize"),
    "state-machine.asl.json": state_machine,
}


def render(stack: str) -> str:
    """`stack` with each block between its BEGIN and END lines replaced."""
    for file, block in BLOCKS.items():
        pattern = re.compile(rf"^( *)# BEGIN {re.escape(file)}, by render\.py\n.*?^ *# END {re.escape(file)}\n", re.M | re.S)
        found = pattern.search(stack)
        if not found:
            raise SystemExit(f"{STACK} has no BEGIN and END lines for {file}")
        indent = found[1]
        body = "".join(f"{indent}{line}\n" for line in block(file).splitlines())
        stack = stack[:found.start()] + f"{indent}# BEGIN {file}, by render.py\n{body}{indent}# END {file}\n" + stack[found.end():]
    return stack


def main() -> int:
    """The command line."""
    current = STACK.read_text()
    rendered = render(current)
    if "--check" in sys.argv[1:]:
        if rendered != current:
            print(f"{STACK} is older than the files it copies: run {Path(__file__).name}", file=sys.stderr)
        return int(rendered != current)
    STACK.write_text(rendered)
    return 0


if __name__ == "__main__":
    sys.exit(main())
