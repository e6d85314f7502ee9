"""stack.yaml as CloudFormation would deploy it: parameters and conditions applied, names and ARNs in place of references.

Everything that runs locally is read from here, so what is tried on this machine is what the template deploys.
"""

import re
from pathlib import Path

import yaml

TEMPLATE = Path(__file__).resolve().parent.parent / "stack.yaml"
REGION, ACCOUNT = "us-east-1", "000000000000"
NO_VALUE = object()

# What a reference to a resource yields, by type: the property that names it, what `Ref` gives, what `.Arn` gives.
NAMES = {
    "AWS::S3::Bucket": ("BucketName", "{name}", "arn:aws:s3:::{name}"),
    "AWS::Glue::Database": ("DatabaseInput.Name", "{name}", ""),
    "AWS::Glue::Table": ("TableInput.Name", "{name}", ""),
    "AWS::ECS::Cluster": ("ClusterName", "{name}", "arn:aws:ecs:{region}:{account}:cluster/{name}"),
    "AWS::ECS::TaskDefinition": ("Family", "arn:aws:ecs:{region}:{account}:task-definition/{name}:1", ""),
    "AWS::Logs::LogGroup": ("LogGroupName", "{name}", "arn:aws:logs:{region}:{account}:log-group:{name}:*"),
    "AWS::SNS::Topic": ("TopicName", "arn:aws:sns:{region}:{account}:{name}", "arn:aws:sns:{region}:{account}:{name}"),
    "AWS::SQS::Queue": ("QueueName", "https://sqs.{region}.amazonaws.com/{account}/{name}", "arn:aws:sqs:{region}:{account}:{name}"),
    "AWS::Lambda::Function": ("FunctionName", "{name}", "arn:aws:lambda:{region}:{account}:function:{name}"),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", "arn:aws:states:{region}:{account}:stateMachine:{name}",
                                         "arn:aws:states:{region}:{account}:stateMachine:{name}"),
    "AWS::Events::Rule": ("Name", "{name}", "arn:aws:events:{region}:{account}:rule/{name}"),
    "AWS::IAM::Role": ("RoleName", "{name}", "arn:aws:iam::{account}:role/{name}"),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", "arn:aws:iam::{account}:policy/{name}", ""),
    "AWS::Athena::WorkGroup": ("Name", "{name}", ""),
    "AWS::CloudWatch::Alarm": ("AlarmName", "{name}", "arn:aws:cloudwatch:{region}:{account}:alarm:{name}"),
    "AWS::CloudWatch::Dashboard": ("DashboardName", "{name}", ""),
}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Sub x` as `{"Fn::Sub": x}`."""


def _short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def template(file: Path = TEMPLATE) -> dict:
    """A template as it is."""
    return yaml.load(file.read_text(), _Loader)


class Stack:
    """A template with parameters. A required parameter that is not given stands as `<Name>`, so that everything can be read."""

    def __init__(self, parameters: dict | None = None, read: dict | None = None, name="engagement-ml"):
        self.template = read or template()
        unknown = set(parameters or {}) - set(self.template["Parameters"])
        if unknown:
            raise KeyError(f"stack.yaml has no parameter {', '.join(sorted(unknown))}")
        self.values = {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
                       "AWS::NoValue": NO_VALUE, "AWS::StackName": name,
                       "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/0"}
        for key, parameter in self.template["Parameters"].items():
            value = (parameters or {}).get(key, parameter.get("Default", f"<{key}>"))
            if isinstance(value, str) and (parameter["Type"].startswith("List<") or parameter["Type"] == "CommaDelimitedList"):
                value = [item for item in value.split(",") if item]
            self.values[key] = value
        self._conditions = {}

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        if name not in self._conditions:
            self._conditions[name] = self.resolve(self.template["Conditions"][name])
        return self._conditions[name]

    def resources(self, kind: str | None = None) -> dict:
        """Every resource that the stack makes, of one type or all, by its logical name."""
        return {name: self.resource(name) for name, resource in self.template["Resources"].items()
                if kind in (None, resource["Type"]) and ("Condition" not in resource or self.condition(resource["Condition"]))}

    def resource(self, name: str) -> dict:
        """One resource, resolved."""
        return self.resolve(self.template["Resources"][name])

    def properties(self, name: str) -> dict:
        """A resource's properties."""
        return self.resource(name)["Properties"]

    def outputs(self) -> dict:
        """The outputs by name."""
        return {name: self.resolve(output["Value"]) for name, output in self.template["Outputs"].items()
                if "Condition" not in output or self.condition(output["Condition"])}

    def physical_name(self, logical: str) -> str:
        """What a resource is called in the account; a role without a name of its own by its logical name."""
        resource = self.template["Resources"][logical]
        value = resource.get("Properties", {})
        for part in NAMES[resource["Type"]][0].split(".") if resource["Type"] in NAMES else ():
            value = value.get(part, {}) if isinstance(value, dict) else {}
        return self.resolve(value) if value and resource["Type"] in NAMES else logical

    def reference(self, name: str):
        """`Ref`."""
        if name in self.values:
            return self.values[name]
        kind = self.template["Resources"][name]["Type"]
        return self._format(NAMES[kind][1], name) if kind in NAMES else name

    def attribute(self, path: str) -> str:
        """`GetAtt`."""
        logical, _, attribute = path.partition(".")
        kind = self.template["Resources"][logical]["Type"]
        if attribute == "Arn" and NAMES.get(kind, ("", "", ""))[2]:
            return self._format(NAMES[kind][2], logical)
        if attribute in ("Name", "TopicName", "QueueName"):
            return self.physical_name(logical)
        raise KeyError(f"{path}: {kind} has no {attribute} here")

    def _format(self, pattern: str, logical: str) -> str:
        return pattern.format(name=self.physical_name(logical), region=REGION, account=ACCOUNT)

    def resolve(self, value):
        """A part of the template with its functions applied."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), = value.items()
            if name == "Ref":
                return self.reference(argument)
            if name == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if name.startswith("Fn::"):
                return getattr(self, "_" + name[4:].lower())(argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _getatt(self, argument):
        return self.attribute(argument if isinstance(argument, str) else ".".join(argument))

    def _sub(self, argument):
        text, more = argument if isinstance(argument, list) else (argument, {})
        own = self.resolve(more)

        def value(match):
            name = match[1]
            if name.startswith("!"):
                return "${%s}" % name[1:]
            found = own[name] if name in own else self.attribute(name) if "." in name else self.reference(name)
            return str(found)
        return re.sub(r"\$\{(!?[A-Za-z0-9:.]+)\}", value, text)

    def _join(self, argument):
        return argument[0].join(map(str, self.resolve(argument[1])))

    def _split(self, argument):
        return self.resolve(argument[1]).split(argument[0])

    def _select(self, argument):
        return self.resolve(argument[1])[int(argument[0])]

    def _findinmap(self, argument):
        table, row, column = self.resolve(argument)
        return self.template["Mappings"][table][row][column]

    def _if(self, argument):
        return self.resolve(argument[1] if self.condition(argument[0]) else argument[2])

    def _equals(self, argument):
        first, second = self.resolve(argument)
        return str(first) == str(second)

    def _not(self, argument):
        return not self.resolve(argument[0])

    def _and(self, argument):
        return all(map(self.resolve, argument))

    def _or(self, argument):
        return any(map(self.resolve, argument))
