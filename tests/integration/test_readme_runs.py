"""What README and docs show of real models is run here: the Python examples, the example family."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from dashboard import wrap_model
from dashboard.capture import model_probe as probes
from dashboard.capture.families import families, register
from dashboard.catalog.bundled import BUNDLED
from dashboard.settings import Settings

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def examples_of(page: str, how: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"<!-- runs: {re.escape(how)} -->\n```python\n(.*?)```", text, re.S)


def test_the_first_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(examples_of("README.md", "models")[0], "README.md", "exec"), {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert " to attends to  Mary 0.705" in printed
    assert "(18, 576) [(' Mary', 0.927)" in printed


def test_the_example_of_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(examples_of("docs/python.md", "models")[0], "python.md", "exec"), {"__name__": "docs"})
    texts, shape = capsys.readouterr().out.splitlines()
    assert texts.startswith("('A cat sat on the mat.', 'It purred.') [-1, 0, 0, 0, 0, 0, 0, 0, -1, 1, ")
    assert texts.endswith(", -1] 9")
    assert shape.startswith("(7, ")
    assert shape.endswith(" (1, 0, 2)"), "“It”"


def test_the_example_of_plots() -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(examples_of("docs/python.md", "models")[1], "python.md", "exec"), names)
    for name in ("heatmap", "path", "bars", "heads", "everywhere", "scores", "rollout"):
        assert isinstance(names[name], go.Figure), name
    assert names["matrix"].shape == (len(names["tokens"]),) * 2
    assert names["heatmap"].data[0].z.shape == (len(names["tokens"]),) * 2


def test_the_example_for_a_notebook() -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    for page, how in (("README.md", "models"), ("docs/python.md", "notebook")):
        exec(compile(examples_of(page, how)[0], page, "exec"), names)
    page = names["page"]
    with urllib.request.urlopen(page.url, timeout=10) as reply:
        assert reply.status == 200
    assert page.url.endswith(f"?run={names['run'].key}&token=15&second=1&layer=23&head=0")
    page.close()


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
    assert not probes.model_probe(without.model, without.info).has_head  # what the page says of a family without a file

    example = ModuleType("granitemoe")
    exec(
        compile(examples_of("docs/adding-a-family.md", "families/granitemoe.py")[0], "granitemoe.py", "exec"),
        vars(example),
    )
    found = {**families(), **register([("granitemoe", example)])}
    monkeypatch.setattr(probes, "families", lambda: found)
    with_file = wrap_model(GraniteMoeForCausalLM(config), Tokenizer(), "tiny")
    known = probes.model_probe(with_file.model, with_file.info)
    assert known.has_head
    assert known.final_norm == "norm"


class Tokenizer:
    """All that `wrap_model` asks of a tokenizer."""

    model_max_length = 32
