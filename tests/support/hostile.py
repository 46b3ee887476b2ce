"""Damaged and hostile models, as files: each function takes the folder of a good model and spoils it, or makes a GGUF
file."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_layer": 3,
    "n_head": 2,
    "n_positions": 64,
    "vocab_size": 5,
}
WEIGHTS, VOCABULARY = "model.safetensors", "tokenizer.json"
Spoil = Callable[[Path], None]


def good_model(folder: Path) -> Path:
    """A model folder against whose files nothing speaks; its tokenizer has five words."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / WEIGHTS).write_bytes(safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, 8))
    (folder / VOCABULARY).write_text(json.dumps(word_tokenizer()))
    return folder


def word_tokenizer(**parts: Any) -> dict[str, Any]:
    """tokenizer.json of whole words between spaces; `parts` takes the place of its own."""
    model = {
        "type": "WordLevel",
        "vocab": {"[UNK]": 0, "one": 1, "two": 2, "three": 3, "four": 4},
        "unk_token": "[UNK]",
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
        **parts,
    }


def safetensors(header: Any, content: int, length: int | None = None) -> bytes:
    """A safetensors file: its header, then `content` zeros; `length` is what it says of the header's length."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(content)


def gguf(tensors: int = 0, keys: int = 0, rest: bytes = b"") -> bytes:
    """The start of a GGUF file that says how many tensors and keys follow, and what follows."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


def key(name: str, kind: int, rest: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + rest


def array(inner: int, length: int, rest: bytes = b"") -> bytes:
    return key("x", 9, struct.pack("<IQ", inner, length) + rest)


GGUF_FILES: dict[str, bytes] = {
    "array-count": gguf(0, 1, array(8, 2**64 - 1) + bytes(100)),
    "array-of-numbers": gguf(0, 1, array(10, 2**62) + bytes(100)),
    "array-of-empty-texts": gguf(0, 1, array(8, 1_999_999) + bytes(8 * 1_999_998)),
    "array-of-arrays": gguf(0, 1, array(9, 1, struct.pack("<IQ", 9, 1) * 200)),
    "text-length": gguf(0, 1, array(8, 2, struct.pack("<Q", 2**63 + 5) + bytes(50))),
    "key-length": gguf(0, 1, struct.pack("<Q", 2**64 - 1) + bytes(50)),
    "key-not-utf8": gguf(0, 1, struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<IQ", 10, 1)),
    "tensor-count": gguf(2**63, 0, bytes(100)),
    "key-count": gguf(0, 2**64 - 1, bytes(100)),
    "dimensions": gguf(1, 0, struct.pack("<Q", 1) + b"a" + struct.pack("<I", 2**32 - 1) + bytes(100)),
    "sizes": gguf(1, 0, struct.pack("<Q", 1) + b"a" + struct.pack("<I4Q", 4, *([2**63] * 4)) + bytes(12)),
    "type": gguf(0, 1, key("x", 99, bytes(20))),
    "empty": b"",
    "half": b"GGUF" + b"\x03",
    "layers": gguf(
        0,
        2,
        key("general.architecture", 8, struct.pack("<Q", 5) + b"llama")
        + key("llama.block_count", 10, struct.pack("<Q", 10**9)),
    ),
}


def _json(name: str, content: str | bytes) -> Spoil:
    return lambda folder: (
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None
    )


def _config(**values: Any) -> Spoil:
    return _json("config.json", json.dumps({**CONFIG, **values}))


def _raw_config(value: str) -> Spoil:
    return _json("config.json", json.dumps({**CONFIG, "n_layer": "VALUE"}).replace('"VALUE"', value))


def _weights(content: bytes) -> Spoil:
    return _json(WEIGHTS, content)


def _instead(name: str, make: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def _socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # an address may have some hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _sparse(size: int) -> Spoil:
    def make(path: Path) -> None:
        with path.open("wb") as stream:
            stream.truncate(size)

    return make


def pickled(index: bytes, method: int = zipfile.ZIP_DEFLATED, names: tuple[str, ...] = ("model/data.pkl",)) -> bytes:
    """A PyTorch checkpoint with this index, compressed: some kB may stand for 50 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, index)
    return file.getvalue()


def index_of(text: bytes, count: int) -> bytes:
    """A pickled list with one text of at most 255 bytes many times, each an object of its own."""
    return b"\x80\x04](" + (b"\x8c" + bytes([len(text)]) + text) * count + b"e."


def _directory(entries: int) -> bytes:
    """A zip file of nothing but its list of contents."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"x"
    assert len(entry) == 47
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, min(entries, 65535), min(entries, 65535), 47 * entries, 4, 0)
    return b"PK\x03\x04" + entry * entries + end


def _pickle(*contents: bytes) -> Spoil:
    """The weights as PyTorch checkpoints of these bytes instead."""

    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        for number, content in enumerate(contents, 1):
            part = "" if len(contents) == 1 else f"-{number}-of-{len(contents)}"
            (folder / f"pytorch_model{part}.bin").write_bytes(content)

    return spoil


# how one of the old format begins
OLD = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
DEEP = "[" * 100_000 + "]" * 100_000
FOLDERS: dict[str, Spoil] = {
    "nested": _raw_config(DEEP),
    "nested-objects": _raw_config('{"a":' * 50_000 + "1" + "}" * 50_000),
    "infinite": _raw_config("1e400"),
    "not-a-number": _raw_config("NaN"),
    "digits": _raw_config("9" * 1_000_000),
    "too-large": _raw_config("9" * 40),
    "layers": _config(n_layer=1_000_000),
    "negative": _config(n_layer=-3),
    "heads": _config(n_head=10**9),
    "width": _config(n_embd=10**12),
    "positions": _config(n_positions=10**15),
    "list": _config(n_layer=[1] * 5_000),
    "text": _config(n_layer="12"),
    "truth": _config(n_layer=True),
    "architectures": _config(architectures=5),
    "family": _config(model_type=["gpt2"]),
    "family-object": _config(model_type={"a": 1}),
    "family-long": _config(model_type="x" * 1_000_000),
    "inner": _config(text_config=[1, 2]),
    "inner-size": _config(text_config={**CONFIG, "n_layer": 10**7}),
    "not-an-object": _json("config.json", "[]"),
    "number": _json("config.json", "1e400"),
    "empty": _json("config.json", ""),
    "not-utf8": _json("config.json", b'{"model_type": "\xff\xfe"}'),
    "zeros": _json("config.json", bytes(1000)),
    "many-values": _json("config.json", '{"x": [' + "[]," * 1_200_000 + "0]}"),
    "huge": _instead("config.json", _sparse(50_000_000_000)),
    "pipe": _instead("config.json", lambda path: os.mkfifo(path)),
    "socket": _instead("config.json", _socket),
    "folder": _instead("config.json", lambda path: path.mkdir()),
    "pipe-of-weights": _instead(WEIGHTS, lambda path: os.mkfifo(path)),
    "socket-of-weights": _instead(WEIGHTS, _socket),
    "pipe-of-vocabulary": _instead(VOCABULARY, lambda path: os.mkfifo(path)),
    "another-pipe": lambda folder: os.mkfifo(folder / "generation_config.json"),
    "tokenizer-config": _json("tokenizer_config.json", DEEP),
    "tokenizer-config-pipe": lambda folder: os.mkfifo(folder / "tokenizer_config.json"),
    "header-length": _weights(safetensors({}, 8, 2**64 - 1)),
    "header-longer-than-file": _weights(safetensors({}, 8, 10**6)),
    "header-huge": _weights(safetensors(b" " * 20_000_000, 8)),
    "header-nested": _weights(safetensors(DEEP.encode(), 8)),
    "header-list": _weights(safetensors([1], 8)),
    "header-numbers": _weights(safetensors({"a": 5}, 8)),
    "shape-text": _weights(safetensors({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 8]}}, 8)),
    "shape-huge": _weights(safetensors({"a": {"dtype": "F32", "shape": [10**4000] * 3000, "data_offsets": [0, 8]}}, 8)),
    "shape-long": _weights(safetensors({"a": {"dtype": "F32", "shape": [2**62] * 17, "data_offsets": [0, 8]}}, 8)),
    "offsets-infinite": _weights(safetensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1e400]}}', 8)),
    "dtype": _weights(safetensors({"a": {"dtype": 5, "shape": [2], "data_offsets": [0, 8]}}, 8)),
    "weights-empty": _weights(b"\0" * 3),
    "index-bomb": _pickle(pickled(b"\x80\x04" + b"N" * 50_000_000 + b".")),
    "index-texts": _pickle(pickled(index_of(b"a.", 12_000_000))),
    "index-operations": _pickle(pickled(b"\x80\x04" + b"N" * 3_000_000 + b".")),
    "index-parts": _pickle(*[pickled(index_of(b"abcdefg." * 30, 4_000))] * 20),
    "index-lzma": _pickle(pickled(index_of(b"a.b", 2), zipfile.ZIP_LZMA)),
    "index-twice": _pickle(pickled(index_of(b"a.b", 2), names=("model/data.pkl", "other/data.pkl"))),
    "index-lacks": _pickle(pickled(b"", names=("model/version",))),
    "index-cut": _pickle(pickled(index_of(b"a.b", 2))[:-30]),
    "index-damaged": _pickle(pickled(b"\x80\x04\xff.")),
    "index-old-texts": _pickle(OLD + index_of(b"abcdefg." * 30, 100_000)),
    "index-old-operations": _pickle(OLD + b"\x80\x04" + b"N" * 3_000_000 + b"."),
    "index-old-length": _pickle(OLD + b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a." * 10_000_000),
    "directory": _pickle(_directory(200_000)),
}
DEVICES: dict[str, Spoil] = {  # only in the hub's local cache: a link out of a server's folder is not followed
    "device": _instead("config.json", _device),
    "device-of-weights": _instead(WEIGHTS, _device),
}
STRANGE_NAMES = (
    b"two\nlines",
    "mod\u202elrtl".encode(),
    b"<script>alert(1)</script>",
    b"\xff\xfe",
    "אבג".encode(),
    b"a" * 255,
)
