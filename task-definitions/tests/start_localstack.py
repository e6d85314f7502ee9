"""Starts LocalStack (Step Functions, S3, SNS, SQS, EventBridge) as `python start_localstack.py`, with some changes.

Its mocked integrations cannot throw an error whose name starts with `States.`, but `States.TaskFailed` and
`States.Timeout` are what `ecs:runTask.sync` throws on AWS: here they can. It describes no execution whose name has other
characters than letters, digits and `-_.`, and AWS allows more of them. And it parses each path anew at each use and
each definition anew at each start, which is most of its time: here it parses a text once. It needs two things of Python
3.13, which Python 3.12 gets here.
"""

import copy
import functools
import importlib
import re
import runpy
import sys
import threading
import warnings

import jsonpath_ng
import jsonpath_ng.ext
import typing_extensions

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


def main() -> None:
    """Makes the changes, then runs LocalStack in this process."""
    custom_error_name.ILLEGAL_CUSTOM_ERROR_PREFIX = PREFIX_OF_NO_NAME
    StepFunctionsProvider._STATE_MACHINE_EXECUTION_ARN_REGEX = re.compile(r"^arn:aws:states:[^:]+:\d+:execution:[^:]+:[^:]+$")
    _parse_definitions_once()
    runpy.run_module("localstack.runtime.main", run_name="__main__")


if __name__ == "__main__":
    main()
