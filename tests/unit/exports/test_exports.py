"""What leaves the page: each format read back by someone else's reader, with where it comes from, and the run's own
numbers."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from safetensors import safe_open

from dashboard import __version__, open_run, plot_attention_heads, save_run
from dashboard.contracts.model_info import ModelKind
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.table import Column, Table
from dashboard.errors import BadRequestError, MissingArrayError, RunNotFoundError, RunShapeError
from dashboard.exports import run_files
from dashboard.exports.document import figure_page
from dashboard.exports.figures import Standalone, laid_out, names, picture_json, standalone, text_of
from dashboard.exports.provenance import file_name, of_run
from dashboard.exports.report import report
from dashboard.exports.tables import comment, csv_of, guarded, original, with_segments
from dashboard.figures import attention as attention_figures
from dashboard.figures.attention import attention_picture, shades
from dashboard.figures.heads import heads_map
from dashboard.figures.theme import DARK, LIGHT
from dashboard.store.upgrades import made_now
from dashboard.views import all_views
from dashboard.views.library import context_of
from dashboard.views.state import ViewState
from tests.support.synthetic import OneRun, made_for, make_parts, make_run, masked_result, with_results

KINDS: tuple[ModelKind, ...] = ("causal", "encoder", "masked")
HOSTILE = ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "</script>", "#tag", '"', "\n", "#FFFFFF")
VIEWS = all_views()
NAMES = names(VIEWS)
PREDICT = ("prediction", "lens", "through")  # of these, what a model without a prediction head does not have
TODAY = {"attention", "heads", "hidden", "path", "layers", *PREDICT}


def whole_run(kind: ModelKind = "causal", **options: Any) -> ModelRun:
    """A run with a header as capture writes it, and its lenses."""
    header, arrays = make_parts(kind, **options)
    made = {"fingerprint": "f" * 64, "version": "9.9.9", "created": "2026-01-02T03:04:05+00:00", **made_now()}
    run = ModelRun({**header, **made}, arrays)
    return with_results(run)


def state_of(run: ModelRun, **options: str) -> ViewState:
    query = {"run": run.key, "token": "3", "layer": "1", "head": "1", "second": "1", **options}
    return ViewState.from_query(query, VIEWS)


def why_not(name: str, run: ModelRun) -> bool:
    """Whether the view says why it has nothing to show of this run."""
    state = state_of(run)
    words = [view.text(context_of(view, state, OneRun(run))) for view in VIEWS if view.name == name]
    return any(said.message is not None and not said.waiting for said in words)


def found(name: str, run: ModelRun, **options: str) -> Standalone:
    return standalone(name, state_of(run, **options), VIEWS, OneRun(run))


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_nothing_to_show_says_why(kind: ModelKind) -> None:
    run = whole_run(kind)
    assert {name for name in TODAY if why_not(name, run)} == (set(PREDICT) if kind == "encoder" else set())


# figures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_figure_stands_alone_with_where_it_comes_from(kind: ModelKind, name: str, theme: Any) -> None:
    run = whole_run(kind)
    if why_not(name, run):
        with pytest.raises(MissingArrayError, match="no token predictions" if name in PREDICT else None):
            found(name, run)
        return
    one = found(name, run)
    figure, _notes = laid_out(one, theme)
    texts = [note.text for note in figure.layout.annotations]
    assert any(one.title.split()[0] in text for text in texts)
    for part in (
        "Text: The cat sat on it.",
        "Tiny model (tiny), weights ffffffffffff",
        f"dashboard {__version__}",
        run.key[:12],
    ):
        assert any(part in text for text in texts), part
    assert figure.layout.paper_bgcolor == theme.surface
    assert "var(--" not in figure.to_json()
    assert not re.search(r"#[0-9A-Fa-f]{6}\b", one.drawn().to_json()), "it names its colours"
    plain = one.paint(theme).layout
    assert figure.layout.height - figure.layout.margin.t - figure.layout.margin.b == pytest.approx(
        plain.height - plain.margin.t - (plain.margin.b or 0)
    )
    entries = dict(one.provenance.entries)
    assert entries["Model"] == "Tiny model (tiny)"
    assert entries["Weights (SHA-256)"] == "f" * 64
    assert entries["Text"] == run.text
    assert entries["Run"] == run.key
    assert entries["Token"] == "3 “·on”"
    assert entries["Run made"].endswith("by version 9.9.9")


def test_a_figure_names_only_what_it_depends_on_and_its_settings() -> None:
    run = whole_run()
    hidden = dict(found("hidden", run, **{"hidden-first": "keep"}).provenance.entries)
    assert "Head" not in hidden
    assert hidden["Layer"] == "1"
    assert hidden["Setting: Outlier tokens"] == "All tokens kept"
    path = found("path", run)  # the page marks the layer by itself, a file has it drawn
    assert dict(path.provenance.entries)["Layer"] == "1"
    assert path.file_name("csv") == f"tiny_path_layer1_token3_second1_{run.key[:8]}.csv"
    assert "Layer" not in dict(found("hidden", run, **{"hidden-at": "embeddings"}).provenance.entries)
    assert "Layer" not in dict(found("prediction", run).provenance.entries)
    assert found("prediction", run).file_name("csv") == f"tiny_prediction_token3_second1_{run.key[:8]}.csv"
    assert found("attention", run).file_name("csv") == f"tiny_attention_layer1_head1_token3_second1_{run.key[:8]}.csv"


def test_names_of_files_are_safe() -> None:
    run = whole_run(model="../we ird/mo:del*")
    assert file_name(run, "a/b", "..", suffix="png") == f"mo-del_a-b_{run.key[:8]}.png"


def test_an_unknown_figure_is_refused_by_name() -> None:
    with pytest.raises(BadRequestError, match=r"no figure “nothing”\. Choose one of these: attention,"):
        found("nothing", whole_run())


def test_the_exported_heatmap_has_labels_exact_weights_and_frames_within_the_mask() -> None:
    run = whole_run()
    figure = found("attention", run).paint(LIGHT)
    weights = run.attention(1, 1)
    assert [float(cell) for cell in figure.data[0].customdata[3, :, 2]] == weights[3].tolist()
    assert "·cat" in figure.layout.xaxis.ticktext[-1]
    assert "<b" in figure.layout.xaxis.ticktext[-1]
    row = next(shape for shape in figure.layout.shapes if shape.line.color == LIGHT.selected)
    assert (row.x0, row.x1, row.y0, row.y1) == (-0.5, 3.5, 2.5, 3.5)
    column, second = [shape for shape in figure.layout.shapes if shape.line.dash]
    assert (column.x0, column.x1, column.y0, column.y1) == (0.5, 1.5, 0.5, 5.5)
    assert (second.x0, second.x1, second.y0, second.y1) == (-0.5, 1.5, 0.5, 1.5)
    bold = [text for text in figure.layout.yaxis.ticktext if "<b" in text]
    assert [colour in text for colour, text in zip((LIGHT.ink, LIGHT.selected), bold, strict=True)] == [True, True]
    assert list(figure.data[-1].marker.colorbar.ticktext)[-1] == "1"


def test_a_long_text_becomes_a_picture_of_blocks_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_figures, "LARGEST_PICTURE", 4)
    shade = np.arange(100, dtype=np.uint8).reshape(10, 10)
    pooled: list[np.ndarray] = []
    monkeypatch.setattr(attention_figures, "_picture", lambda cells: pooled.append(cells) or {"source": "data:,"})
    figure = attention_picture(shade, [str(i) for i in range(10)], [str(i) for i in range(10)])
    parts = [(0, 3), (2, 5), (5, 8), (7, 10)]  # 2.5 tokens each
    assert pooled[0].tolist() == [[int(shade[a:b, c:d].max()) for c, d in parts] for a, b in parts]
    assert (figure.layout.images[0].sizex, figure.layout.images[0].sizey) == (10, 10)
    assert "largest of up to 3 × 3 weights" in figure.layout.annotations[0].text
    assert len(str(figure.to_json())) < 10_000


def test_a_long_text_has_no_cells_in_its_json() -> None:
    run = whole_run(texts=[f" w{i}" for i in range(300)])
    assert len(picture_json(found("attention", run), LIGHT)) < 400_000


def test_all_heads_from_plain_attention() -> None:
    rng = np.random.default_rng(3)
    attentions = [rng.dirichlet(np.ones(40), size=(1, 3, 40)) for _layer in range(2)]
    figure = plot_attention_heads(attentions, 1, 2)
    assert len(figure.layout.images) == 2
    assert figure.layout.xaxis.title.text == "head"
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].y0) == (1.5, 0.5)
    with pytest.raises(RunShapeError, match="one text at a time"):
        plot_attention_heads([np.zeros((2, 3, 4, 4))])
    with pytest.raises(RunShapeError, match="output_attentions"):
        plot_attention_heads([])
    with pytest.raises(RunShapeError):
        heads_map(np.zeros((2, 2, 3), dtype=np.uint8))


def test_thumbnails_of_plain_attention_are_largest_weights() -> None:
    weights = np.tril(np.random.default_rng(5).random((70, 70)))
    from dashboard.figures.heads import _thumbnail

    made = _thumbnail(weights)
    for row, column in ((0, 0), (31, 0), (31, 31), (12, 7)):
        rows = [i for i in range(70) if i * 32 // 70 == row]
        columns = [j for j in range(70) if j * 32 // 70 == column]
        assert made[row, column] == shades(weights[np.ix_(rows, columns)].max()[None])[0]
    assert made[3, 20] == 0


def test_words_of_a_card_as_a_line() -> None:
    from dash import html

    footer = [html.Span("reads", className="x"), html.Span([html.Span(["·to", " 1"]), html.B("0.5")])]
    assert text_of(footer, " ") == "reads ·to 1 0.5"


# tables


def read_csv(text: str) -> tuple[dict[str, str], list[list[str]]]:
    lines = text.removeprefix("\ufeff").split("\r\n")
    head = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    return head, list(
        csv.reader(io.StringIO("\r\n".join(line for line in lines if not line.startswith("# ")), newline=""))
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_read_back(kind: ModelKind, name: str) -> None:
    run = whole_run(kind)
    if why_not(name, run):
        return
    one = found(name, run)
    table = one.whole()
    assert table is not None
    content = "".join(csv_of(table, one.provenance))
    assert content.startswith("\ufeff# ")
    head, rows = read_csv(content)
    assert head["Model"] == "Tiny model (tiny)"
    assert head["Text"] == run.text
    assert head["Program"] == f"Transformer dashboard {__version__}"
    assert len(rows) == 1 + table.count
    assert {len(row) for row in rows} == {len(table.columns)}


def test_weights_in_a_csv_are_the_heads() -> None:
    run = whole_run()
    one = found("attention", run)
    _head, rows = read_csv("".join(csv_of(one.whole(), one.provenance)))  # type: ignore[arg-type]
    weights = run.attention(1, 1)
    read = np.full(weights.shape, np.nan, dtype=np.float32)
    for query, _text, key, _name, weight, *_labels in rows[1:]:
        read[int(query), int(key)] = float(weight) if weight else 0.0
    assert np.array_equal(read, weights)


def test_hostile_texts_in_a_csv() -> None:
    texts = ("=1+1", "+x", "-", "@a", "'=x", "'s", "a,b", 'q"q', "two\r\nlines", "#hash", "", "\t", "日本")
    table = Table("hostile", (Column("text"), Column("n", "nats")), ((t, 0.5) for t in texts), len(texts))
    run = whole_run(texts=("a\nb", "c"))
    content = "".join(csv_of(table, of_run(run)))
    assert '\r\n# Text: "a\\nbc"\r\n' in content
    rows = list(csv.reader(io.StringIO(content.split("\r\n", content.count("\r\n# ") + 1)[-1], newline="")))
    assert rows[0] == ["text", "n (nats)"]
    assert tuple(original(row[0]) for row in rows[1:]) == texts
    assert not [row[0] for row in rows[1:] if row[0][:1] in tuple("=+-@\t\r") and row[0]]
    assert guarded("'s") == "'s"
    assert all(line.startswith('"') for line in content.split("\r\n") if "hash" in line)


@pytest.mark.parametrize(
    "text", ["a,=1+1", "a;=1", "a, +x", 'a,"=1"', "a|@b", "a,\t=1", "a,'-1", "a\n,=1", "a,\n=1"], ids=repr
)
def test_no_cell_of_a_comment_is_a_formula(text: str) -> None:
    """Read as a spreadsheet reads it, with each of the separators that they take."""
    line = comment("Text", text)
    assert line.startswith("# Text: ")
    for separator in ",;|\t":
        cells = next(csv.reader([line], delimiter=separator))
        assert [cell for cell in cells if cell.strip()[:1] in tuple("=+-@") and cell.strip()] == []
    assert comment("Text", "a, b; c - d = e") == "# Text: a, b; c - d = e\r\n"


def test_numbers_in_a_csv_are_exact_for_float32() -> None:
    values = np.random.default_rng(1).normal(size=200).astype(np.float32)
    table = Table("numbers", (Column("x"),), ((float(v),) for v in values), len(values))
    _head, rows = read_csv("".join(csv_of(table, of_run(whole_run()))))
    assert np.array_equal(np.array([row[0] for row in rows[1:]], dtype=np.float32), values)


# pages


class Page(HTMLParser):
    """What a page holds: texts, metas, stored JSON, addresses."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.metas: dict[str, str] = {}
        self.scripts: list[dict[str, str | None]] = []
        self.stored: dict[str, str] = {}
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._inside: dict[str, str | None] | None = None
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        if tag == "meta" and named.get("name"):
            self.metas[str(named["name"])] = str(named["content"])
        self.addresses += [str(named[name]) for name in ("src", "href", "action", "data") if named.get(name)]
        self._inside = named if tag in {"script", "style"} else None
        if tag == "script":
            self.scripts.append(named)

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self.texts.append(data)
        elif self._inside.get("id"):
            self.stored[str(self._inside["id"])] = data


@pytest.mark.parametrize("name", NAMES)
def test_a_figures_page_stands_alone_and_says_where_it_comes_from(name: str) -> None:
    run = made_for(name, HOSTILE)
    one = found(name, run)
    content = figure_page(one)
    page = Page(content)
    assert page.addresses == []
    assert "default-src 'none'" in content
    assert len(page.scripts) == 5  # palettes, figure, plotly.js, what puts the colours in, and what draws
    assert page.metas["dashboard:model"] == "Tiny model (tiny)"
    assert page.metas["dashboard:text"] == run.text
    assert page.metas["generator"] == f"Transformer dashboard {__version__}"
    assert page.tags.count("h1") == 1
    stored = json.loads(page.stored["figure-0-data"])["figure"]
    assert go.Figure(stored).data[0].type == one.paint(LIGHT).data[0].type
    words = " ".join(page.texts)
    assert run.key in words
    assert 'role="img" aria-label="' in content
    assert "<script>alert" not in content


def test_a_report_has_every_figure_the_strip_numbers_and_the_link() -> None:
    run = whole_run(texts=("The", " <b>cat", " sat", " on", " it", "."))
    state = state_of(run, **{"hidden-fit": "all"})
    content = report(state, VIEWS, OneRun(run), "https://dashboard.example/team/")
    page = Page(content)
    figures = [name for name in page.stored if name.endswith("-data")]
    shown = state.open_views(VIEWS)
    assert [view.name for view in shown] == ["attention", "hidden", "prediction"], "the open tabs"
    assert len(figures) == len(shown) + sum(len(view.more) for view in shown)
    other = report(state_of(run, hidden="path"), VIEWS, OneRun(run), "https://dashboard.example/team/")
    assert "on the path of" in " ".join(Page(other).texts)
    assert "hidden=path" in " ".join(Page(other).texts)
    assert content.count("plotly.js v") == 1
    assert page.addresses == []
    words = " ".join(page.texts)
    assert "·<b>cat" in words
    surprisal = run.surprisal
    assert surprisal is not None
    assert all(f"{value:.2f}" in words for value in surprisal[1:])
    assert f"https://dashboard.example/team/?run={run.key}&" in words
    assert "hidden-fit=all" in words
    assert "Address of this view" not in report(state, VIEWS, OneRun(run))
    assert page.tags.count("h1") == 1
    assert page.tags.count("table") == len([view for view in shown if view.table])
    assert "Hidden states: Fit the components on" in words


def test_a_report_says_what_cannot_be_drawn() -> None:
    run = whole_run("encoder")
    words = " ".join(Page(report(state_of(run), VIEWS, OneRun(run))).texts)
    assert "no token predictions" in words
    assert "no surprisal" in words


def test_the_prediction_of_a_position_that_was_filled_later_is_exported_as_shown() -> None:
    run = whole_run("masked", masked=False)
    with pytest.raises(MissingArrayError, match="for token 3 has not been computed yet"):
        found("prediction", run)
    result = masked_result(run.key, 3)
    table = standalone("prediction", state_of(run), VIEWS, OneRun(run, result)).whole()
    assert table is not None
    expected = result.arrays["masked/top_logprobs"][0]
    file = standalone("prediction", state_of(run), VIEWS, OneRun(run.with_derived([result]))).whole()
    assert file is not None
    assert list(file.rows) == list(table.rows), "a file that holds the result shows it, too"
    assert [row[4] for row in table.rows][: len(expected)] == [float(value) for value in expected]


# runs


def assert_equal_runs(one: ModelRun, other: ModelRun) -> None:
    assert one.header == other.header
    assert one.tokens == other.tokens
    for name in one.arrays:
        a, b = np.asarray(one.arrays[name]), np.asarray(other.arrays[name])
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", run_files.FORMATS)
@pytest.mark.parametrize("attention", [False, True])
def test_a_run_comes_back_exactly(kind: ModelKind, suffix: Any, attention: bool, tmp_path: Path) -> None:
    run = whole_run(kind, layers=11, heads=2, texts=("日本", " <b>", "'=x", "\n"))
    path = tmp_path / f"run.{suffix}"
    with path.open("wb") as file:
        run_files.write_run(run, file, suffix, attention)
    again = open_run(path)
    assert_equal_runs(run, again)
    assert set(again.arrays) - set(run.arrays) == (
        {f"{run.main.name}/attention/{i}" for i in range(11)} if attention else set()
    )
    if attention:
        assert np.array_equal(again.arrays[f"{run.main.name}/attention/10"][1], run.attention(10, 1))
    if again.has_predictions:
        assert again.top_k(1, 3) == run.top_k(1, 3)
    assert again.hidden_states[0].flags.writeable is False


def test_an_npz_is_read_without_pickle(tmp_path: Path) -> None:
    run = whole_run()
    path = tmp_path / "run.npz"
    with path.open("wb") as file:
        run_files.write_run(run, file, "npz")
    with np.load(path, allow_pickle=False) as stored:
        header = json.loads(str(stored["header"]))
        about = json.loads(str(stored["about"]))
        assert stored["tokens"].tolist() == [token.text for token in run.tokens]
        assert np.array_equal(stored["decoder/hidden_states/1"], run.hidden_states[1])
    assert header["request"]["text"] == run.text
    assert header["version"] == "9.9.9"
    assert about["Program"] == f"Transformer dashboard {__version__}"
    assert "open_run" in about["How to read it"][0]


def test_a_safetensors_file_is_read_by_the_library(tmp_path: Path) -> None:
    run = whole_run()
    path = tmp_path / "run.safetensors"
    with path.open("wb") as file:
        run_files.write_run(run, file, "safetensors", attention=True)
    with safe_open(path, framework="np") as stored:
        metadata = stored.metadata()
        assert json.loads(metadata["header"])["key"] == run.key
        assert json.loads(metadata["about"])["Text"] == run.text
        assert np.array_equal(stored.get_tensor("decoder/query/1"), run.arrays["decoder/query/1"])
        assert np.allclose(stored.get_tensor("decoder/attention/0").sum(axis=-1), 1, atol=1e-6)


def test_too_much_attention_is_refused_with_the_way_to_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "MOST_ATTENTION", 100)
    with pytest.raises(BadRequestError, match="computes each of them again"):
        run_files.write_run(whole_run(), io.BytesIO(), "npz", attention=True)
    with pytest.raises(BadRequestError, match="npz or safetensors"):
        run_files.write_run(whole_run(), io.BytesIO(), "pickle")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 not a zip", b"\x10\0\0\0\0\0\0\0{}", b"hello world, this is no run"]
)
def test_a_file_that_is_no_run_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BadRequestError, match="not a run"):
        open_run(tmp_path / "x")


def test_a_run_is_saved_by_its_ending(tmp_path: Path) -> None:
    run = whole_run()
    for suffix in run_files.FORMATS:
        assert_equal_runs(run, open_run(save_run(run, tmp_path / f"a.{suffix}")))
    with pytest.raises(BadRequestError, match="npz or safetensors"):
        save_run(run, tmp_path / "a.pkl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "a.safetensors"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="Check the path"):
        open_run(tmp_path / "nothing.npz")


def test_another_revision_and_a_pair_are_named() -> None:
    header, arrays = make_parts()
    header["request"] = {**header["request"], "revision": "abc123", "text_pair": "Second."}
    entries = dict(of_run(ModelRun(header, arrays)).entries)
    assert entries["Revision"] == "abc123"
    known = of_run(ModelRun({**header, "source": "commit 93efa2f"}, arrays))
    assert dict(known.entries)["Revision"] == "abc123, commit 93efa2f"
    assert "abc123, commit 93efa2f" in known.brief[2]
    assert known.brief[1] == "Second text: Second."
    assert entries["Second text"] == "Second."
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entries["Exported"])


def test_the_pictures_json_is_whole() -> None:
    run = whole_run(texts=HOSTILE)
    stored = json.loads(picture_json(found("attention", run), DARK))
    assert set(stored) >= {
        "title",
        "description",
        "provenance",
        "figure",
        "width",
        "height",
        "name",
        "program",
        "ground",
    }
    assert stored["provenance"]["Text"] == run.text
    assert stored["ground"] == DARK.surface
    assert stored["figure"]["layout"]["width"] == stored["width"]
    assert all(
        ElementTree.fromstring(f"<a>{note['text']}</a>") is not None
        for note in stored["figure"]["layout"]["annotations"]
    )


def test_the_selection_without_a_second_token() -> None:
    run = make_run()
    state = replace(state_of(run), selection=Selection(run.key, 2, 0, 0))
    one = standalone("attention", state, VIEWS, OneRun(run))
    assert "Second token" not in dict(one.provenance.entries)
    assert len(one.paint(LIGHT).layout.shapes) == 1


@pytest.mark.parametrize("name", ["hidden", "path"])
def test_files_mark_and_name_added_tokens(name: str) -> None:
    run = whole_run()
    one = found(name, run, tokens="5,4,3")  # 3 is the selected one
    assert dict(one.provenance.entries)["Added tokens"] == "5 “.”, 4 “·it”, 3 “·on”"
    assert "Added tokens" not in dict(found(name, run).provenance.entries)
    rings = [
        trace
        for trace in one.drawn().data
        if trace.mode == "markers" and trace.marker.symbol == "circle-open" and trace.marker.line.width == 1
    ]
    assert [len(trace.x) for trace in rings] == [2]
    assert len(one.drawn().data) == len(found(name, run).drawn().data) + 2, "their points, and their rings"


def test_a_report_marks_added_tokens_in_strip_and_table() -> None:
    run = whole_run()
    page = report(state_of(run, tokens="5,4,1"), VIEWS, OneRun(run))
    strip = page[page.index('<ol class="strip">') : page.index("</ol>")]
    marks = [item.removeprefix("tok").strip() for item in re.findall(r'<li class="(tok[^"]*)"', strip)]
    assert marks == ["", "second", "", "selected", "added", "added"]
    assert "Framed: the selected token; dashed: the second; thin: added tokens." in page
    rows = re.findall(r"<tr( class=\"added\")?><td>(\d)</td><td class=\"text\">", page[page.index("Tokens") :])
    assert [place for mark, place in rows if mark] == ["4", "5"]
    alone = report(state_of(run), VIEWS, OneRun(run))
    assert "Framed: the selected token; dashed: the second." in alone
    assert 'class="added"' not in alone


def test_a_report_of_a_pair_has_both_texts_and_a_divider_between_them() -> None:
    run = make_run("masked", second_at=3)
    page = report(state_of(run), VIEWS, OneRun(run))
    assert re.search(r"<h1>[^:]*: <bdi>The cat sat</bdi> \| <bdi>on it\.</bdi></h1>", page)
    strip = page[page.index('<ol class="strip">') : page.index("</ol>")]
    before, after = strip.split('<li class="second-begins" aria-label="Second text"></li>')
    assert (before.count("<bdi>"), after.count("<bdi>")) == (3, 3)
    alone = make_run("masked")
    assert 'class="second-begins"' not in report(state_of(alone), VIEWS, OneRun(alone))


def test_tables_of_a_pair_say_the_segment_of_each_token() -> None:
    segments = np.array([-1, 0, 1], np.int8)
    rows = [(query, "a", key, "b", 0.5) for query in range(3) for key in range(3)]
    names = [Column(name) for name in ("Query", "Query token", "Key", "Key token", "Weight")]
    found = with_segments(Table("t", tuple(names), iter(rows), 9), segments)
    assert [column.name for column in found.columns[5:]] == ["Query segment", "Key segment"]
    known = (None, 0, 1)
    assert list(found.rows) == [(*row, known[row[0]], known[row[2]]) for row in rows]
    other = Table("t", (Column("Rank"),), [(1,)], 1)
    assert with_segments(other, segments) is other
    vectors = tuple(Column(name) for name in ("Dimension or term", "Query", "Key", "Adds"))
    assert with_segments(Table("t", vectors, [(1, 0.5, 2.0, 1.0)], 1), segments).columns == vectors, "no positions"
