"""Live token counts: bundled tokenizers here, in linear time; foreign ones in a process that is ended when it takes too
much."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dashboard.catalog import counting, counting_process
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.counting import TokenCounter, closed
from dashboard.catalog.counting_process import Count, CountingProcess
from dashboard.catalog.ids_beyond import Beyond
from dashboard.catalog.tokenizer_panics import loading_tokenizer, tokenizing
from dashboard.errors import BadTextError, UnsupportedModelError, is_panic
from dashboard.settings import Settings
from tests.support.hostile import CONFIG, good_model, word_tokenizer

RXN_PATTERN = r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9]|."
PATIENCE = 60.0  # of a busy machine


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def rxn_tokenizer() -> dict[str, Any]:
    """RXNMapper's tokenizer, as its authors published its pattern; the bundled file is compared with it where it is
    here."""
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    return word_tokenizer(
        added_tokens=[{"id": number, "content": name, **flags} for number, name in enumerate(names)],
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [{**split(r"\s+"), "behavior": "Removed"}, split(RXN_PATTERN)],
        },
        model={"type": "WordLevel", "vocab": {name: number for number, name in enumerate(names)}, "unk_token": "[UNK]"},
    )


RXN = Tokenizer.from_str(json.dumps(rxn_tokenizer()))
PARTS = [
    "[",
    "]",
    "[[",
    "[]",
    "[C@H]",
    "[CLS]",
    "[MASK]",
    "[MASK",
    "C",
    "Cl",
    "Br",
    ">>",
    ">",
    ".",
    "%12",
    "%",
    " ",
    "\n",
    "\t",
]
SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace() or re.match(r"\s", chr(code))]


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from([*PARTS, *SPACES, "\u200b", "\u180e", "é", "😀"]), max_size=40).map("".join))
@example("[[[[MASK][")
@example("[\x1c]")
@example("[a\u2028]")
@example("[")
@example("")
def test_the_linear_form_of_a_reaction_has_as_many_tokens(text: str) -> None:
    assert len(RXN.encode(closed(text))) == len(RXN.encode(text))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=60))
def test_the_linear_form_of_any_text_has_as_many_tokens(text: str) -> None:
    assert len(RXN.encode(closed(text))) == len(RXN.encode(text))


def test_no_bracket_is_left_that_looks_for_an_end_in_vain() -> None:
    for text in (
        "[" * 300_000,
        "[" * 150_000 + "[MASK]" + "[" * 150_000,
        "[[]" * 50_000 + "[" * 100_000,
        "[ " * 150_000,
    ):
        for stretch in counting.BREAK.split(closed(text)):
            assert "[" not in stretch[stretch.rfind("]") + 1 :]
    assert closed("[C@H](C)[[N]CC[") == "[C@H](C)[[N]CC."


# in another process


def write(folder: Path, tokenizer: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    path.write_text(tokenizer if isinstance(tokenizer, str) else json.dumps(tokenizer))
    return path


@pytest.fixture
def process() -> Iterator[CountingProcess]:
    made = CountingProcess()
    yield made
    made._end()


def count(process: CountingProcess, path: Path, text: str = "one two", pair: str | None = None) -> int | None:
    return process.count(path, path.stat().st_mtime_ns, text, pair, PATIENCE)


def test_a_foreign_tokenizer_counts_in_another_process(process: CountingProcess, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        word_tokenizer(truncation={"max_length": 1, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}),
    )
    assert count(process, path, "one two three") == 3
    assert count(process, path, "one", "two three") == 3
    assert count(process, path, "") == 0
    assert count(process, path, "one " * 50_000) == 50_000
    assert process._process is not None
    assert process._process.pid != os.getpid()


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "x", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"x": {"id": "x", "ids": [0] * 1_000_000, "tokens": ["x"] * 1_000_000}},
}
GROWING = {
    "type": "Sequence",
    "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}] * 4,
}
PANIC = word_tokenizer(pre_tokenizer=split("(a+)+$"))
HOSTILE: dict[str, tuple[Any, str]] = {  # tokenizer.json, and the text that brings it out
    "panic": (PANIC, "a" * 40 + "b"),
    "quadratic": (word_tokenizer(pre_tokenizer=split(r"\[[^\]]+]")), "[" * 260_000),
    "growing": (word_tokenizer(normalizer=GROWING), "a" * 100),
    "nested": ("[" * 200_000 + "]" * 200_000, "one"),
    "not-json": ("{", "one"),
    "huge": (" " * 70_000_000, "one"),
    "numbers": (json.dumps(word_tokenizer()).replace('"one": 1', '"one": 1e400'), "one"),
    "pattern": (word_tokenizer(pre_tokenizer=split("(")), "one"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tokenizer_is_unknown_and_no_other_suffers(
    process: CountingProcess, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting_process, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(counting_process, "SHORT_PAUSE", 3600.0)
    tokenizer, text = HOSTILE[name]
    bad, good = write(tmp_path / "bad", tokenizer), write(tmp_path / "good", word_tokenizer())
    assert count(process, bad, text) is None
    before = process._process
    assert count(process, bad, text) is None, "it is not asked again for a while"
    assert process._process is before
    monkeypatch.setattr(counting_process, "COUNT_SECONDS", PATIENCE)
    assert count(process, good, "one two") == 2


def test_a_template_that_adds_a_million_tokens_is_counted(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting_process, "COUNT_SECONDS", PATIENCE)
    assert count(process, write(tmp_path, word_tokenizer(post_processor=TEMPLATE)), "one") == 1_000_001


def test_a_tokenizer_that_was_put_right_is_asked_at_once(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "{")
    monkeypatch.setattr(counting_process, "COUNT_SECONDS", PATIENCE)
    assert count(process, path) is None
    write(tmp_path, word_tokenizer())
    os.utime(path, ns=(1, 1))
    assert count(process, path) == 2


def test_a_pause_grows_with_each_failure_and_ends_with_a_success(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, word_tokenizer())
    key = (str(path), path.stat().st_mtime_ns)
    now = [1000.0]
    monkeypatch.setattr(counting_process.time, "monotonic", lambda: now[0])

    def failing(_question: object) -> dict[str, Any]:
        raise TimeoutError

    monkeypatch.setattr(process, "_ask", failing)
    pauses = []
    for _ in range(9):
        assert count(process, path) is None
        pauses.append(process._pauses[key].seconds)
        now[0] = process._pauses[key].until
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    monkeypatch.setattr(process, "_ask", lambda _question: {"tokens": 7})
    assert count(process, path) == 7
    assert process._pauses == {}


def test_few_threads_wait_and_the_others_do_not_learn_it(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, word_tokenizer())
    asked, go = threading.Semaphore(0), threading.Event()

    def slow(_question: object) -> dict[str, Any]:
        asked.release()
        go.wait(PATIENCE)
        return {"tokens": 5}

    monkeypatch.setattr(process, "_ask", slow)
    found: list[int | None] = []
    waiters = [threading.Thread(target=lambda: found.append(count(process, path))) for _ in range(2)]
    for thread in waiters:
        thread.start()
    asked.acquire()
    while process._questions.empty():
        time.sleep(0.01)
    assert count(process, path) is None
    go.set()
    for thread in waiters:
        thread.join()
    assert found == [5, 5]


def test_the_process_is_started_again_where_someone_ends_it(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting_process, "COUNT_SECONDS", PATIENCE)
    path = write(tmp_path, word_tokenizer())
    assert count(process, path) == 2
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    assert count(process, path) == 2


def test_a_process_that_cannot_be_ended_is_given_up(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it hangs in a dying disk: no signal reaches it. Another one counts."""
    monkeypatch.setattr(counting_process, "COUNT_SECONDS", PATIENCE)
    path = write(tmp_path, word_tokenizer())
    first = process._started()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "kill", lambda _process: None)
        os.kill(first.pid, signal.SIGSTOP)
        ending = threading.Thread(target=process._end, daemon=True)
        ending.start()
        ending.join(PATIENCE)
        stuck = ending.is_alive()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not stuck
    assert count(process, path) == 2


def test_the_process_has_none_of_the_servers_secrets(
    process: CountingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(counting_process, "COUNT_SECONDS", PATIENCE)
    assert count(process, write(tmp_path, word_tokenizer())) == 2
    assert process._process is not None
    assert b"secret" not in Path(f"/proc/{process._process.pid}/environ").read_bytes()


def test_a_panic_of_a_bundled_tokenizer_is_unknown_too(tmp_path: Path) -> None:
    write(tmp_path, PANIC)
    counter = TokenCounter()
    assert counter.count(tmp_path, "a" * 40 + "b", None, "minilm-l6") is None
    assert counter.count(tmp_path, "b", None, "minilm-l6") == 1
    assert counter.count(tmp_path / "nothing", "b", None, "minilm-l6") is None


def test_long_texts_of_bundled_models_are_counted_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, word_tokenizer())
    counter = TokenCounter()
    asked: list[int] = []

    def counted(_path: Path, _stamp: int, text: str, *_more: object) -> Count:
        asked.append(len(text))
        return Count()

    monkeypatch.setattr(counter._process, "counted", counted)
    assert counter.count(tmp_path, "x" * counting.LONGEST_HERE, None, "smollm2-135m") == 1
    assert counter.count(tmp_path, "x" * (counting.LONGEST_HERE + 1), None, "smollm2-135m") is None
    assert asked == [counting.LONGEST_HERE + 1]


@pytest.mark.parametrize("text", ["one four two four", "one <new>"])
def test_a_bundled_model_and_another_say_the_same_of_a_token_beyond_the_embeddings(text: str, tmp_path: Path) -> None:
    """A bundled tokenizer that somebody has changed, by hand: it knows five words and `<new>`, the model the first
    four."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    write(tmp_path, word_tokenizer(added_tokens=[{"id": 5, "content": "<new>", **flags, "special": True}]))
    counter = TokenCounter(PATIENCE)
    found = counter.counted(tmp_path, text, None, "minilm-l6", rows=4)
    assert found == {
        "one four two four": Count(4, Beyond(1, 4, "four", False)),
        "one <new>": Count(2, Beyond(1, 5, "<new>", False)),
    }.get(text)
    assert found == counter.counted(tmp_path, text, None, rows=4)
    assert counter.counted(tmp_path, text, None, "minilm-l6", rows=6).beyond is None
    assert counter.counted(tmp_path, text, None, "minilm-l6").beyond is None


def test_the_place_of_a_token_in_a_reaction_is_that_of_the_text(tmp_path: Path) -> None:
    """The text is counted in another form, as long as it is; what is said of it is said of the text."""
    names = rxn_tokenizer()
    write(
        tmp_path,
        {**names, "model": {**names["model"], "vocab": {**names["model"]["vocab"], "C": 5, "[": 6, ".": 7, "N": 8}}},
    )
    found = TokenCounter().counted(tmp_path, "C[[CN", None, "rxnmapper", rows=8)
    assert found == Count(5, Beyond(4, 8, "N", False))


def test_a_panic_becomes_a_sentence() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(PANIC))
    with pytest.raises(BadTextError, match=r"tokenizer gave up on this text .*retry-limit") as caught, tokenizing():
        tokenizer.encode("a" * 40 + "b")
    assert caught.value.__cause__ is not None
    assert is_panic(caught.value.__cause__)
    with (
        pytest.raises(UnsupportedModelError, match=r"X has no tokenizer that can be loaded.*retry"),
        loading_tokenizer("X"),
    ):
        tokenizer.encode("a" * 40 + "b")
    with pytest.raises(KeyboardInterrupt), tokenizing():
        raise KeyboardInterrupt


def test_a_token_beyond_the_embeddings_is_named_while_it_is_typed(tmp_path: Path) -> None:
    """As a run refuses it; by hand: five words, of which the configuration knows the first four."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": 5, "content": "<new>", **flags, "special": True}]
    folder = good_model(tmp_path / "root" / "m")
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": 4}))
    (folder / "tokenizer.json").write_text(json.dumps(word_tokenizer(added_tokens=added)))
    settings = Settings(cache_dir=tmp_path / "cache", model_folders=(tmp_path / "root",))
    catalog = Catalog(settings, patience=PATIENCE)
    assert catalog.count("folder:root/m", "one two three") == Count(3)
    assert catalog.count("folder:root/m", "one four two four") == Count(4, Beyond(1, 4, "four", False))
    assert catalog.count("folder:root/m", "one <new>") == Count(2, Beyond(1, 5, "<new>", False)), "it is typed"
    entry = catalog.get("folder:root/m")
    assert entry.vocabulary == 4
    assert Beyond(1, 4, "four", False).sentence(entry.title, 4) == (
        "m's tokenizer knows “four” (id 4), but the model has only 4 embeddings. "
        "Take it out of the text (it is token 1) and run again."
    )
    assert Beyond(0, 101, "[CLS]", True).sentence("mute", 64, lent=True) == (
        "The tokenizer that mute reads with knows “[CLS]” (id 101), but the model has only 64 embeddings, and it puts "
        "that token into every text. Choose another tokenizer."
    )
    assert "or choose another tokenizer," in Beyond(1, 4, "four", False).sentence("mute", 4, lent=True)
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<new>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<new>": {"id": "<new>", "ids": [5], "tokens": ["<new>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(word_tokenizer(added_tokens=added, post_processor=template)))
    found = Catalog(settings, patience=PATIENCE).count("folder:root/m", "one")
    assert found == Count(2, Beyond(0, 5, "<new>", True))
    assert found.beyond is not None
    assert found.beyond.sentence("m", 4).endswith("and it puts that token into every text. Choose another model.")
