"""Writes the locks: every package that a set of requirements brings along, with its version and the hashes of all its
files.

    python locks/lock.py [--upgrade]      (make lock)

    run.txt         requirements.txt, but for torch (install-torch.sh)
    torch-cpu.txt   torch's CPU build, which PyTorch's own index has
    torch.txt       torch as the package index has it
    cuda.txt        what that one brings along on Linux; the CPU build asks for none of it
    test.txt        requirements-dev.txt, without what is in run.txt as well
    notebook.txt    requirements-notebook.txt, without what is in run.txt as well
    lock.txt        requirements-lock.txt: uv, which finds all of this out

Versions that a lock has are kept unless `--upgrade` is given or the requirements say otherwise. `constraints.txt` has
the versions of all of them, for whoever installs without hashes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
SETS = {
    "run": "requirements.txt",
    "test": "requirements-dev.txt",
    "notebook": "requirements-notebook.txt",
    "lock": "requirements-lock.txt",
}
OLDEST_PYTHON = "3.11"
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
# Of the CPU build, which the Python package index lacks: the files for Linux on x86-64.
TORCH_CPU = {
    "2.13.0": {
        "cp311": "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
        "cp312": "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
        "cp313": "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    }
}
NOTE = "# Written by `make lock` from {source}.\n"
VERSIONS = (
    "# Written by `make lock`: the version of everything that the locks name, also of what torch's CUDA build brings "
    "along.\n"
)


def solve(before: str, sources: list[str], upgrade: bool = False) -> dict[str, str]:
    """Entries of a lock by package, for every platform: `name==version ; marker`, a hash a line.

    Args:
        before: versions that are kept. sources: requirement files, by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.txt"
        out.write_text(before, encoding="utf-8")
        for name in SETS.values():  # without the line that names constraints.txt: `before` has the versions
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines(keepends=True)
            (Path(folder) / name).write_text(
                "".join(line for line in lines if not line.startswith("-c")), encoding="utf-8"
            )
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
        command += ["--python-version", OLDEST_PYTHON, "--no-header", "--no-annotate", "--output-file", out.name]
        subprocess.run(
            [*command, *(["--upgrade"] if upgrade else []), *sources], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )
        return entries(out.read_text(encoding="utf-8"))


def entries(text: str) -> dict[str, str]:
    """A lock's entries by package; several versions of one package, by marker, stand together."""
    found: dict[str, str] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text):
        if "==" in block:
            name = block.split("==")[0].strip()
            found[name] = found.get(name, "") + block
    return found


def beyond(found: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The entries that are not known: one that is known for some platforms only stays."""
    return {package: entry for package, entry in found.items() if known.get(package) != entry}


def cpu_build(entry: str) -> str:
    """The entry of torch's CPU build, of the same version as `entry`.

    Raises:
        SystemExit: its hashes are not known for this version.
    """
    version = entry.split("==")[1].split()[0]
    if version not in TORCH_CPU:
        raise SystemExit("locks/lock.py: add the hashes of this torch's CPU build to TORCH_CPU.")
    digests = sorted(TORCH_CPU[version].values())
    return f"torch=={version}+cpu" + "".join(f" \\\n    --hash=sha256:{digest}" for digest in digests) + "\n"


def write(name: str, source: str, found: dict[str, str]) -> None:
    """Write one lock."""
    text = NOTE.format(source=source) + "".join(found[package] for package in sorted(found))
    (LOCKS / f"{name}.txt").write_text(text, encoding="utf-8")


def main() -> None:
    """Write all locks, and the versions of them all."""
    parser = argparse.ArgumentParser(description="Write the locks.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the requirements allow")
    upgrade = parser.parse_args().upgrade
    whole = solve((ROOT / "constraints.txt").read_text(encoding="utf-8"), list(SETS.values()), upgrade)
    chosen = "".join(whole.values())
    found = {name: solve(chosen, [source]) for name, source in SETS.items()}
    torch = found["run"]["torch"]
    write(
        "run",
        SETS["run"],
        {name: entry for name, entry in found["run"].items() if name != "torch" and not CUDA.match(name)},
    )
    write("torch", SETS["run"], {"torch": torch})
    write("torch-cpu", "locks/lock.py", {"torch": cpu_build(torch)})
    write("cuda", SETS["run"], {name: entry for name, entry in found["run"].items() if CUDA.match(name)})
    for name in ("test", "notebook", "lock"):
        write(name, SETS[name], beyond(found[name], found["run"]))
    lines = [line.removesuffix(" \\") for line in chosen.splitlines() if re.match(r"[\w.-]+==", line)]
    several = {name for name, entry in whole.items() if entry.count("==") > 1 + entry.count(" == ")}
    versions = [line if line.split("==")[0] in several else line.split(" ;")[0] for line in lines]
    (ROOT / "constraints.txt").write_text(VERSIONS + "\n".join(sorted(versions)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
