"""docs/adding-an-array.md, carried out: a file that is captured, a line, and a view."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dashboard.capture.captured
import dashboard.views
from dashboard.capture.capture import capture_run
from dashboard.capture.captured import Captured, Keep, all_captured, arrays_of
from dashboard.capture.forward import Forward, as_float32
from dashboard.contracts.context import Context
from dashboard.contracts.job import Progress
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.errors import JobCancelledError, MissingArrayError
from dashboard.store import upgrades
from dashboard.store.run_store import RunStore
from dashboard.store.upgrades import SCHEMA, SCHEMAS, Schema
from dashboard.views import all_views
from dashboard.views.declaration import View
from tests.integration import test_not_finite
from tests.support.tiny_models import eager_twin, tiny, words

DOC = Path(__file__).resolve().parents[2] / "docs" / "adding-an-array.md"
BLOCK = re.compile(r"<!-- runs: (?P<how>[\w/.-]+) -->\n```python\n(?P<code>.*?)```", re.S)


def code_of(how: str) -> str:
    return next(found["code"] for found in BLOCK.finditer(DOC.read_text(encoding="utf-8")) if found["how"] == how)


@pytest.fixture
def before() -> ModelRun:
    """A run of the version before."""
    return capture_run(tiny("llama"), words(7))


@pytest.fixture
def view(before: ModelRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """The program with the array, and its view."""
    assert before
    for package, folder in ((dashboard.capture.captured, "captured"), (dashboard.views, "views")):
        (tmp_path / folder).mkdir()
        for file in ("query_norms.py", "mlp_norms.py") if folder == "captured" else ("query_norms.py",):
            (tmp_path / folder / file).write_text(code_of(f"{folder}/{file}"), encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / folder)])
    line = eval(code_of("upgrades/line"), {"Schema": Schema})
    monkeypatch.setattr(upgrades, "SCHEMAS", (*SCHEMAS, line))
    monkeypatch.setattr(upgrades, "SCHEMA", SCHEMA + 1)
    yield next(view for view in all_views() if view.name == "query-norms")
    for package, file in (
        (p, f) for p in (dashboard.capture.captured, dashboard.views) for f in ("query_norms", "mlp_norms")
    ):
        sys.modules.pop(f"{package.__name__}.{file}", None)
        vars(package).pop(file, None)


def context(run: ModelRun) -> Context:
    return Context(run, Selection(run.key, 3, 1, 2), {})


def test_the_array_is_captured_kept_and_shown(view: View, tmp_path: Path) -> None:
    run = capture_run(tiny("llama"), words(7))
    query, _key = run.attention_of().query_and_key(1)
    by_hand = [[float(np.sqrt(sum(float(v) ** 2 for v in vector))) for vector in head] for head in query]
    np.testing.assert_allclose(run.arrays["decoder/query_norms/1"], by_hand, rtol=1e-5)
    store = RunStore(tmp_path / "runs", 10**9)
    store.save(run.key, run.header, run.arrays)
    again = store.open(run.key)
    assert again.outdated == ()
    figure: Any = view.draw(context(again))
    assert [float(value) for value in figure.data[0].y] == pytest.approx(by_hand[2], rel=1e-5)
    assert f"has norm {by_hand[2][3]:.3f}" in str(view.text(context(again)).title)


def test_the_name_follows_the_stream(view: View) -> None:
    assert view
    assert "encoder/query_norms/0" in capture_run(tiny("bert"), words(5)).arrays


def test_a_run_of_before_opens_says_what_it_lacks_and_keeps_its_key(
    view: View, before: ModelRun, tmp_path: Path
) -> None:
    store = RunStore(tmp_path / "runs", 10**9)
    store.save(before.key, before.header, before.arrays)
    old = store.open(before.key)
    assert old.outdated == ("the norms of each head's queries are stored",)
    assert not store.is_current(old.key)
    with pytest.raises(MissingArrayError, match=r"does not hold the norms of queries\. Run its text again") as found:
        view.draw(context(old))
    assert found.value.again
    np.testing.assert_array_equal(old.attention(0, 0), before.attention(0, 0))
    assert capture_run(tiny("llama"), words(7)).key == before.key


def test_it_says_in_words_what_is_not_finite(view: View) -> None:
    place = "layer 1's queries"
    run = test_not_finite.planted("llama", test_not_finite.PLACES[place][0])
    assert run.not_finite is not None
    said = test_not_finite.words_in(view.text(Context(run, Selection(run.key, 3, 1, 0), {})).message)
    assert f"not finite {run.not_finite.begins}" in said
    test_not_finite.test_everything_is_shown_or_says_why_not(place, 1, 2, 4)


def hooks_of(model: torch.nn.Module) -> int:
    """After a first forward, in which transformers puts hooks of its own that stay."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def test_what_a_forward_does_not_leave_behind_is_kept_by_hooks_that_go_with_it(view: View) -> None:
    """The MLP's share of Hugging Face's own states: a layer's output less what its second norm was given."""
    assert view
    loaded, twin, given = tiny("llama"), eager_twin("llama", tiny("llama")), []
    capture_run(loaded, words(3))
    before = hooks_of(loaded.model)
    run = capture_run(loaded, words(7))
    assert hooks_of(loaded.model) == before
    for layer in twin.model.layers:
        layer.post_attention_layernorm.register_forward_pre_hook(lambda _norm, inputs: given.append(inputs[0][0]))
    ids = torch.tensor([[token.id for token in run.tokens]])
    with torch.inference_mode():
        states = twin(input_ids=ids, output_hidden_states=True).hidden_states
    for layer in range(run.model.layers - 1):  # the last state is past the final norm
        expected = (states[layer + 1][0] - given[layer]).norm(dim=-1).numpy()
        np.testing.assert_allclose(run.arrays[f"decoder/mlp_norms/{layer}"], expected, rtol=1e-4)
    np.testing.assert_array_equal(run.hidden_states[1], capture_run(loaded, words(7)).hidden_states[1])


def test_a_model_that_calls_it_otherwise_has_none(view: View) -> None:
    assert view
    assert not [name for name in capture_run(tiny("bert"), words(5)).arrays if "mlp_norms" in name]


def test_hooks_go_where_a_capture_is_stopped_or_another_hook_cannot_be_put(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert view
    loaded = tiny("llama")
    capture_run(loaded, words(3))
    before = hooks_of(loaded.model)

    def stop(progress: Progress) -> None:
        if progress.phase == "layers" and progress.done == 2:
            raise JobCancelledError("enough")

    with pytest.raises(JobCancelledError):
        capture_run(loaded, words(7), progress=stop)
    assert hooks_of(loaded.model) == before
    broken = Captured("x", lambda _forward: {}, lambda layers, _keep: [layers[99]])
    monkeypatch.setattr(dashboard.capture.captured, "all_captured", lambda: {**all_captured(), "z": broken})
    with pytest.raises(IndexError):
        capture_run(loaded, words(7))
    assert hooks_of(loaded.model) == before


def test_a_layer_that_is_used_several_times_is_watched_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(layers: Sequence[torch.nn.Module], keep: Keep) -> list[Any]:
        return [layer.register_forward_hook(lambda _l, _inputs, output: keep("out", output[0])) for layer in layers]

    def arrays(forward: Forward) -> dict[str, np.ndarray]:
        return {f"out/{i}": as_float32(values) for i, values in enumerate(forward.watched["out"])}

    monkeypatch.setattr(
        dashboard.capture.captured, "all_captured", lambda: {**all_captured(), "out": Captured("x", arrays, watch)}
    )
    run = capture_run(tiny("albert"), words(5))
    assert run.model.layers > 1
    for layer in range(run.model.layers):
        np.testing.assert_array_equal(
            run.arrays[f"encoder/out/{layer}"].reshape(len(run), -1), run.hidden_states[layer + 1]
        )


def test_a_file_without_a_declaration_and_a_name_given_twice_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard.capture.captured, "__path__", [*dashboard.capture.captured.__path__, str(tmp_path)])
    (tmp_path / "nothing.py").write_text("")
    with pytest.raises(ValueError, match=r"captured/nothing\.py defines no CAPTURED"):
        all_captured()
    sys.modules.pop("dashboard.capture.captured.nothing")
    twice = {name: Captured("x", lambda _forward: {"same": np.zeros(1)}) for name in ("one", "two")}
    monkeypatch.setattr(dashboard.capture.captured, "all_captured", lambda: twice)
    with pytest.raises(ValueError, match=r"captured/two\.py gives same, which another file has given"):
        arrays_of(None, "decoder")  # type: ignore[arg-type]
