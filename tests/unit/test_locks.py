"""What is installed is what was tested, file by file: `locks/` has a hash for everything, and pip refuses another
file."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "locks"
SETS = {
    "run": "requirements.txt",
    "test": "requirements-dev.txt",
    "notebook": "requirements-notebook.txt",
    "lock": "requirements-lock.txt",
}
CUDA = re.compile(r"(nvidia|cuda|triton)\b")


def blocks(name: str) -> list[str]:
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    return [block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text) if not block.startswith("#")]


def locked(*names: str) -> dict[str, set[str]]:
    """Versions by package; one package may have several, by marker."""
    found: dict[str, set[str]] = {}
    for block in (block for name in names for block in blocks(name)):
        requirement = Requirement(block.split("\\")[0])
        found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier).removeprefix("=="))
    return found


def asked(path: Path) -> list[Requirement]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


@pytest.mark.parametrize("name", [*SETS, "torch", "torch-cpu", "cuda"])
def test_everything_in_a_lock_has_one_version_and_hashes(name: str) -> None:
    found = blocks(name)
    assert found
    for block in found:
        first, *hashes = block.strip().split(" \\\n")
        assert re.fullmatch(r"[\w.-]+==[\w.+]+( ; .+)?", first), first
        assert hashes, first
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes), first


def test_locks_name_no_host_and_no_folder() -> None:
    for path in (*LOCKS.glob("*.txt"), ROOT / "constraints.txt", *ROOT.glob("requirements*.txt")):
        assert not re.search(
            r"://|--index|--extra|--find|--trusted|^/|[ =]/", path.read_text(encoding="utf-8"), re.MULTILINE
        ), path


@pytest.mark.parametrize(("name", "source"), SETS.items())
def test_what_is_required_is_in_its_lock(name: str, source: str) -> None:
    there = locked(*({"run", "torch", name} if name != "lock" else {name}))
    for requirement in asked(ROOT / source):
        assert {str(requirement.specifier)} == {
            f"=={version}" for version in there[canonicalize_name(requirement.name)]
        }


def test_what_the_requirements_bring_along_is_locked_as_it_is_installed() -> None:
    there = locked("run", "torch", "cuda", "test")
    waiting = [*asked(ROOT / "requirements.txt"), *asked(ROOT / "requirements-dev.txt")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        assert metadata.version(requirement.name).split("+")[0] in there[key[0]], requirement
        inner = [Requirement(line) for line in metadata.requires(requirement.name) or ()]
        extras = [{"extra": extra} for extra in ("", *requirement.extras)]
        waiting += [one for one in inner if one.marker is None or any(one.marker.evaluate(extra) for extra in extras)]
    assert len(seen) > 80


def test_what_is_locked_for_other_platforms_only_is_locked_again() -> None:
    spec = importlib.util.spec_from_file_location("lock", LOCKS / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    run = lock.entries("a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:1\nb==2 \\\n    --hash=sha256:2\n")
    more = lock.entries("a==1 \\\n    --hash=sha256:1\nb==2 \\\n    --hash=sha256:2\nc==3 \\\n    --hash=sha256:3\n")
    assert lock.beyond(more, run) == {name: more[name] for name in ("a", "c")}


def test_the_cpu_build_brings_nothing_of_cuda_along() -> None:
    assert not [name for name in locked("run", "test", "notebook") if CUDA.match(name) or name == "torch"]
    (plain,), (cpu,) = locked("torch")["torch"], locked("torch-cpu")["torch"]
    assert cpu == f"{plain}+cpu"
    assert all(CUDA.match(name) for name in locked("cuda"))


def test_whoever_installs_without_hashes_gets_the_same_versions() -> None:
    there = locked(*SETS, "torch", "cuda")
    found: dict[str, set[str]] = {}
    for requirement in asked(ROOT / "constraints.txt"):
        found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier).removeprefix("=="))
    assert found == there


def wheel(folder: Path, name: str, version: str) -> str:
    """A wheel with nothing in it; gives its hash."""
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"--hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


OTHER = f"--hash=sha256:{hashlib.sha256(b'another').hexdigest()}\n"


def only(folder: Path) -> dict[str, str]:
    """Settings with which pip finds what is in a folder, and nothing else."""
    names = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_TARGET": str(folder / "to"),
    }
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PIP_")}, **names}


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    line = next(
        line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if line.startswith("INSTALL :=")
    )
    command = [sys.executable, "-m", "pip", "install", *shlex.split(line.split("pip install")[1])]
    right = wheel(tmp_path, "locked_thing", "1.0")
    for text, said in (
        (f"locked-thing==1.0 {OTHER}", "DO NOT MATCH THE HASHES"),
        (f"locked-thing==1.0 {right}", ""),
    ):
        (tmp_path / "lock.txt").write_text(text, encoding="utf-8")
        asked_pip = [*command, "-r", str(tmp_path / "lock.txt")]
        done = subprocess.run(asked_pip, capture_output=True, text=True, env=only(tmp_path), check=False)
        assert (done.returncode == 0, (tmp_path / "to").exists()) == (not said, not said), done.stderr
        assert said in done.stderr


STUB = """#!/bin/sh
# in place of Python: pip by the name of the lock, and what torch asks for
case "$*" in
    *"--require-hashes --no-deps -r "*/torch-cpu.txt) echo "ERROR: $CPU"; test -z "$CPU" ;;
    *"--require-hashes --no-deps -r "*) ;;
    *m.requires*) exit "$ASKS" ;;
    *) exit 9 ;;
esac
code=$?
echo "${*##*/}" >> "$SEEN"
exit $code
"""


@pytest.mark.parametrize(
    ("cpu", "asks", "code", "seen"),
    [
        ("", 0, 0, ["torch-cpu.txt"]),
        ("No matching distribution found for torch==2.13.0+cpu", 0, 0, ["torch-cpu.txt", "torch.txt", "cuda.txt"]),
        ("No matching distribution found for torch==2.13.0+cpu", 1, 0, ["torch-cpu.txt", "torch.txt"]),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", 0, 1, ["torch-cpu.txt"]),  # gigabytes are no answer to that
    ],
)
def test_the_cpu_build_is_taken_where_there_is_one_else_the_other_with_what_it_asks_for(
    tmp_path: Path, cpu: str, asks: int, code: int, seen: list[str]
) -> None:
    stub, log = tmp_path / "python", tmp_path / "seen"
    stub.write_text(STUB, encoding="utf-8")
    stub.chmod(0o700)
    there = {**os.environ, "CPU": cpu, "ASKS": str(asks), "SEEN": str(log)}
    done = subprocess.run(
        ["sh", str(LOCKS / "install-torch.sh"), str(stub)], env=there, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert [line.rsplit(" ", 1)[-1] for line in log.read_text(encoding="utf-8").split("\n") if line] == seen
    assert (cpu in done.stderr) == bool(code or not cpu)
