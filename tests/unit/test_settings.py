"""Settings: each has a default, a help text and an environment name, and docs/settings.md lists them all."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest

from dashboard.contracts.precision import words_of
from dashboard.errors import SettingsError
from dashboard.settings import Settings, environ_name

ROOT = Path(__file__).resolve().parents[2]
FIELDS = dataclasses.fields(Settings)
SAMPLES: dict[str, tuple[str, Any]] = {
    "str | None": ("a.example,b", "a.example,b"),
    "int": ("7", 7),
    "bool": ("0", False),
    "float": ("2.5", 2.5),
    "float | None": ("2.5", 2.5),
    "str": ("x", "x"),
    "tuple[Path, ...]": ("/a b:~/c", (Path("/a b"), Path.home() / "c")),
}
NAMED = {"public_path": ("/x/", "/x/"), "device": ("cuda:1", "cuda:1"), "dtype": ("bfloat16", "bfloat16")}


@pytest.mark.parametrize("item", FIELDS, ids=lambda item: item.name)
def test_every_setting_has_a_default_and_a_help_text(item: dataclasses.Field[Any]) -> None:
    assert hasattr(Settings(), item.name)
    assert len(item.metadata["help"]) > 10


def test_environment_names_are_distinct() -> None:
    names = [environ_name(item) for item in FIELDS]
    assert len(set(names)) == len(names)
    assert {"HOST", "PORT", "WEB_CONCURRENCY"} <= set(names)


@pytest.mark.parametrize("item", FIELDS, ids=lambda item: item.name)
def test_the_docs_list_every_setting_with_its_default(item: dataclasses.Field[Any]) -> None:
    page = ROOT / "docs" / "settings.md"
    rows = [line for line in page.read_text().splitlines() if re.search(rf"`{environ_name(item)}`", line)]
    assert rows, f"docs/settings.md does not list {environ_name(item)}"
    if item.default is not dataclasses.MISSING and item.default is not None:
        standard = int(item.default) if isinstance(item.default, bool) else item.default
        written = {str(standard), f"{item.default:g}" if isinstance(item.default, float) else str(item.default)}
        cells = [cell.strip(" `") for row in rows for cell in row.replace(",", "").split("|")]
        assert any(cell.split(" ")[0].strip("`") in written for cell in cells), rows


@pytest.mark.parametrize("item", FIELDS, ids=lambda item: item.name)
def test_every_setting_is_read_from_its_environment_name(item: dataclasses.Field[Any]) -> None:
    raw, value = NAMED.get(item.name) or SAMPLES.get(str(item.type), ("/some/folder", Path("/some/folder")))
    assert getattr(Settings.from_env({environ_name(item): raw}), item.name) == value


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/", "/"),
        ("", "/"),
        ("tools/dash", "/tools/dash/"),
        ("/tools/dash/", "/tools/dash/"),
        ("/~me/x.y-z/", "/~me/x.y-z/"),
    ],
)
def test_a_path_has_a_slash_at_both_ends(raw: str, path: str) -> None:
    assert Settings(public_path=raw).public_path == path
    assert Settings.from_env(Settings(public_path=raw).to_env()).public_path == path


@pytest.mark.parametrize(
    "raw", ["http://host/x", "/a//b", "/a/../b", "/a b", "/a?b", "/a;b", '/"', "/a/%2e", "/é/", "/a\nb"]
)
def test_what_is_no_path_is_refused(raw: str) -> None:
    with pytest.raises(SettingsError, match="DASHBOARD_PUBLIC_PATH"):
        Settings(public_path=raw)


def test_an_old_name_still_works_and_the_log_names_the_new_one(caplog: pytest.LogCaptureFixture) -> None:
    assert Settings.from_env({"DASHBOARD_PATH": "tools/dash"}).public_path == "/tools/dash/"
    assert "DASHBOARD_PATH is now called DASHBOARD_PUBLIC_PATH" in caplog.text
    caplog.clear()
    both = {"DASHBOARD_PATH": "/old/", "DASHBOARD_PUBLIC_PATH": "/new/"}
    assert Settings.from_env(both).public_path == "/new/"
    child = Settings.from_env({"DASHBOARD_PATH": "/old/", **Settings(public_path="/old/").to_env()})
    assert child.public_path == "/old/"
    assert len(caplog.records) == 0, "a child that inherits both names does not repeat the line"


def test_an_empty_variable_is_the_default() -> None:
    assert Settings.from_env({"PORT": "", "DASHBOARD_CACHE_DIR": ""}) == Settings.from_env({})


def test_the_environment_given_to_a_child_makes_the_same_settings() -> None:
    roots = (Path("/one"), Path("/the other"))
    settings = Settings(
        port=9000, cache_dir=Path("/a b/c"), models_dir=Path("/m"), job_seconds=0.5, model_folders=roots
    )
    assert Settings.from_env(settings.to_env()) == settings
    assert "DASHBOARD_MODELS_DIR" not in Settings().to_env()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "80.5"),
        ("WEB_CONCURRENCY", "0"),
        ("DASHBOARD_JOB_SECONDS", "soon"),
        ("DASHBOARD_JOB_SECONDS", "-1"),
        ("DASHBOARD_WORKERS", "0"),
        ("DASHBOARD_WORKERS", "-2"),
        ("DASHBOARD_DEVICE", "gpu"),
        ("DASHBOARD_DEVICE", "cuda:x"),
        ("DASHBOARD_DTYPE", "float64"),
        ("DASHBOARD_DTYPE", "half"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(name: str, raw: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: raw})


@pytest.mark.parametrize("raw", ["nan", "inf"])
def test_a_number_that_is_none_is_refused(raw: str) -> None:
    with pytest.raises(SettingsError, match="DASHBOARD_STORE_GIGABYTES"):
        Settings.from_env({"DASHBOARD_STORE_GIGABYTES": raw})


def test_folders_follow_from_the_cache_folder() -> None:
    settings = Settings(cache_dir=Path("/c"))
    assert (settings.runs_folder, settings.queue_folder, settings.models_folder) == (
        Path("/c/runs"),
        Path("/c/queue"),
        Path("/c/models"),
    )
    assert Settings(cache_dir=Path("/c"), models_dir=Path("/m")).models_folder == Path("/m")


def test_a_home_folder_is_expanded() -> None:
    assert Settings.from_env({"DASHBOARD_CACHE_DIR": "~/runs"}).cache_dir == Path(os.path.expanduser("~/runs"))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("device", "dtype", "asked", "size", "words"),
    [
        ("cpu", "auto", None, 4, ""),
        ("cpu", "float32", None, 4, ""),
        ("cpu", "bfloat16", "bfloat16", 2, "in bfloat16"),
        ("cuda", "auto", "auto", 2, "on cuda"),
        ("cuda:1", "float32", None, 4, "on cuda:1"),
        ("mps", "float16", "float16", 2, "on mps in float16"),
        ("auto", "auto", "auto", 2, "on a GPU if there is one"),
    ],
)
def test_the_numbers_of_requests_follow_from_device_and_dtype(
    device: str, dtype: str, asked: str | None, size: int, words: str
) -> None:
    """On a GPU, only the worker knows the numbers of the model's own files."""
    settings = Settings.from_env({"DASHBOARD_DEVICE": device, "DASHBOARD_DTYPE": dtype})
    assert (settings.asked_dtype, settings.weight_bytes, words_of(device, dtype)) == (asked, size, words)


def test_a_device_and_numbers_that_are_none_are_refused_with_the_choices() -> None:
    with pytest.raises(SettingsError, match="DASHBOARD_DEVICE is 'gpu'; choose auto, cpu, cuda or mps"):
        Settings(device="gpu")
    with pytest.raises(SettingsError, match="DASHBOARD_DTYPE is 'half'; choose auto, float32, bfloat16 or float16"):
        Settings(dtype="half")
