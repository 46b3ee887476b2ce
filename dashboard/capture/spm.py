"""Tokenizers that exist only as a SentencePiece model: transformers' version is compared with SentencePiece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, normalizers

from dashboard.errors import UnsupportedModelError

FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
BPE = 2  # one of SentencePiece's model types
PROBES = (
    "the cat sat",
    "A  b, c's 12.5!",
    " x  y ",
    "a\nb\tc",
    "你好 mat",
    "café cafe\u0301 ﬁ ① Ｚ",
    "😀 שלום",
    "\u00a0x",
)


def check_format(folder: Path, title: str) -> None:
    """Raise `UnsupportedModelError` if the folder's only tokenizer file does not say how a text is split."""
    path = _only_file(folder)
    if path is not None and _opened(path.read_bytes()) is None:
        raise UnsupportedModelError(
            f"The only tokenizer file of {title}, {path.name}, is not a SentencePiece model. (A tiktoken file does not "
            "say how to split a text into words.) Save its tokenizer.json beside it: AutoTokenizer's save_pretrained."
        )


def _only_file(folder: Path) -> Path | None:
    """Return the SentencePiece file of a folder that has no other vocabulary."""
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "vocab.txt")):
        return None
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def faithful(tokenizer: Any, folder: Path, title: str) -> Any:
    """Make the tokenizer split texts as the folder's SentencePiece model does, if the folder has one.

    transformers' classes assume some of what a model file specifies (no normalisation, every space kept). If that makes
    a difference, the file's own normalisation replaces theirs.

    Raises:
        UnsupportedModelError: it still splits texts differently.
    """
    path = _only_file(folder)
    opened = None if path is None or not getattr(tokenizer, "is_fast", False) else _opened(path.read_bytes())
    if path is None or opened is None:
        return tokenizer
    processor, proto = opened
    if proto.trainer_spec.model_type != BPE and type(tokenizer.backend_tokenizer.model).__name__ != "BPE":
        return tokenizer  # these families (T5, ALBERT, XLM-R) change texts before SentencePiece sees them
    if _differs(tokenizer, processor) is None:
        return tokenizer
    tokenizer.backend_tokenizer.normalizer = _normaliser(proto.normalizer_spec)
    tokenizer.backend_tokenizer.pre_tokenizer = None
    probe = _differs(tokenizer, processor)
    if probe is not None:
        raise UnsupportedModelError(
            f"{path.name}, the only tokenizer file of {title}, and transformers' {type(tokenizer).__name__} split this "
            f"text differently: “{probe}”. Save its tokenizer.json beside it, or name the right tokenizer_class."
        )
    return tokenizer


def _opened(content: bytes) -> tuple[Any, Any] | None:
    """Return (SentencePiece's own tokenizer, the file's specification); None for another format (tiktoken's)."""
    from google.protobuf.message import DecodeError
    from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        proto.ParseFromString(content)
        return SentencePieceProcessor(model_proto=content), proto
    except (DecodeError, RuntimeError):
        return None


def _differs(tokenizer: Any, processor: Any) -> str | None:
    """Return the first probe that the two split differently; None if there is none."""
    vocabulary, unknown = tokenizer.get_vocab(), tokenizer.unk_token
    for probe in PROBES:
        theirs = [piece if piece in vocabulary else unknown for piece in processor.encode(probe, out_type=str)]
        if tokenizer.tokenize(probe) != theirs:
            return probe
    return None


def _normaliser(spec: Any) -> normalizers.Normalizer:
    """Build the normalisation that the file specifies before splitting."""
    parts: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        parts.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        parts += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if spec.add_dummy_prefix:
        parts.append(normalizers.Prepend("▁"))
    return normalizers.Sequence([*parts, normalizers.Replace(" ", "▁")])
