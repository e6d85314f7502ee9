"""What can go wrong: one class for each exit code of the programs, raised by this module's own code for the same reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class EngagementError(Exception):
    """A failure. The message names what failed, where, and what to do."""

    #: The exit code of the programs that this class stands for.
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, result: Mapping[str, Any] | None = None, log: str = "") -> None:
        super().__init__(message)
        #: What the program said last, as its `result.json` has it; empty where no program ran.
        self.result: dict[str, Any] = dict(result or {})
        #: The program's log.
        self.log = log


class SettingsError(EngagementError):
    """A setting is wrong, access was denied, or there is no such bucket or path (exit 2)."""

    exit_code = 2


class GateFailed(EngagementError):
    """The gate did not pass; nothing was published (exit 3)."""

    exit_code = 3


class DataError(EngagementError):
    """The data is wrong: unreadable, empty, a column missing or of another type (exit 4)."""

    exit_code = 4


class StorageError(EngagementError):
    """Storage could not be reached, or kept failing (exit 5). A retry helps."""

    exit_code = 5


class ModelError(EngagementError):
    """The model is missing, damaged, rejected by its gate, or does not fit what is installed (exit 6)."""

    exit_code = 6


class ResourcesError(EngagementError):
    """Not enough memory or disk (exit 8)."""

    exit_code = 8


class Defect(EngagementError):
    """A defect in the program: please report it with the log (exit 70)."""

    exit_code = 70


class Interrupted(EngagementError):
    """The program was stopped; the same run id continues (exit 143)."""

    exit_code = 143


_CLASSES = (SettingsError, GateFailed, DataError, StorageError, ModelError, ResourcesError, Defect, Interrupted)
BY_EXIT_CODE: dict[int, type[EngagementError]] = {kind.exit_code: kind for kind in _CLASSES}
