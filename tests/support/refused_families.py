"""Which families capture refuses, tried on a small random model of each.

    python -m tests.support.refused_families

writes the outcome to dashboard/catalog/refused_families.py, which the picker reads, and to docs/models.md. Run it after
an update of transformers; a test says when it is due.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from dashboard.capture.loader import wrap_model
from dashboard.capture.model_probe import base_of, keywords_of, probe_inputs
from dashboard.capture.own_attention import find
from dashboard.catalog.architecture import families_known, family_source
from dashboard.errors import UnsupportedModelError
from tests.support.tiny_models import tokenizer

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "dashboard" / "catalog" / "refused_families.py"
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- refused families: written by tests/support/refused_families.py -->", "<!-- end -->"
OPENS, CLOSES = "REFUSED: Mapping[str, Refused] = MappingProxyType(\n    {\n", "    }\n)\n"
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "embedding_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_inner", "d_ff", "dim_ff"), 64),
    **{"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
}
FURTHER: Mapping[str, Mapping[str, Any]] = {  # what some families need beside, to be small
    "codegen": {"rotary_dim": 4},
    "cpmant": {"num_attention_heads": 4, "dim_head": 8},
    "funnel": {"num_hidden_layers": None, "block_sizes": [1, 1], "d_head": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 16},
    "reformer": {"axial_pos_embds": False, "attention_head_size": 8, "attn_layers": ["local", "lsh"]},
}
MOST_PARAMETERS = 3_000_000


def families() -> Iterator[tuple[str, Any]]:
    """(model type, configuration class) of every text family with its own attention code.

    Left out are encoder–decoder models, which are refused as such, and models made of several others.
    """
    for name in sorted(families_known()):
        source = family_source(name)
        if source is None or source.exposes or not (source.masked or source.causal) or name not in CONFIG_MAPPING:
            continue
        made = CONFIG_MAPPING[name]
        known = made in MODEL_FOR_MASKED_LM_MAPPING or made in MODEL_FOR_CAUSAL_LM_MAPPING
        parts = set(made.sub_configs) & {"text_config", "vision_config", "audio_config"}
        if known and not parts and not getattr(made, "is_encoder_decoder", False):
            yield name, made


def reason_of(name: str, made: Any) -> str | None:
    """Why capture refuses a family, as a clause; "" if it has no attention heads; None if it is not refused."""
    if not hasattr(made(), "num_attention_heads"):
        return ""
    model = small_model(name, made)
    loaded = wrap_model(model, tokenizer(False), name, fingerprint=name)
    fresh = small_model(name, made)  # the first forward may change how a model attends
    info = loaded.info
    try:
        with torch.inference_mode():
            find(fresh, base_of(fresh), probe_inputs(fresh) | keywords_of(info), info, None)
    except UnsupportedModelError as error:
        return re.sub(r".*? attention code, and (.*), so it cannot be captured.*", r"\1", str(error))
    return None


def small_model(name: str, made: Any) -> Any:
    """A small random model of a family, as its configuration class makes it by default."""
    default, further = made(), FURTHER.get(name, {})
    sizes = {key: value for key, value in SMALL.items() if hasattr(default, key)} | further
    config = made(**{key: value for key, value in sizes.items() if value is not None})
    mapping = MODEL_FOR_MASKED_LM_MAPPING if made in MODEL_FOR_MASKED_LM_MAPPING else MODEL_FOR_CAUSAL_LM_MAPPING
    model_class = mapping[made]
    with torch.device("meta"):
        parameters = sum(values.numel() for values in model_class(config).parameters())
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"{name} has {parameters:,} parameters; add what makes it small to FURTHER.")
    torch.manual_seed(0)
    return model_class(config).eval()


def title_of(made: Any) -> str:
    """A family's name for people: "BigBird"."""
    return str(made.__name__).removesuffix("Config")


def refused() -> dict[str, tuple[str, str]]:
    """{model type: (name for people, reason)} of every refused family."""
    found = {name: (title_of(made), reason_of(name, made)) for name, made in families()}
    return {name: (title, reason) for name, (title, reason) in found.items() if reason is not None}


def module_text(entries: Mapping[str, tuple[str, str]], module: str) -> str:
    """The module that the picker reads, with `entries` in its table."""
    rows = "".join(f'        "{name}": Refused("{title}", "{reason}"),\n' for name, (title, reason) in entries.items())
    return f"{module.split(OPENS)[0]}{OPENS}{rows}{CLOSES}"


def page_text(entries: Mapping[str, tuple[str, str]], page: str) -> str:
    """docs/models.md with its list of refused families as `entries` has it."""
    names = sorted((title for title, _reason in entries.values()), key=str.lower)
    lines, line = [], "  "
    for index, title in enumerate(names):
        word = title + ("," if index < len(names) - 1 else ".")
        if len(line) + len(word) + 1 > 120:
            lines.append(line)
            line = "  "
        line += word if not line.strip() else f" {word}"
    listed = "\n".join([*lines, line])
    before, after = page.split(BEGIN)[0], page.split(BEGIN)[1].split(END, 1)[1]
    return f"{before}{BEGIN}\n{listed}\n  {END}{after}"


def main() -> None:
    """Write both."""
    entries = refused()
    MODULE.write_text(module_text(entries, MODULE.read_text(encoding="utf-8")), encoding="utf-8")
    PAGE.write_text(page_text(entries, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, (_title, reason) in entries.items():
        sys.stdout.write(f"{name}: {reason or 'no attention heads'}\n")


if __name__ == "__main__":
    main()
