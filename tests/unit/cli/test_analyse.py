"""The table of `analyse`: one row per token, whole texts only, and the command's words and exit codes where no model is
needed."""

from __future__ import annotations

import argparse
import csv
import errno
import io
from pathlib import Path

import numpy as np
import pytest

from dashboard.cli import main
from dashboard.cli._outputs import Files, OutputError, Table
from dashboard.cli._runs import Runs
from dashboard.cli.analyse import read_texts
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.exports.provenance import PROGRAM
from dashboard.exports.token_table import COLUMNS, KEY, clash, done_in, head_of, rows_of
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support.synthetic import make_run

TEXTS = (("The", " cat"), (" new\r\nline", '"q"', "#x", "a\rb", "\r"), ("日", "本", "=1", "."))


def runs() -> list[ModelRun]:
    return [make_run("causal", texts) for texts in TEXTS]


def runs_in(folder: Path, model: str = "tiny") -> Runs:
    """The runs of a server's folders, of which there are none yet."""
    return Runs(Settings(cache_dir=folder / "cache", models_dir=folder / "models"), model, lambda _line: None)


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model's weights are called "weights"."""
    monkeypatch.setattr("dashboard.catalog.catalog.Catalog.fingerprint", lambda *_args, **_more: "weights")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command of the test has its folders."""
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DASHBOARD_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path


def table_of(found: list[ModelRun]) -> bytes:
    return (head_of(found[0]) + "".join(rows_of(run, i + 1) for i, run in enumerate(found))).encode()


@pytest.mark.parametrize("kind", ["causal", "masked", "encoder"])
def test_rows_are_what_the_model_expected(kind: ModelKind) -> None:
    run = make_run(kind)
    rows = list(csv.reader(io.StringIO(rows_of(run, 7), newline="")))
    assert [row[:4] for row in rows] == [["7", run.key[:KEY], "6", str(i)] for i in range(6)]
    assert [row[4] for row in rows] == [token.text for token in run.tokens]
    surprisal = [float(row[6]) if row[6] else np.nan for row in rows]
    if kind == "encoder":
        assert {cell for row in rows for cell in row[6:11]} == {""}
        return
    expected = run.surprisal
    assert expected is not None
    assert np.array_equal(np.array(surprisal, dtype=np.float32), expected, equal_nan=True)
    shift = 1 if kind == "causal" else 0
    mode = "given" if kind == "causal" else "masked"
    ranks = run.arrays[f"{mode}/actual_rank"]
    assert [int(row[7]) for row in rows[shift:]] == [int(ranks[i]) for i in range(6 - shift)]
    best = np.exp(run.arrays[f"{mode}/top_logprobs"][:, 0].astype(float))
    assert [float(row[10]) for row in rows[shift:]] == pytest.approx((100 * best[: 6 - shift]).tolist())


def test_a_cut_table_keeps_its_whole_texts_at_every_byte() -> None:
    found = runs()
    content = table_of(found)
    ends = [len(table_of(found[: i + 1])) for i in range(3)]
    start = len(head_of(found[0]).encode())
    for size in range(len(content) + 1):
        done = done_in(content[:size])
        whole = [i for i in range(3) if ends[i] <= size]
        assert done.runs == {found[i].key[:KEY] for i in whole}, size
        assert done.size == (0 if size < start else [start, *ends][len(whole)]), size


@pytest.mark.usefixtures("weights")
def test_a_table_goes_on_where_it_stopped(tmp_path: Path) -> None:
    found, path = runs(), tmp_path / "new" / "t.csv"
    first = Table(path, runs_in(tmp_path))
    first.write(found[0], 1)
    first.write(found[1], 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    again = Table(path, runs_in(tmp_path))
    assert again.has(found[0].key, 9)
    assert not again.has(found[1].key, 2)
    again.write(found[1], 2)
    assert path.read_bytes() == whole
    assert len(COLUMNS) == 16


@pytest.mark.usefixtures("weights")
def test_a_table_of_another_model_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(table_of(runs())[:-5])
    content = path.read_bytes()
    with pytest.raises(
        OutputError, match=r"holds rows of Tiny model \(tiny\).* would be of other,.*choose another --out"
    ):
        Table(path, runs_in(tmp_path, "other"))
    assert path.read_bytes() == content


def test_what_would_belie_a_head() -> None:
    run = make_run("causal", model="/a\u00a0b/,=c")
    run = ModelRun({**run.header, "fingerprint": "abc"}, run.arrays)
    head = done_in((head_of(run) + rows_of(run, 1)).encode()).head
    assert clash(head, run.model.name, "abc") == ""
    assert "weights abc" in clash(head, run.model.name, "abd")
    assert "would be of c," in clash(head, "c", "abc")
    assert f"written by {PROGRAM}x" in clash(head.replace(PROGRAM, PROGRAM + "x"), run.model.name, "abc")
    assert "unknown" in clash("", "c", "abc")


def test_a_file_that_is_no_table_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "mine.csv"
    path.write_text("a,b\n1,2\n")
    assert main(["analyse", "--model", "smollm2-135m", "--text", "x", "--out", str(path)]) == 1
    assert "not a table of this command" in capsys.readouterr().err
    assert path.read_text() == "a,b\n1,2\n"


def parsed(**more: object) -> argparse.Namespace:
    values = {
        "file": None,
        "text": "x",
        "pair": None,
        "out": Path("x.csv"),
        "attention": False,
        "layer": None,
        "head": None,
        "derive": [],
    }
    return argparse.Namespace(**{**values, "token": None, "second": None, **more})


def test_a_file_is_one_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeffone \r\n\n  \n tw\u2028o\nthree".encode())
    found = list(read_texts(parsed(file=path)))
    assert [(text.line, text.text) for text in found] == [(1, "one "), (4, " tw\u2028o"), (5, "three")]


def test_files_are_named_by_line_and_key_and_skipped_by_key(tmp_path: Path) -> None:
    found = runs()
    files = Files(parsed(file=Path("t"), out=tmp_path / "run.npz"), ".npz", runs_in(tmp_path))
    assert files.write(found[0], 3) == tmp_path / "run-0003.npz"
    again = Files(parsed(file=Path("t"), out=tmp_path / "run.npz"), ".npz", runs_in(tmp_path))
    assert again.has(found[0].key, 3)
    assert again.has(found[0].key, 8)  # the same text once more
    assert not again.has(found[1].key, 3)
    with_attention = Files(parsed(file=Path("t"), out=tmp_path / "run.npz", attention=True), ".npz", runs_in(tmp_path))
    assert not with_attention.has(found[0].key, 3)
    named = Files(parsed(file=Path("t"), out=tmp_path / "{key}.safetensors"), ".safetensors", runs_in(tmp_path))
    assert named.write(found[1], 1) == tmp_path / f"{found[1].key[:16]}.safetensors"
    assert named.write(found[1], 1).exists()
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".npz", ".safetensors"]


def test_a_report_of_a_chosen_place(tmp_path: Path) -> None:
    run = make_run("causal")
    path = Files(parsed(out=tmp_path / "r.html", token=2, layer=0, head=1), ".html", runs_in(tmp_path)).write(run, 1)
    assert "Layer 0, head 1: what ·sat (2) attends to" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["run.npz", "t.csv", "r.html"])
def test_what_cannot_be_written_is_called_as_it_was_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "made-up.part")

    out = tmp_path / name
    output = Table(out, runs_in(tmp_path)) if name == "t.csv" else Files(parsed(out=out), out.suffix, runs_in(tmp_path))
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        output.write(make_run("causal"), 1)
    assert str(caught.value) == f"{out} cannot be written (No space left on device). Choose another --out."


@pytest.mark.usefixtures("weights")
def test_a_run_that_is_in_the_store_needs_no_model(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "models")
    run = make_run("causal")
    RunStore.from_settings(settings).save(run.key, run.header, run.arrays)
    shared = Runs(settings, "tiny", lambda _line: None)
    assert shared.key(run.text) == run.key
    again, computed = shared.get(run.text)
    assert (again.key, computed, shared.speed()) == (run.key, False, None)


def test_words_fit_the_shell_and_the_page(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    for model, text in (("tiny", " "), ("", "x")):
        assert main(["analyse", "--model", model, "--text", text, "--out", str(here / "x.csv")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    for word in ("the list.", "example", "page"):
        assert word not in said


@pytest.mark.usefixtures("weights")
def test_a_text_that_stands_twice_is_named_by_its_first_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("causal")
    RunStore.from_settings(Settings.from_env()).save(run.key, run.header, run.arrays)
    (here / "t.txt").write_text(f"{run.text}\n\n{run.text}\n")
    command = ["analyse", "--model", "tiny", "--file", str(here / "t.txt"), "--out", str(here / "t.csv")]
    assert main(command) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"line 1 (1 of 2): 6 tokens, from the saved runs → {here / 't.csv'}"
    assert second == "line 3 (2 of 2): is the same text as line 1, which is done"
    assert main(command) == 0
    assert capsys.readouterr().err.splitlines() == ["line 1 (1 of 2): is in the output already", second]


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("ending", "texts", "hint"), [("csv", 2, True), ("npz", 2, True), ("html", 2, False), ("csv", 1, False)]
)
def test_ctrl_c_says_whether_the_command_goes_on(
    ending: str, texts: int, hint: bool, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runs, "get", stop)
    (here / "t.txt").write_text("one\ntwo\n"[: 4 * texts])
    command = [
        "analyse",
        "--model",
        "tiny",
        "--file",
        str(here / "t.txt"),
        "--out",
        str(here / f"t.{ending}"),
        "--quiet",
    ]
    assert main(command) == 130
    more = " The same command continues there." if hint else ""
    assert capsys.readouterr().err == f"Stopped at line 1 (1 of {texts}).{more}\n"
    monkeypatch.setattr("dashboard.cli.analyse.Runs", stop)  # before the first text
    assert main(command) == 130
    assert capsys.readouterr().err == "Stopped.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--text", "x", "--out", "x.txt"], 2, "--out is x.txt"),
        (["--text", "x", "--out", "x.npz", "--layer", "0"], 2, "--layer changes nothing in a .npz file"),
        (["--text", "x", "--out", "x.csv", "--token", "3"], 2, "--token changes nothing in a .csv file"),
        (["--text", "x", "--out", "x.csv", "--attention"], 2, "--attention changes nothing"),
        (["--text", "x", "--out", "x.html", "--attention"], 2, "--attention changes nothing"),
        (["--text", "x", "--out", "x.html", "--head", "-1"], 2, "--head: -1"),
        (
            ["--model", "smollm2-135m", "--text", "x", "--out", "x.html", "--layer", "30"],
            2,
            "--layer is 30; smollm2-135m has layers 0 to 29",
        ),
        (
            ["--model", "smollm2-135m", "--text", "x", "--out", "x.html", "--head", "9"],
            2,
            "--head is 9; smollm2-135m has heads 0 to 8",
        ),
        (["--file", "no-such-file", "--out", "x.csv"], 1, "no-such-file cannot be read"),
        (["--text", "x"], 2, "--out"),
        (["--text", "x", "--file", "y", "--out", "x.csv"], 2, "--file"),
    ],
)
@pytest.mark.usefixtures("here")
def test_wrong_usage_is_refused_before_anything_is_loaded(
    arguments: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runs, "_load", lambda _self: pytest.fail("a model was loaded"))
    try:
        ended = main(["analyse", "--model", "tiny", *arguments])
    except SystemExit as error:
        ended = int(error.code or 0)
    assert ended == code
    said = capsys.readouterr().err.strip()
    assert len(said) > 20
    assert named in said.splitlines()[-1]
