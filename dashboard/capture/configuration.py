"""A model's configuration as transformers reads it, without the keys that would choose code instead of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import CONFIG_MAPPING, PretrainedConfig

from dashboard.catalog.description import read_config
from dashboard.errors import ModelError, ModelNotFoundError, UnsafeModelError, UnsupportedModelError

NOT_FOLLOWED = frozenset(  # keys that choose an implementation, possibly a download, or the form of the outputs
    {
        *(
            "attn_implementation",
            "_attn_implementation",
            "_attn_implementation_internal",
            "_attn_implementation_autoset",
        ),
        *("experts_implementation", "_experts_implementation", "_experts_implementation_internal"),
        *("fusion_config", "kernel_config", "use_kernels", "distributed_config", "auto_map"),
        *(
            "output_attentions",
            "_output_attentions",
            "output_hidden_states",
            "return_dict",
            "use_return_dict",
            "torchscript",
        ),
    }
)
# values of BERT's `position_embedding_type` that transformers 5 dropped
REFUSED_FORMS = ("relative_key", "relative_key_query")


def load_config(folder: Path, title: str) -> PretrainedConfig:
    """Load the configuration of a model folder.

    Raises:
        UnsafeModelError: it names code that comes with the model, for a family that transformers does not know.
        UnsupportedModelError: an unknown family, values that the family does not accept, an encoder–decoder model.
        ModelError: the file cannot be read.
    """
    try:
        raw = read_config(folder)
    except ModelNotFoundError as error:
        raise ModelError(f"The configuration of {title} cannot be read. Download or save it again.") from error
    family = raw.get("model_type")
    if family == "mistral" and "layer_types" in raw:
        family = "ministral"  # as in transformers' own AutoConfig
    if not isinstance(family, str) or family not in CONFIG_MAPPING:
        if raw.get("auto_map"):
            raise UnsafeModelError(
                f"{title} loads only by running code that comes with it, which this program never does. Choose another "
                f"model."
            )
        raise UnsupportedModelError(
            f"{title} has a configuration that transformers does not know. Choose another model."
        )
    try:
        config = CONFIG_MAPPING[family].from_dict(plain({**raw, "model_type": family}))
    except Exception as error:  # a file's values can make a class raise anything
        raise UnsupportedModelError(
            f"{title} has a configuration that its family {family} does not accept ({first_line(error)}). Choose "
            "another model."
        ) from error
    refuse_encoder_decoder(config, title)
    form = getattr(config.get_text_config(), "position_embedding_type", None)
    if form in REFUSED_FORMS:
        raise UnsupportedModelError(
            f"{title} has positions of the form {form}, which transformers {transformers.__version__} no longer "
            f"computes. "
            "Choose another model."
        )
    return config


def plain(value: Any) -> Any:
    """Return a decoded JSON value without the keys of `NOT_FOLLOWED`, at any depth."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if name not in NOT_FOLLOWED}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def refuse_encoder_decoder(config: PretrainedConfig, title: str) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"{title} ({config.model_type}) is an encoder–decoder model, which is not supported yet. Choose another "
            "model."
        )


def first_line(error: BaseException) -> str:
    """Return the first meaningful line of an error's message, shortened; the error's class if there is none."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
