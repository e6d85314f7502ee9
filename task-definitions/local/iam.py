"""What each role of the stack may do, decided as IAM decides: a call is denied unless a statement of the role allows it."""

import re
from dataclasses import dataclass, field

from cloudformation import Stack


class Denied(Exception):
    """A call that no statement of the caller's role allows."""


def _listed(value) -> list:
    return value if isinstance(value, list) else [value]


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` and `?`, everywhere in a text."""
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in pattern), text, re.S) is not None


def _holds(operator: str, key: str, wanted, context: dict) -> bool:
    optional = operator.endswith("IfExists")
    if key not in context:
        return optional
    value = context[key]
    test = {"StringEquals": lambda pattern: pattern == value, "StringLike": lambda pattern: matches(pattern, value),
            "ArnEquals": lambda pattern: matches(pattern, value), "ArnLike": lambda pattern: matches(pattern, value)}[operator.removesuffix("IfExists")]
    return any(test(str(pattern)) for pattern in _listed(wanted))


def allows(statement: dict, action: str, resource: str, context: dict) -> bool:
    """Whether one statement allows a call."""
    return (statement["Effect"] == "Allow"
            and any(matches(pattern.lower(), action.lower()) for pattern in _listed(statement["Action"]))
            and any(matches(pattern, resource) for pattern in _listed(statement["Resource"]))
            and all(_holds(operator, key, wanted, context)
                    for operator, conditions in statement.get("Condition", {}).items() for key, wanted in conditions.items()))


@dataclass
class Authorizer:
    """Decides calls by the roles of a stack, and keeps which were made and which were denied."""

    stack: Stack
    calls: set = field(default_factory=set)
    denied: list = field(default_factory=list)

    def __post_init__(self):
        self.statements = {}
        for name, role in self.stack.resources("AWS::IAM::Role").items():
            policies = role["Properties"].get("Policies", [])
            self.statements[self.stack.physical_name(name)] = [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]

    def check(self, caller: str, action: str, resource: str, **context) -> None:
        """Raises [`Denied`] unless the role `caller` may do `action` on `resource`; dots in condition keys are written `__`."""
        keys = {key.replace("__", ":"): value for key, value in context.items()}
        self.calls.add((caller, action, resource))
        if not any(allows(statement, action, resource, keys) for statement in self.statements.get(caller, [])):
            self.denied.append((caller, action, resource))
            raise Denied(f"User: arn:aws:sts::000000000000:assumed-role/{caller}/local is not authorized to perform: {action} on resource: {resource} "
                         "because no identity-based policy allows the action")
