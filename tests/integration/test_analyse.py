"""`analyse` with a model that computes: its numbers beside plain Hugging Face, and masked positions of long texts."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from tiny_models import tiny, words

from dashboard.shell import main

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DASHBOARD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DASHBOARD_MODELS_DIR", str(tmp_path / "models"))
    for name in ("gpt2", "bert"):
        loaded = tiny(name)
        loaded.model.save_pretrained(tmp_path / name)
        loaded.tokenizer.save_pretrained(tmp_path / name)
    return tmp_path


def rows_in(path: Path) -> list[dict[str, str]]:
    lines = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    return list(csv.DictReader(line for line in lines if not line.startswith("# ")))


def plain(folder: Path, auto: Any) -> tuple[Any, Any]:
    model = auto.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return model, hf.AutoTokenizer.from_pretrained(folder)


def same(row: dict[str, str], logits: torch.Tensor, actual: int) -> None:
    """A row's numbers are those of one row of logits."""
    logits = logits.detach()
    logprobs = torch.log_softmax(logits.double(), 0)
    assert float(row["Surprisal (nats)"]) == pytest.approx(-float(logprobs[actual]), rel=1e-4, abs=1e-5)
    assert int(row["Rank"]) == 1 + int((logits > logits[actual]).sum())
    entropy = -float((logprobs.exp() * logprobs).sum())
    assert float(row["Entropy (nats)"]) == pytest.approx(entropy, rel=1e-4)
    assert entropy < math.log(len(logits))
    assert float(row["Likeliest's probability (%)"]) == pytest.approx(100 * float(logprobs.max().exp()), rel=1e-3)


def test_a_table_of_a_causal_model_has_the_numbers_of_plain_hugging_face(folder: Path) -> None:
    texts = [words(9), words(14, seed=5)]
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    out = folder / "out.csv"
    arguments = ["analyse", "--model", str(folder / "gpt2"), "--file", str(folder / "texts.txt"), "--out", str(out)]
    assert main(arguments) == 0
    rows = rows_in(out)
    model, tokenizer = plain(folder / "gpt2", hf.AutoModelForCausalLM)
    for line, text in enumerate(texts, start=1):
        found = [row for row in rows if row["Line"] == str(line)]
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert [int(row["Vocabulary id"]) for row in found] == ids[0].tolist()
        logits = model(input_ids=ids).logits[0]
        assert found[0]["Surprisal (nats)"] == ""
        for position in range(1, len(found)):
            same(found[position], logits[position - 1], int(ids[0, position]))


def test_a_table_of_a_masked_model_has_each_token_masked_in_its_turn(folder: Path) -> None:
    text, out = words(7), folder / "out.csv"
    assert main(["analyse", "--model", str(folder / "bert"), "--text", text, "--out", str(out), "--quiet"]) == 0
    rows = rows_in(out)
    model, tokenizer = plain(folder / "bert", hf.AutoModelForMaskedLM)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert len(rows) == ids.shape[1] == 9
    for position in range(1, 8):
        hidden = ids.clone()
        hidden[0, position] = tokenizer.mask_token_id
        same(rows[position], model(input_ids=hidden).logits[0, position], int(ids[0, position]))


def test_a_report_of_a_long_masked_text_has_the_positions_that_it_shows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.models.predictions.MASKED_FLOP", 0)  # as for a text that is too long to mask every position
    out, text = folder / "report.html", words(7)
    model, tokenizer = plain(folder / "bert", hf.AutoModelForMaskedLM)
    arguments = ["analyse", "--model", str(folder / "bert"), "--text", text, "--token", "3", "--second", "5", "--out", str(out)]
    assert main(arguments) == 0
    report = out.read_text(encoding="utf-8")
    assert "Computing" not in report
    assert "is not computed yet" not in report
    hidden = tokenizer(text, return_tensors="pt")["input_ids"]
    hidden[0, 3] = tokenizer.mask_token_id
    best = float(model(input_ids=hidden).logits[0, 3].softmax(0).max().detach())
    assert f"{100 * best:.1f} %" in report
