"""Every sentence of an error that a person can see says what to do next: found in the source, message by message."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import dashboard.errors
from dashboard.catalog.adapter_base import find_base
from dashboard.catalog.adapters import beside_weights, read_adapter
from dashboard.catalog.ids_beyond import Beyond
from dashboard.errors import DashboardError, ForeignFileError
from dashboard.settings import Settings

PACKAGE = Path(__file__).resolve().parents[2] / "dashboard"
ELSEWHERE = "…"  # stands in a message for what is known when it is raised
STEP = "\N{RIGHTWARDS ARROW}"  # stands for words that are made elsewhere and hold the next step
VERBS = frozenset(
    (
        *("accept", "ask", "call", "capture", "check", "choose", "close", "copy", "correct", "delete", "download"),
        *("enter", "export", "fit", "free", "give", "go", "hand", "install", "leave", "list", "look", "make", "mark"),
        *("merge", "move", "name", "open", "pass", "press", "put", "read", "reload", "remove", "rename"),
        *("restart", "run", "save", "see", "select", "send", "set", "shorten", "show", "start", "stop"),
        *("take", "try", "type", "use", "wait", "write"),
    )
)
# the first word of a sentence or clause
BEGINS = re.compile(r"(?:^|[.:;,!?)] (?:or |and |then )?)([a-z]+)\b", re.IGNORECASE)
# module and expression whose words are made elsewhere, and why a next step is in them, or not needed
SAID_ELSEWHERE = {
    **dict.fromkeys(
        [
            f"{module}: unforeseen(error)"
            for module in ("jobs/in_process.py", "jobs/manager.py", "jobs/worker.py", "catalog/fetch.py")
        ],
        "one of the sentences of errors.py, all of which are checked below",
    ),
    "capture/vocabulary.py: sentence": "Beyond.sentence of catalog/ids_beyond.py; both sentences are checked below",
    "capture/loader.py: beside": "beside_weights of catalog/adapters.py, which is checked below",
    "catalog/adapter_card.py: error.clause": "of catalog/adapters.py and catalog/adapter_base.py; checked below",
    "capture/adapter_weights.py: error.clause": "the same",
    "capture/head_probe.py: known.refusal": "as in capture/capture.py",
    "capture/capture.py: known.refusal": "_own_attention of capture/model_probe.py; both of its sentences end alike",
    "jobs/manager.py: "
    "bytes.fromhex(job.removeprefix(UNTAKEN)).decode()": "another error of this list, from another process",
    "jobs/backend.py: raw['error']": "another error of this list, as it was kept",
    "cli/_steps.py: error": "another error of this list",
    "cli/_device.py: said": "that of find_device in capture/device.py, from another process",
    "contracts/run.py: "
    "self.without_predictions": "no fault, but what the model is; a card says it in place of its figure",
    "contracts/run_classes.py: self.without_classes": "the same",
    "exports/figures.py: "
    "text_of(words.message)": "a card's own words in place of its figure, as they stand on the page",
}
NEEDS_NONE = {  # messages without a next step, each with the reason
    "The run was cancelled. The text is still in the box.": "who cancelled it wants nothing else",
    "The computation was cancelled.": "the same",
}


@dataclass(frozen=True)
class Message:
    """One way in which an error may be worded: where it is made, and the words."""

    place: str
    words: str


def has_next_step(words: str) -> bool:
    """Whether a sentence or clause of `words` begins with a verb that tells the reader to do something."""
    return STEP in words or any(word.lower() in VERBS for word in BEGINS.findall(words))


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def shown_classes() -> frozenset[str]:
    """The names of all classes whose words a page, a notebook or a terminal shows."""
    return classes_in(trees().values())


def classes_in(modules: Iterable[ast.Module]) -> frozenset[str]:
    found = {DashboardError.__name__}
    bases = {
        node.name: {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases}
        for tree in modules
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found | {"JobFailure"}) - {"ForeignFileError"}  # which words its clause itself, see below


@cache
def constants() -> dict[str, ast.expr]:
    """The package's module constants; one name that stands for different values in two modules is no constant here."""
    found: dict[str, list[ast.expr]] = {}
    for tree in trees().values():
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
                found.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values[0] for name, values in found.items() if len({ast.dump(value) for value in values}) == 1}


class Reader:
    """Reads the messages of one module."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        own = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]
        self.constants = constants() | {
            node.targets[0].id: node.value for node in own if isinstance(node.targets[0], ast.Name)
        }
        self.local: dict[str, list[ast.expr]] = {}

    def wordings(self, node: ast.expr) -> list[str] | None:
        """Every way in which an expression may read; None where its words are made elsewhere."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return ["".join(way) for way in product(*map(self.inside, parts))]
            case ast.IfExp(body=one, orelse=two):
                return self.all_of([one, two])
            case ast.Name(id=name) if name in self.local:
                return self.all_of(self.local[name])
            case ast.Name(id=name) if name in self.constants:
                return self.wordings(self.constants[name])
            case ast.Subscript(value=ast.Name(id=name)):
                table = self.constants.get(name)
                return self.all_of(table.values) if isinstance(table, ast.Dict) else None
        return None

    def all_of(self, nodes: Iterable[ast.expr]) -> list[str] | None:
        found: list[str] = []
        for node in nodes:
            ways = self.wordings(node)
            if ways is None:
                return None
            found += ways
        return found

    def inside(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.FormattedValue):
            if f"{self.name}: {ast.unparse(node.value)}" in SAID_ELSEWHERE:
                return [STEP]
            found = self.wordings(node.value)
            return [ELSEWHERE] if found is None else found
        return [str(node.value)] if isinstance(node, ast.Constant) else [ELSEWHERE]


def messages(modules: Mapping[Path, ast.Module]) -> Iterator[tuple[str, str, list[str] | None]]:
    """(place, expression, its wordings) of each error that these modules make."""
    for path, tree in modules.items():
        name = path.relative_to(PACKAGE).as_posix()
        reader = Reader(name, tree)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for function in [*functions, tree]:
            own = _own(function)
            reader.local = _assigned(own) if isinstance(function, ast.FunctionDef) else {}
            raised = [node.exc for node in own if isinstance(node, ast.Raise)]
            for node in own:
                if isinstance(node, ast.Call) and node.args and _makes_error(node, node in raised, reader.local):
                    yield f"{name}:{node.lineno}", f"{name}: {ast.unparse(node.args[0])}", reader.wordings(node.args[0])


def _own(function: ast.AST) -> list[ast.AST]:
    """The nodes of a function or module, without those of the functions in it."""
    found: list[ast.AST] = []
    left = [function]
    while left:
        inside = [node for node in ast.iter_child_nodes(left.pop()) if not isinstance(node, ast.FunctionDef)]
        found += inside
        left += inside
    return found


def _assigned(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _makes_error(node: ast.Call, raised: bool, local: Collection[str]) -> bool:
    """Whether a call makes an error of ours: of a class by its name, or, where it is raised, of one that a variable
    holds."""
    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    return called in shown_classes() or (raised and (called in local or isinstance(node.func, ast.Call)))


FOUND = list(messages(trees()))
WORDED = [Message(place, words) for place, _code, ways in FOUND for words in ways or ()]


@pytest.mark.parametrize("message", WORDED, ids=lambda message: message.place)
def test_an_error_says_what_to_do_next(message: Message) -> None:
    assert has_next_step(message.words) or message.words in NEEDS_NONE, message.words


def test_every_error_is_looked_at() -> None:
    """What cannot be read here is on a list, with the place where its words are looked at instead."""
    assert len(FOUND) > 200
    assert {code for _place, code, ways in FOUND if ways is None} <= set(SAID_ELSEWHERE)


def test_no_exception_outlives_its_message() -> None:
    assert set(NEEDS_NONE) <= {message.words for message in WORDED}
    for place in SAID_ELSEWHERE:
        module, code = place.split(": ", 1)
        assert any(
            ast.unparse(node) == code for node in ast.walk(trees()[PACKAGE / module]) if isinstance(node, ast.expr)
        ), place
    assert not [words for words in NEEDS_NONE if has_next_step(words)]


@pytest.mark.parametrize(
    "name", [name for name in vars(dashboard.errors) if name.startswith(("NO_", "TOO_")) or name == "BROKEN"]
)
def test_what_the_machine_refuses_says_what_to_do_next(name: str) -> None:
    assert has_next_step(getattr(dashboard.errors, name))


def test_sentences_that_are_put_together_say_what_to_do_next(tmp_path: Path) -> None:
    assert all(has_next_step(Beyond(3, 99, "x", given).sentence("This model", 7)) for given in (True, False))
    assert has_next_step(str(ForeignFileError("config.json is a socket, not a file")))
    (tmp_path / "adapter_config.json").write_text("{}")
    assert has_next_step(f"This model cannot be run: {beside_weights(tmp_path)}.")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"peft_type": "LORA"},
        {"peft_type": "IA3", "base_model_name_or_path": "gpt2"},
        {"peft_type": "LORA", "base_model_name_or_path": "gpt2"},
        {"peft_type": "LORA", "base_model_name_or_path": "gpt2", "init_lora_weights": "olora"},
        {"peft_type": "LORA", "base_model_name_or_path": "gpt2", "auto_mapping": {"parent_library": "mine"}},
        {"peft_type": "LORA", "base_model_name_or_path": "gpt2", "something": 1},
        {"peft_type": "LORA", "base_model_name_or_path": "gpt2", "r": -1, "weights": True},
        {"peft_type": "LORA", "base_model_name_or_path": "who/what", "weights": True},
        {"peft_type": "LORA", "base_model_name_or_path": "/somewhere/what", "weights": True},
    ],
)
def test_why_an_adapter_is_not_applied_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    if settings.pop("weights", False):
        (tmp_path / "adapter_model.safetensors").touch()
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(ForeignFileError) as refused:
        find_base(read_adapter(tmp_path), Settings(cache_dir=tmp_path, models_dir=tmp_path))
    assert has_next_step(f"This model cannot be run: {refused.value.clause}.")


@pytest.mark.parametrize(
    "code",
    [
        'raise ModelError("The weights are damaged.")',
        'raise ModelError(f"{name} lacks {lacking[0]}, so it cannot be run.")',
        'raise ModelError("A run is shown here. The copy is whole, and a check of the list says more.")',
        'raise ModelError("The file is gone." if gone else "The file is damaged. Copy it again.")',
        "raise ModelError(WORDS) from error",
        'def refuse() -> None:\n    words = f"It is {kind}."\n    raise errors.NoRoomError(words)',
        'return_it = lambda error: StorageError("The disk is full.", str(error))',
        'def refuse(kind) -> None:\n    error = ModelError if kind else BadRequestError\n    raise error(f"No '
        '{kind}.")',
        'raise type(error)(f"{kind}: the model is too large.")',
        'raise Own("It cannot be read.")\nclass Own(ModelError): ...',
    ],
)
def test_a_message_without_a_next_step_is_found(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = ast.parse(f'WORDS = "It cannot be read."\n{code}')
    monkeypatch.setattr(sys.modules[__name__], "shown_classes", lambda: classes_in([*trees().values(), planted]))
    [(_place, _code, ways)] = messages({PACKAGE / "planted.py": planted})
    assert ways is not None
    assert not all(map(has_next_step, ways))


def test_a_message_that_cannot_be_read_is_found() -> None:
    planted = ast.parse("raise ModelError(words_of(error))")
    assert list(messages({PACKAGE / "planted.py": planted})) == [("planted.py:1", "planted.py: words_of(error)", None)]


@pytest.mark.parametrize(
    "words",
    [
        "The weights are damaged. Copy them again.",
        "The limit is 'ten'; give a number.",
        "The network is down: check it, or choose a bundled model.",
        "Send JSON with model and text.",
        "It stopped (too little memory), then try another.",
    ],
)
def test_a_next_step_is_known_where_it_stands(words: str) -> None:
    assert has_next_step(words)
