"""What README and docs show of real models is run here: the Python examples, the tour's numbers, the example family."""

from __future__ import annotations

import re
import urllib.request
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from dashboard import capture_run, load_model, wrap_model
from dashboard.analysis.attention import head_tags
from dashboard.analysis.projection import project_run
from dashboard.contracts.run import ModelRun
from dashboard.examples import EXAMPLES
from dashboard.models import anatomy as anatomies
from dashboard.models.bundled import BUNDLED
from dashboard.models.families import families, register
from dashboard.settings import Settings

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = " ".join(README.split("## Five minutes")[1].split("\n## ")[0].split())


def examples_of(page: str, how: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- runs: {re.escape(how)} -->\n```python\n(.*?)```", text, re.S)


@cache
def example_run(index: int) -> ModelRun:
    return capture_run(load_model(EXAMPLES[index].model), EXAMPLES[index].text)


def said(text: str) -> None:
    assert text in TOUR, f"the tour does not say {text!r}"


def test_the_first_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(examples_of("README.md", "models")[0], "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert " to reads  Mary 0.848" in printed
    assert "(18, 576) [(' Mary', 0.927)" in printed


def test_the_second_python_example() -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(examples_of("README.md", "models")[1], "README.md", "exec"), names)
    for name in ("heatmap", "path", "bars"):
        assert isinstance(names[name], go.Figure)
    assert names["heatmap"].data[0].z.shape == (len(names["tokens"]),) * 2


def test_the_example_for_a_notebook() -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    for how in ("models", "notebook"):
        exec(compile(examples_of("README.md", how)[0], "README.md", "exec"), names)
    page = names["page"]
    with urllib.request.urlopen(page.url, timeout=10) as reply:
        assert reply.status == 200
    assert page.url.endswith(f"?run={names['run'].key}&token=15&other=1&layer=24&head=4")
    page.close()


def test_the_tour_finds_the_name_again() -> None:
    run, example = example_run(0), EXAMPLES[0]
    said(f"SmolLM2 reads {len(run)} tokens. Selected are layer {example.layer}, head {example.head}, the token `·to` (15)")
    said(f"`·to` reads `·Mary` with weight {run.attention(24, 4)[15, 1]:.3f}")
    best = run.top_k(15)[0]
    assert best.text == " Mary"
    said(f"`·Mary`, {100 * best.probability:.1f} %")
    assert (run.tokens[7].text, run.tokens[16].text) == (" shops", " Mary")
    said(f"`·shops` has {run.surprisal[7]:.2f} nats, the second `·Mary` {run.surprisal[16]:.2f}")


def test_the_tour_looks_back() -> None:
    run = example_run(1)
    weight = run.attention(20, 8)[11, 4]
    said(f"(11), head 8 of layer 20 reads `·dear` (4), which followed the last `·Oh`, with weight {weight:.3f}")
    best = run.top_k(11)[0]
    assert best.text == " dear"
    said(f"expects `·dear` with {100 * best.probability:.1f} %")
    places = [i for i, token in enumerate(run.tokens) if token.text == " dear"]
    said("falls from " + " to ".join(f"{run.surprisal[i]:.2f}" for i in places) + " nats")
    tags = head_tags(run)
    assert tags[20][8].pattern == "first"
    said(f"{100 * tags[20][8].score:.0f} % on the first token")
    assert sum(tag.pattern == "first" for row in tags for tag in row) > 270 / 2
    said(f"its norm is {project_run(run, 20, 'layer', 'auto', 'centred').first_ratio:.0f} times the median")


def test_the_tour_sees_two_banks() -> None:
    run = example_run(2)
    assert [i for i, token in enumerate(run.tokens) if token.text == "bank"] == [2, 12]

    def apart(layer: int) -> float:
        points = project_run(run, layer, "layer", "auto", "centred").coordinates[:, :2]
        return float(np.linalg.norm(points[2] - points[12]))

    def cosine(states: np.ndarray) -> float:
        first, second = states[2], states[12]
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    said(f"({apart(5):.1f} instead of {apart(-1):.1f},")
    cosines = [cosine(states) for states in run.hidden_states]
    assert min(cosines) == cosines[3]
    said(f"their cosine falls from {cosines[0]:.2f} to {cosines[3]:.2f} after layer 2 and is {cosines[-1]:.2f} at the end")
    said(f"In all {run.model.hidden_size} dimensions")
    assert not run.has_predictions


def test_the_tour_maps_an_atom() -> None:
    run = example_run(3)
    assert run.tokens[45].text == run.tokens[6].text == "S"
    said(f"reads the reactant's `S` (6) with weight {run.attention(10, 5)[45, 6]:.3f}")
    masked, given = run.prediction(45, "masked").candidates[0], run.prediction(45, "given").candidates[0]
    assert masked.text == given.text == "S"
    said(f"the model expects `S` with {100 * masked.probability:.1f} %")
    said(f"as it stands ({100 * given.probability:.1f} %)")


def test_the_bundled_models_take_the_room_that_is_said() -> None:
    folder = Settings.from_env().models_folder
    files = [path for model in BUNDLED for path in (folder / model.name).iterdir()]
    mebibytes = sum(path.stat().st_size for path in files) / 2**20
    named = re.search(r"converts them once \((\d+) MB on disk\)", " ".join(README.split()))
    assert named is not None
    assert abs(int(named[1]) - mebibytes) < 20


def test_the_example_family(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GraniteMoeConfig, GraniteMoeForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "max_position_embeddings": 32}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    experts = {"num_local_experts": 2, "num_experts_per_tok": 1}
    config = GraniteMoeConfig(vocab_size=60, logits_scaling=7.0, **sizes, **heads, **experts)
    without = wrap_model(GraniteMoeForCausalLM(config), Tokenizer(), "tiny")
    assert without.info.parameters < 20_000
    assert not anatomies.anatomy(without.model, without.info).has_head  # what the page says of a family without a file

    example = ModuleType("granitemoe")
    exec(compile(examples_of("docs/adding-a-family.md", "families/granitemoe.py")[0], "granitemoe.py", "exec"), vars(example))
    found = {**families(), **register([("granitemoe", example)])}
    monkeypatch.setattr(anatomies, "families", lambda: found)
    with_file = wrap_model(GraniteMoeForCausalLM(config), Tokenizer(), "tiny")
    known = anatomies.anatomy(with_file.model, with_file.info)
    assert known.has_head
    assert known.final_norm == "norm"


class Tokenizer:
    """All that `wrap_model` asks of a tokenizer."""

    model_max_length = 32
