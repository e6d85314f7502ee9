"""The wheel's tag: any Python 3, one architecture, and the oldest glibc that the programs inside start on."""

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProgramsHook(BuildHookInterface):
    """Called by hatchling before it builds the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`scripts/package` says which platform the programs are for."""
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + os.environ["ENGAGEMENT_ML_PLATFORM"]
