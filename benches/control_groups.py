"""Control groups that hold a process to its memory, where this process may make them."""

import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup/memory")
MIB = 1024 * 1024


def group_of(name, mib):
    """A control group with so many MiB, or all there are (`None`); none where this process may not make one."""
    group = GROUPS / f"shards-{os.getpid()}-{name}"
    try:
        group.mkdir()
        if mib:
            (group / "memory.limit_in_bytes").write_text(str(mib * MIB))
    except OSError:
        return None
    return group
