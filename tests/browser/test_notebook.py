"""The tour in notebooks/: executed in a kernel as Jupyter executes it; its linked cell used from a page of another
origin."""

from __future__ import annotations

import http.server
import math
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nbformat
import pytest
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect

from dashboard.settings import Settings
from tests.support.person import cut_above_the_heatmap, unreadable
from tests.support.server import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.integration]
TOUR = ROOT / "notebooks" / "tour.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
FIGURES = {  # cells that end with a figure → the kinds of its traces
    "attention-code": "heatmap",
    "attention-query-key": "bar",
    "hidden-code": "scatter",
    "hidden-3d": "scatter3d",
    "plain-heads": "scatter",
    "plain-heatmap": "heatmap",
    "plain-aggregate": "heatmap",
    "plain-lines": "scatter",
    "plain-everywhere": "heatmap",
    "plain-scores": "heatmap",
    "plain-pca": "scatter",
    "plain-probabilities": "bar",
    "plain-lens": "heatmap",
    "masked-code": "heatmap",
    "own-code": "heatmap",
    "own-pca": "scatter",
    "own-probabilities": "bar",
    "own-classes": "bar",
    "own-norms": "heatmap",
}
T = TypeVar("T")


@dataclass
class Kernel:
    """The executed tour and its kernel, which lives on; a thread of its own talks to it (Playwright has this one)."""

    notebook: Any
    client: NotebookClient
    pool: ThreadPoolExecutor
    temporary: Path

    def within(self, work: Callable[[], T]) -> T:
        return self.pool.submit(work).result(300)

    def cell(self, name: str) -> Any:
        return next(cell for cell in self.notebook.cells if cell.id == name)

    def printed(self, name: str) -> str:
        return "".join(output.text for output in self.cell(name).outputs if output.output_type == "stream")

    def data(self, name: str) -> dict[str, Any]:
        return dict(self.cell(name).outputs[-1].data)

    def run(self, code: str) -> str:
        """Execute one more cell, and what it prints."""
        self.notebook.cells.append(nbformat.v4.new_code_cell(code, id=f"more-{len(self.notebook.cells)}"))
        at = len(self.notebook.cells) - 1
        self.within(lambda: self.client.execute_cell(self.notebook.cells[at], at))
        return self.printed(self.notebook.cells[at].id)


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    place = tmp_path_factory.mktemp("kernel")
    own = {
        name: str(place / name)
        for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    for folder in own.values():
        Path(folder).mkdir()
    settings = Settings(cache_dir=place / "cache", models_dir=Settings.from_env().models_folder)
    notebook = nbformat.read(TOUR, as_version=4)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        for name, folder in own.items():
            patch.setenv(name, folder)
        client = NotebookClient(
            notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(TOUR.parent)}}
        )
        kernel = Kernel(notebook, client, pool, Path(own["TMPDIR"]))
        environ = {**os.environ, **settings.to_env()}
        entered = client.setup_kernel(env=environ)
        kernel.within(entered.__enter__)
        try:
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type == "code":
                    kernel.within(lambda index=index, cell=cell: client.execute_cell(cell, index))  # type: ignore[misc]
            yield kernel
        finally:
            kernel.within(lambda: entered.__exit__(None, None, None))
            kernel.within(lambda: ensure_event_loop().close())


# the file


def test_the_file_holds_no_outputs_and_nothing_of_a_machine() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []
    assert [cell.id for cell in code if len(cell.source.splitlines()) > 16] == []
    assert notebook.metadata.kernelspec.name == "python3"
    assert str(Path.home()) not in TOUR.read_text(encoding="utf-8")
    assert {cell.id for cell in code if "plot_" in cell.source} - {"own-error"} == set(FIGURES)


def test_every_figure_function_is_in_it() -> None:
    import dashboard

    text = TOUR.read_text(encoding="utf-8")
    assert [name for name in dashboard.__all__ if name.startswith("plot_") and f"dashboard.{name}(" not in text] == []


# what it computes and says


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_shown(tour: Kernel, name: str) -> None:
    figure = tour.data(name)[PLOTLY]
    assert figure["data"][0]["type"] == FIGURES[name]
    assert figure["layout"]["title"]["text"]
    assert figure["layout"]["paper_bgcolor"] == "#FFFFFF", "readable in a dark notebook too"


def test_nothing_is_written_beside_what_the_cells_print(tour: Kernel) -> None:
    outputs = [(cell.id, output) for cell in tour.notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [(name, output.text) for name, output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.parametrize(
    ("prose", "said", "cell", "shown"),
    [
        (
            "attention",
            "`·to` (15) attends to `·Mary` (1) with weight 0.705",
            "attention-code",
            "' to' attends to ' Mary' with weight 0.705",
        ),
        ("hidden-first", "its norm is 49 times the others' median", "hidden-first-code", "ratio 49"),
        ("predictions", "`·Mary` with 92.7 %", "predictions-code", "' Mary'        92.7%"),
        ("predictions", "`·shops` has 10.79 nats", "predictions-code", "' shops'    10.79 nats"),
        ("predictions", "the second `·Mary` 0.08", "predictions-code", "' Mary'      0.08 nats"),
        ("effect", "it falls from 92.7 % to 87.0 %", "effect-code", "23.0: weight 0.705, without it 87.0%"),
        (
            "effect",
            "0.848; without it the probability *rises*, to 97.7 %",
            "effect-code",
            "24.4: weight 0.848, without it 97.7%",
        ),
        (
            "masked",
            "attends to the reactant's `S` (6) with weight 0.920",
            "masked-code",
            "45 attends to 6 with weight 0.920",
        ),
        ("masked", "the model predicts `S` with 96.5 %", "masked-code", "masked: 'S' 96.5%"),
        ("masked", "when it may read it, 99.4 %", "masked-code", "given: 'S' 99.4%"),
    ],
)
def test_the_prose_says_what_the_cells_show(tour: Kernel, prose: str, said: str, cell: str, shown: str) -> None:
    assert said in " ".join(tour.cell(prose).source.split())
    assert shown in tour.printed(cell)


def test_an_untrained_model_knows_nothing(tour: Kernel) -> None:
    assert f"{math.log(49152):.2f} nats" in tour.cell("wrap").source
    mean = float(tour.printed("wrap-code").split("mean surprisal ")[1].split()[0])
    assert mean == pytest.approx(math.log(49152), abs=0.1)


# the linked cell


@dataclass
class Cell:
    """The linked cell's output in a page of another origin, as Jupyter shows it."""

    page: Page
    frame: Frame
    log: list[str]

    def wait(self, condition: str, value: object = None) -> None:
        self.frame.wait_for_function(condition, arg=value, timeout=60_000)

    def follows(self, token: int, layer: int, head: int) -> None:
        """Wait until every card is of this place."""
        self.wait(
            """([token, layer, head]) => {
                const { selection } = (window.dashboardApp || { state: {} }).state;
                const of = (id) => ((document.querySelector(`#${id} .js-plotly-plot`) || {}).layout || {}).meta || {};
                const map = of("attention-graph");
                return selection && selection.token === token && selection.layer === layer && selection.head === head
                    && map.layer === layer && map.head === head && of("hidden-graph").layer === layer;
            }""",
            [token, layer, head],
        )


@pytest.fixture
def around(browser: Browser) -> Iterator[Callable[..., Cell]]:
    """Puts a cell's HTML into a page that another server gives."""
    contexts: list[BrowserContext] = []
    servers: list[http.server.ThreadingHTTPServer] = []
    cells: list[Cell] = []

    def put(output: str, host: str = "localhost") -> Cell:
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _answering(output)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        contexts.append(browser.new_context(viewport={"width": 1060, "height": 1060}))
        page, log = contexts[-1].new_page(), []
        page.on("console", lambda message: log.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: log.append(str(error)))
        page.goto(f"http://{host}:{servers[-1].server_port}/")
        frame = page.wait_for_selector("iframe").content_frame()
        assert frame is not None
        cells.append(Cell(page, frame, log))
        return cells[-1]

    yield put
    for context in contexts:
        context.close()
    for server in servers:
        server.shutdown()
        server.server_close()
    assert [line for cell in cells for line in cell.log] == []


def _answering(output: str) -> type[http.server.BaseHTTPRequestHandler]:
    page = (
        f'<!doctype html><html lang="en"><link rel="icon" '
        f'href="data:,"><title>Notebook</title><body>{output}</body></html>'
    )

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Answer


def test_the_linked_cell_is_linked(tour: Kernel, around: Callable[..., Cell]) -> None:
    cell = around(tour.data("linked-code")["text/html"])
    cell.follows(15, 23, 0)
    frame = cell.frame
    expect(frame.locator("h1")).to_have_text("SmolLM2-135M-Instruct: 18 tokens, 30 layers × 9 heads")
    expect(frame.locator("#prediction-heading h2")).to_contain_text("the model expects ·Mary, 92.7 %")
    expect(frame.locator("#attention-footer")).to_contain_text("0.705")

    frame.locator('#tokens [data-token="3"]').click()
    cell.follows(3, 23, 0)
    expect(frame.locator("#attention-heading h2")).to_have_text("Layer 23, head 0: what ·John (3) attends to")
    expect(frame.locator("#prediction-heading h2")).to_contain_text("After “When Mary and John”, ")
    expect(frame.locator("#selected-token")).to_contain_text("·John")
    expect(frame.locator('#tokens [data-token="3"]')).to_have_attribute("aria-pressed", "true")

    frame.locator('#attention-heads button[data-layer="5"][data-head="2"]').click()
    cell.follows(3, 5, 2)
    expect(frame.locator("#hidden-heading h2")).to_contain_text("After layer 5")
    frame.locator('#tokens [data-token="3"]').focus()
    cell.page.keyboard.press("ArrowRight")
    cell.follows(4, 5, 2)


def test_the_linked_cell_shows_nothing_that_it_cannot_do(tour: Kernel, around: Callable[..., Cell]) -> None:
    cell = around(tour.data("linked-code")["text/html"])
    cell.follows(15, 23, 0)
    for name in ("text", "run", "model", "cancel", "copy-link", "model-state", "examples-card"):
        expect(cell.frame.locator(f"#{name}").first).to_be_hidden()
    for name in ("tokens", "selection-bar", "attention-card", "hidden-card", "prediction-card", "theme-switch"):
        expect(cell.frame.locator(f"#{name}")).to_be_visible()
    assert cell.frame.evaluate("() => document.documentElement.scrollHeight <= innerHeight"), (
        "all of it without scrolling"
    )
    before = cell.frame.evaluate("() => document.documentElement.dataset.theme")
    for _ in range(2):
        cell.frame.locator("#theme-switch").click()
    assert before == "light"
    expect(cell.frame.locator("html")).to_have_attribute("data-theme", "dark")
    cell.frame.locator('#tokens [data-token="7"]').click()
    cell.follows(7, 23, 0)
    with cell.page.context.expect_page() as opened:
        cell.frame.locator("#open-tab").click()
    opened.value.wait_for_function(
        "() => ((window.dashboardApp || { state: {} }).state.selection || {}).token === 7", timeout=60_000
    )
    opened.value.close()


def test_the_linked_cell_stays_readable_in_a_narrower_column(tour: Kernel, around: Callable[..., Cell]) -> None:
    cell = around(tour.data("linked-code")["text/html"])
    cell.page.set_viewport_size({"width": 900, "height": 1060})
    cell.follows(15, 23, 0)
    for select in ("{ token: 15, second: 1 }", "{ token: 15, second: 1, layer: 5, head: 2 }"):
        cell.frame.evaluate(f"() => dashboardApp.propose({select})")
        expect(cell.frame.locator("#prediction-figure .over text.value")).to_have_count(30)
        cell.page.wait_for_timeout(500)  # figures are drawn anew at their size
        assert unreadable(cell.frame) == []
        assert cut_above_the_heatmap(cell.frame) == []


def test_a_page_of_another_site_cannot_stand_around_it(tour: Kernel, around: Callable[..., Cell]) -> None:
    cell = around(tour.data("linked-code")["text/html"], "elsewhere.localhost")
    cell.page.wait_for_timeout(500)  # what is refused says so
    assert any("frame-ancestors" in line for line in cell.log), cell.log
    assert cell.page.frames[1].locator("#page").count() == 0
    cell.log.clear()


def test_a_masked_position_is_computed_where_the_model_is_given(tour: Kernel, around: Callable[..., Cell]) -> None:
    code = """
    many = dashboard.capture_run(chemist, reaction * 4)
    assert not many.has_masked(6)
    alone = dashboard.show(many, token=6)
    print(alone._repr_html_())
    """
    cell = around(tour.run("\n".join(line.strip() for line in code.splitlines())))
    waiting = cell.frame.locator("#prediction-body .card-message")
    expect(waiting).to_contain_text("Call dashboard.show(run, loaded), which computes it", timeout=60_000)
    expect(cell.frame.locator("#notice")).to_be_empty()
    cell.frame.locator("#prediction-panel .options-box summary").first.click()
    cell.frame.locator("#prediction-panel").get_by_label("As it stands").check()
    expect(cell.frame.locator("#prediction-heading h2")).to_contain_text("as it stands")

    cell = around(tour.run("given = dashboard.show(many, chemist, token=6)\nprint(given._repr_html_())"))
    expect(cell.frame.locator("#prediction-heading h2")).to_contain_text(
        re.compile("masked, (the model expects|most likely:)"), timeout=60_000
    )
    expect(cell.frame.locator("#prediction-heading h2")).to_contain_text("%")
    own = """
    ids = chemist.tokenizer(many.text, return_tensors="pt")["input_ids"]
    ids[0, 6] = chemist.tokenizer.mask_token_id
    with torch.no_grad():
        best = torch.softmax(chemist.model(input_ids=ids).logits[0, 6], dim=-1).max()
    print(f"{100 * float(best):.1f} %")
    """
    lines = [line.removeprefix("    ") for line in own.splitlines()]
    expect(cell.frame.locator("#prediction-heading h2")).to_contain_text(tour.run("\n".join(lines)).strip())
    tour.run("given.close()\nalone.close()")


def test_a_model_of_ones_own_has_its_page(tour: Kernel, around: Callable[..., Cell]) -> None:
    cell = around(tour.run("mine_page = dashboard.show(guesses, mine, token=2)\nprint(mine_page._repr_html_())"))
    expect(cell.frame.locator("h1")).to_have_text("untrained: 18 tokens, 2 layers × 4 heads", timeout=60_000)
    cell.follows(2, 1, 0)
    tour.run("mine_page.close()")


def test_closing_ends_it(tour: Kernel) -> None:
    asking = "import urllib.request\nprint(urllib.request.urlopen(page.url).status)"
    assert tour.run(asking).strip() == "200"
    assert len(list(tour.temporary.glob("transformer-dashboard-notebook-*"))) == 1
    tour.run("page.close()")
    refused = (
        "try:\n    urllib.request.urlopen(page.url)\nexcept OSError as error:\n    print(type(error.reason).__name__)"
    )
    assert tour.run(refused).strip() == "ConnectionRefusedError"
    assert list(tour.temporary.glob("transformer-dashboard-notebook-*")) == []
