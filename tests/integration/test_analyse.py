"""`analyse` with a model that computes: its numbers beside plain Hugging Face, and masked positions of long texts."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf

from dashboard.cli import main
from dashboard.compute import masked_prediction
from dashboard.contracts.derived import DerivedRequest
from dashboard.exports.run_files import open_run
from tests.support.tiny_models import tiny, words

pytestmark = pytest.mark.integration


def of_five_words(model: Path, out: Path) -> list[str]:
    """The command that writes what a model makes of a short text into a file, without a word."""
    return ["analyse", "--model", str(model), "--text", words(5), "--out", str(out), "--quiet"]


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
    assert float(row["Probability of the most likely token (%)"]) == pytest.approx(
        100 * float(logprobs.max().exp()), rel=1e-3
    )


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


def test_a_report_of_a_long_masked_text_has_the_positions_that_it_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as for a text that is too long to mask every position
    monkeypatch.setattr("dashboard.capture.predictions.MASKED_FLOP", 0)
    out, text = folder / "report.html", words(7)
    model, tokenizer = plain(folder / "bert", hf.AutoModelForMaskedLM)
    arguments = [
        "analyse",
        "--model",
        str(folder / "bert"),
        "--text",
        text,
        "--token",
        "3",
        "--second",
        "5",
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    report = out.read_text(encoding="utf-8")
    assert "Computing" not in report
    assert "has not been computed yet" not in report
    hidden = tokenizer(text, return_tensors="pt")["input_ids"]
    hidden[0, 3] = tokenizer.mask_token_id
    best = float(model(input_ids=hidden).logits[0, 3].softmax(0).max().detach())
    assert f"{100 * best:.1f} %" in report


def test_a_run_file_holds_the_derived_results_that_are_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.capture.predictions.MASKED_FLOP", 0)
    out, text = folder / "run.npz", words(5)
    arguments = ["analyse", "--model", str(folder / "bert"), "--text", text, "--out", str(out), "--quiet"]
    assert main([*arguments, "--derive", "masked-prediction", "position=all"]) == 0
    run = open_run(out)
    model, tokenizer = plain(folder / "bert", hf.AutoModelForMaskedLM)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    for position in range(len(run)):
        found = run.derived(DerivedRequest.of(run.key, "masked-prediction", position=position))
        assert found is not None
        hidden = ids.clone()
        hidden[0, position] = tokenizer.mask_token_id
        logprobs = torch.log_softmax(model(input_ids=hidden).logits[0, position].detach().double(), 0)
        prediction = masked_prediction.read(run, found)
        best = prediction.candidates[0]
        assert best.logprob == pytest.approx(float(logprobs.max()), abs=1e-4)
        assert float(logprobs[best.id]) == pytest.approx(float(logprobs.max()), abs=1e-4)
    assert main([*arguments, "--derive", "masked-prediction", "position=2"]) == 0, "it is written anew"
    again = open_run(out)
    assert again.derived(DerivedRequest.of(run.key, "masked-prediction", position=2)) is not None
    assert again.derived(DerivedRequest.of(run.key, "masked-prediction", position=3)) is None


def test_a_report_has_the_tabs_whose_results_were_derived(folder: Path) -> None:
    out, text = folder / "report.html", words(6)
    arguments = ["analyse", "--model", str(folder / "gpt2"), "--text", text, "--out", str(out), "--quiet"]
    assert main(arguments) == 0
    plain_report = out.read_text(encoding="utf-8")
    assert "Logit lens" not in plain_report
    assert "if each layer were the last" not in plain_report
    assert main([*arguments, "--derive", "logit-lens", "--token", "3"]) == 0
    report = out.read_text(encoding="utf-8")
    assert report.count("<figure") == plain_report.count("<figure") + 2, "both tabs show that result"
    assert "Logit lens: " in report
    assert "if each layer were the last" in report
    assert "being computed" not in report
    asked = ["--derive", "position-lens", "position=4", "mode=given", f"words={text.split()[0]}"]
    assert main([*arguments, *asked]) == 0
    report = out.read_text(encoding="utf-8")
    assert report.count("<figure") == plain_report.count("<figure") + 1, "the lens of all positions was not asked for"
    assert "if each layer were the last" in report
    model, tokenizer = plain(folder / "gpt2", hf.AutoModelForCausalLM)
    logits = model(**tokenizer(text, return_tensors="pt")).logits[0, 4].detach()
    best = int(logits.argmax())
    [word] = tokenizer(f" {text.split()[0]}", add_special_tokens=False)["input_ids"][:1]
    rank = 1 + int((logits > logits[word]).sum())
    assert f"rank {rank:,}" in report, "the token is that of the result, and the word is followed"
    assert f"{100 * float(logits.softmax(0)[best]):.1f}" in report


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["nothing"], 2, "There is no derived result “nothing”. Choose one of"),
        (["masked-prediction"], 2, "Write --derive masked-prediction position=…."),
        (["masked-prediction", "place=1"], 2, "Write --derive masked-prediction position=…."),
        (["masked-prediction", "position"], 2, "Write a kind and NAME=VALUE for each of its parameters, once."),
        (
            ["masked-prediction", "position=1", "position=2"],
            2,
            "Write a kind and NAME=VALUE for each of its parameters, once.",
        ),
        (["masked-prediction", "position=99"], 1, "There is no token 99 in this run"),
        (["masked-prediction", "position=x"], 1, "position is 'x'; give a whole number, 0 or more."),
        (["masked-prediction", "position=-1"], 1, "position is '-1'; give a whole number, 0 or more."),
    ],
)
def test_a_derived_result_that_cannot_be_had_is_said(
    asked: list[str], code: int, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = of_five_words(folder / "bert", folder / "r.npz")
    assert main([*command, "--derive", *asked]) == code
    assert said in capsys.readouterr().err
    assert not (folder / "r.npz").exists()


def test_a_derived_result_in_a_table_is_wrong_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = of_five_words(folder / "bert", folder / "r.csv")
    assert main([*command, "--derive", "masked-prediction", "position=1"]) == 2
    assert "--derive changes nothing in a .csv file, only in .npz, .safetensors and .html." in capsys.readouterr().err


def test_a_table_of_another_model_is_refused_before_anything_is_loaded(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "cat.csv"

    def command(model: str, text: str) -> list[str]:
        return ["analyse", "--model", str(folder / model), "--text", text, "--out", str(out), "--quiet"]

    assert main(command("gpt2", words(5))) == 0
    assert main(command("gpt2", words(6))) == 0  # more of the same model
    content = out.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("dashboard.capture.loader.load_model", lambda *_args, **_more: pytest.fail("a model was loaded"))
        assert main(command("bert", words(7))) == 1
        assert main(command("gpt2", words(6))) == 0
    said = capsys.readouterr().err
    assert f"holds rows of gpt2 ({folder / 'gpt2'}), weights " in said
    assert f"these would be of {folder / 'bert'}, weights " in said
    assert said.strip().endswith("Nothing was written; choose another --out.")
    assert said.count("\n") == 1
    assert out.read_bytes() == content


@pytest.mark.parametrize(
    ("option", "words_said"),
    [
        (["--layer", "2"], "--layer is 2; {model} has layers 0 to 1. Choose one of these."),
        (["--head", "4"], "--head is 4; {model} has heads 0 to 3. Choose one of these."),
        (["--token", "5"], "--token is 5; this text has tokens 0 to 4. Choose one of these."),
        (["--second", "5"], "--second is 5; this text has tokens 0 to 4. Choose one of these."),
    ],
)
def test_a_place_that_is_not_there_is_wrong_usage(
    option: list[str], words_said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = of_five_words(folder / "gpt2", folder / "r.html")
    assert main([*command, *option]) == 2
    assert capsys.readouterr().err.strip() == words_said.format(model=folder / "gpt2")
    assert not (folder / "r.html").exists()


def test_a_token_that_some_texts_have_fails_for_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "t.txt").write_text(f"{words(5)}\n{words(9)}\n", encoding="utf-8")
    command = [
        "analyse",
        "--model",
        str(folder / "gpt2"),
        "--file",
        str(folder / "t.txt"),
        "--out",
        str(folder / "r.html"),
    ]
    assert main([*command, "--token", "7", "--quiet"]) == 3
    assert (
        capsys.readouterr().err.strip()
        == "line 1 (1 of 2): --token is 7; this text has tokens 0 to 4. Choose one of these."
    )
    assert (folder / "r-0002.html").exists()


def test_speed_is_of_computing_alone_and_of_enough_tokens(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [words(3), words(60, seed=2), words(60, seed=3)]
    (folder / "t.txt").write_text("\n".join(texts), encoding="utf-8")
    times = iter(range(100))
    monkeypatch.setattr("dashboard.cli._runs.time", SimpleNamespace(perf_counter=lambda: next(times)))
    command = [
        "analyse",
        "--model",
        str(folder / "gpt2"),
        "--file",
        str(folder / "t.txt"),
        "--out",
        str(folder / "t.csv"),
    ]
    assert main(command) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("line ")]
    assert [line.partition(": ")[2].partition(" →")[0] for line in said] == [
        "3 tokens",
        "60 tokens",
        "60 tokens, 41 tokens/s",  # 123 tokens in 3 times one second
    ]


def test_pairs_of_a_file_become_a_table_with_segments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{words(4)}\t{words(3, seed=2)}", "no tab here", f"{words(2)}\t", "a\tb\tc", f"{words(5)}\t{words(2)}"]
    (folder / "pairs.tsv").write_text("\n".join(lines), encoding="utf-8")
    out = folder / "pairs.csv"
    command = ["analyse", "--model", str(folder / "bert"), "--file", str(folder / "pairs.tsv"), "--out", str(out)]
    assert main([*command, "--pair"]) == 3
    said = capsys.readouterr().err
    assert "line 2 (2 of 5): the line has no tab. Put one between its two texts." in said
    assert "line 3 (3 of 5): the line lacks its second text." in said
    assert "line 4 (4 of 5): the line has 2 tabs." in said
    rows = rows_in(out)
    assert {row["Line"] for row in rows} == {"1", "5"}
    first = [row for row in rows if row["Line"] == "1"]
    _model, tokenizer = plain(folder / "bert", hf.AutoModelForMaskedLM)
    encoding = tokenizer(words(4), words(3, seed=2))
    assert [int(row["Vocabulary id"]) for row in first] == encoding["input_ids"]
    found = [row["Segment"] for row in first]
    assert found == ["" if one is None else str(one) for one in encoding.sequence_ids()]
    assert (first[0]["Text"], first[0]["Second text"]) == (words(4), words(3, seed=2))
    assert first[1]["Second text"] == ""

    content = out.read_bytes()
    assert main([*command, "--pair"]) == 3
    assert out.read_bytes() == content, "what is there is not written again"
    assert main(command) == 1
    assert "holds rows of pairs of texts, and these would be of single texts" in capsys.readouterr().err
    one = ["analyse", "--model", str(folder / "bert"), "--text", words(4), "--pair", words(3, seed=2)]
    assert main([*one, "--out", str(folder / "pair.npz"), "--quiet"]) == 0
    run = open_run(folder / "pair.npz")
    assert run.key == first[0]["Run"]
    assert run.texts == (words(4), words(3, seed=2))
    assert run.main.segments.tolist() == [-1, 0, 0, 0, 0, -1, 1, 1, 1, -1]
    assert "encoder/segments" in run.arrays


def test_a_pair_for_a_model_of_one_text_is_refused_before_it_is_loaded(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["analyse", "--model", str(folder / "gpt2"), "--text", words(4), "--out", str(folder / "out.csv")]
    assert main([*command, "--pair", words(3)]) == 1
    said = capsys.readouterr().err
    assert "gpt2 takes one text at a time" in said
    assert "Reading" not in said
    assert main([*command, "--pair"]) == 2
    assert "--pair lacks the second text" in capsys.readouterr().err
    (folder / "t.tsv").write_text("a\tb", encoding="utf-8")
    of_a_file = [
        "analyse",
        "--model",
        str(folder / "bert"),
        "--file",
        str(folder / "t.tsv"),
        "--out",
        str(folder / "o.csv"),
    ]
    assert main([*of_a_file, "--pair", "c"]) == 2
    assert "Leave out its text" in capsys.readouterr().err
