"""What a container says of its memory, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.system.container import memory_left, memory_limit

VERSION_2 = {
    "memory.max": "4000000000\n",
    "memory.current": "3500000000\n",
    "memory.stat": (
        "anon 900000000\nfile 2600000000\ninactive_file 2000000000\nactive_file 400000000\nshmem 200000000\n"
    ),
}
VERSION_1 = {
    "memory/memory.limit_in_bytes": "4000000000\n",
    "memory/memory.usage_in_bytes": "3500000000\n",
    "memory/memory.stat": (
        "cache 2600000000\nactive_file 1\ntotal_inactive_file 2000000000\ntotal_active_file 400000000\n"
    ),
}


def group(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("files", [VERSION_2, VERSION_1], ids=["version 2", "version 1"])
def test_files_that_the_kernel_keeps_in_memory_count_as_free(tmp_path: Path, files: dict[str, str]) -> None:
    """4 GB may be used and 3.5 are; 2.4 of these are files that leave when someone needs the room."""
    assert memory_limit(group(tmp_path, files)) == 4_000_000_000
    assert memory_left(tmp_path) == 2_900_000_000


@pytest.mark.parametrize("limit", ["max\n", "", None])
def test_without_a_limit_the_container_says_nothing(tmp_path: Path, limit: str | None) -> None:
    files = {name: text for name, text in VERSION_2.items() if name != "memory.max"}
    group(tmp_path, files if limit is None else {**files, "memory.max": limit})
    assert memory_limit(tmp_path) is None
    assert memory_left(tmp_path) is None


def test_what_is_used_is_never_more_than_the_limit(tmp_path: Path) -> None:
    group(tmp_path, {**VERSION_2, "memory.current": "9000000000\n", "memory.stat": "nonsense\ninactive_file many\n"})
    assert memory_left(tmp_path) == 0
