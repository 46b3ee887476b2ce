"""The memory that a process holds, and that its container allows and uses (Linux control groups, 2 or 1).

https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files and cgroup-v1/memory.html
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Version:
    """The files of one version of control groups, and its names for file pages that the kernel frees on demand."""

    limit: str
    used: str
    stat: str
    files: tuple[str, str]


VERSIONS = (
    Version("memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    Version(
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the bytes that the container may use; None if there is no limit, or no container."""
    for version in VERSIONS:
        with suppress(OSError, ValueError):  # "max" means no limit
            return int((root / version.limit).read_text(encoding="ascii"))
    return None


def memory_left(root: Path = ROOT) -> int | None:
    """Return how many bytes of the limit a process may still take.

    Files that the kernel keeps in memory (such as weights just read or downloaded) count as used, but are freed when
    someone needs the room.
    """
    for version in VERSIONS:
        with suppress(OSError, ValueError):
            limit = int((root / version.limit).read_text(encoding="ascii"))
            used = int((root / version.used).read_text(encoding="ascii"))
            return max(0, limit - used + _files(root, version))
    return None


def _files(root: Path, version: Version) -> int:
    try:
        lines = [line.split() for line in (root / version.stat).read_text(encoding="ascii").splitlines()]
        return sum(int(line[1]) for line in lines if len(line) == 2 and line[0] in version.files)
    except (OSError, ValueError):
        return 0


def held_bytes(pid: int | None) -> int:
    """Return the memory that a process alone holds, without mapped files, which the kernel can free at any time."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))


def processor_seconds(pid: int | None) -> float:
    """Return the processor time that a process has used; 0 if there is none."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
