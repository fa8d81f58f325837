"""The cores that a process may use: its affinity, or the CPU quota of its container."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, by its affinity or its CPU quota: the lesser."""
    # macOS has no affinity.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([allowed, *(math.ceil(quota) for quota in cpu_quotas(root))])


def cpu_quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas, in cores, of this process's cgroup and those above it. macOS has none."""
    try:
        cgroups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for cgroup in cgroups:
        _, controllers, path = cgroup.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # A container may see the path that its cgroup has outside; its own is then the topmost one.
        for level in (PurePosixPath(path), *PurePosixPath(path).parents):
            try:
                if controllers:  # version 1
                    folder = root / "sys/fs/cgroup/cpu" / level.relative_to("/")
                    quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                    period = (folder / "cpu.cfs_period_us").read_text()
                else:
                    folder = root / "sys/fs/cgroup" / level.relative_to("/")
                    quota, period = (folder / "cpu.max").read_text().split()
            except OSError:
                continue
            if quota not in ("max", "-1"):
                yield int(quota) / int(period)
