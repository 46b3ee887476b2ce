"""Merging an adapter into its base with peft: a folder's into the base just loaded, a notebook's into a copy.

The only module that imports peft. Only the factors go through peft, under names and ranks that were read from the
weights themselves: none of peft's own reading of files and settings, which follows what they say, takes part.
"""

from __future__ import annotations

import copy
import re
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from dashboard.capture.adapter_weights import AdapterWeights
from dashboard.capture.configuration import first_line
from dashboard.catalog.foreign_files import shown
from dashboard.errors import UnsupportedModelError

# raised by peft for an adapter or a model that it cannot merge
MERGING = (ValueError, TypeError, NotImplementedError, RuntimeError, AttributeError)
NAME = "default"  # of the adapter while it is in the model
PARTS = ("lora_A.weight", "lora_B.weight")
OF_EMBEDDINGS = ("lora_embedding_A", "lora_embedding_B")


def merge(model: PreTrainedModel, weights: AdapterWeights) -> None:
    """Add an adapter's factors to the weights of its base, in place.

    Raises:
        UnsupportedModelError: the adapter does not fit the base, or changes a kind of module that peft does not know.
    """
    modules = {name for name, _module in model.named_modules()}
    places = {_place(modules, f"{model.base_model_prefix}.", module, weights): module for module in weights.factors}
    if len(places) < len(weights.factors):
        raise weights.misfit("two of its modules belong to the same module there")
    for place, module in places.items():
        _check(model.get_submodule(place), module, weights)
    if not places:
        return
    if _untied(model, places) and weights.adapter.tying:
        raise UnsupportedModelError(
            f"{weights.title} changes two tied weights together (ensure_weight_tying), which is not applied here. "
            "Merge it into its base first (peft: merge_and_unload)."
        )
    try:
        _inject(model, places, weights)
        _merge_layers(model)
    except MERGING as error:
        raise UnsupportedModelError(
            f"{weights.title} cannot be merged into its base {weights.base} ({first_line(error)}). Merge it first "
            "(peft: merge_and_unload), and save the result."
        ) from error


def _place(modules: Collection[str], prefix: str, module: str, weights: AdapterWeights) -> str:
    """Return a module's name in the model, which may lack its family's first part ("bert.") or have it in addition."""
    names = (module, prefix + module, module.removeprefix(prefix))
    place = next((name for name in names if name in modules), None)
    if place is None:
        raise weights.misfit(f"it has no {shown(module, 80)}")
    return place


def _check(module: nn.Module, name: str, weights: AdapterWeights) -> None:
    """Check that the factors of one module are whole, of the rank that the settings give, and of the module's shape."""
    parts, adapter = weights.factors[name], weights.adapter
    first, second = OF_EMBEDDINGS if isinstance(module, nn.Embedding) else PARTS
    known = {first, second, *(("lora_magnitude_vector",) if adapter.dora else ())}
    known |= {"lora_B.bias"} if adapter.bias else set()
    if set(parts) != known:
        raise weights.misfit(f"{shown(name, 80)} has {', '.join(sorted(parts))} there, not {', '.join(sorted(known))}")
    one, two = parts[first], parts[second]
    if one.ndim != 2 or two.ndim != 2 or not len(one) == two.shape[1] == adapter.rank_of(name):
        raise weights.misfit(f"the factors of {shown(name, 80)} are not of the rank {adapter.rank_of(name):g}")
    sides, weight = (two.shape[0], one.shape[1]), getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
        raise weights.misfit(f"{shown(name, 80)} is a {type(module).__name__} there")
    turned = not isinstance(module, nn.Linear)  # GPT-2's Conv1D and embeddings: (in, out)
    shape = tuple(reversed(weight.shape)) if turned else tuple(weight.shape)
    if sides != shape:
        raise weights.misfit(
            f"{shown(name, 80)} takes {shape[1]} and gives {shape[0]} numbers there, not {sides[1]} and {sides[0]}"
        )


def _untied(model: nn.Module, places: Iterable[str]) -> bool:
    """Give each of these modules a weight of its own, which no other module has; return whether any was shared."""
    shared = False
    uses = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
    for place in places:
        layer: Any = model.get_submodule(place)
        module = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
        if uses[id(module.weight)] > 1:
            module.weight = nn.Parameter(module.weight.detach().clone(), requires_grad=False)
            shared = True
    if shared:
        model.config.tie_word_embeddings = False  # type: ignore[union-attr]
    return shared


def _inject(model: PreTrainedModel, places: Mapping[str, str], weights: AdapterWeights) -> None:
    """Put peft's layers around the modules at `places`, with the adapter's factors in them."""
    from peft import LoraConfig, inject_adapter_in_model

    adapter = weights.adapter
    sizes = {place: (int(adapter.rank_of(name)), adapter.alpha_of(name)) for place, name in places.items()}
    (rank, alpha), _count = Counter(sizes.values()).most_common(1)[0]
    others = {f"^{re.escape(place)}": size for place, size in sizes.items() if size != (rank, alpha)}
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        rank_pattern={place: size[0] for place, size in others.items()},
        alpha_pattern={place: size[1] for place, size in others.items()},
        target_modules=sorted(places),
        use_dora=adapter.dora,
        use_rslora=adapter.rslora,
        lora_bias=adapter.bias,
    )
    inject_adapter_in_model(config, model, NAME)
    layers = dict(_layers(model))
    if set(layers) != set(places):
        raise ValueError(f"peft would change {', '.join(sorted(set(layers) ^ set(places)))[:80]}")
    for place, name in places.items():
        for part, values in weights.factors[name].items():
            _slot(layers[place], part).data.copy_(values.reshape(_slot(layers[place], part).shape))


def _slot(layer: Any, part: str) -> torch.Tensor:
    """Return the parameter of one of peft's layers for a part of an adapter."""
    kind, _, rest = part.partition(".")
    found = getattr(layer, kind)[NAME]
    return found if isinstance(found, torch.Tensor) else getattr(found, rest or "weight")


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield peft's own layers in a model by name, but for those inside another."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper) and not name.startswith(inside or "\0"):
            inside = (*inside, f"{name}.")
            yield name, module


def _merge_layers(model: nn.Module) -> None:
    """Put the module that each of peft's layers is around back in its place, with the adapter in its weights."""
    for name, layer in list(_layers(model)):
        if hasattr(layer, "unload_and_optionally_merge_module"):
            module = layer.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
        else:
            if not layer.disable_adapters:
                layer.merge(safe_merge=True)
            elif layer.merged:
                layer.unmerge()
            module = layer.get_base_layer()
        model.set_submodule(name, module)


def is_peft(model: object) -> bool:
    """Whether a model of a notebook is peft's, or has peft's layers in it."""
    if "peft" not in sys.modules:
        return False
    from peft import PeftModel

    return isinstance(model, PeftModel) or (isinstance(model, nn.Module) and any(_layers(model)))


def merged_copy(model: Any, title: str) -> PreTrainedModel:
    """Return the transformers model in peft's, with the active adapters merged; `model` stays as it is.

    The copy shares the memory of all weights that the adapters do not change.

    Raises:
        UnsupportedModelError: an adapter is not LoRA or DoRA, or cannot be merged.
    """
    from peft.tuners.lora import LoraLayer

    kinds = {str(getattr(config.peft_type, "value", config.peft_type)) for config in _configs(model)}
    if kinds - {"LORA"}:
        raise UnsupportedModelError(
            f"{title} has an adapter of the type {', '.join(sorted(kinds - {'LORA'}))}, and only LoRA and DoRA are "
            "merged here. Merge it into its base first: model.merge_and_unload()."
        )
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    changed = {id(weight) for _name, layer in _layers(inner) for weight in layer.parameters()}
    shared: dict[int, Any] = {id(value): value for value in inner.buffers()}
    for weight in inner.parameters():
        values = weight.detach().clone() if id(weight) in changed else weight.detach()
        shared[id(weight)] = nn.Parameter(values, requires_grad=False)
    found = copy.deepcopy(inner, shared)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of adapters that were merged before
            _untied(found, [name for name, layer in _layers(found) if isinstance(layer, LoraLayer)])
            _merge_layers(found)
    except MERGING as error:
        raise UnsupportedModelError(
            f"The adapter of {title} cannot be merged ({first_line(error)}). Merge it yourself, and pass the result."
        ) from error
    return found


def _configs(model: Any) -> list[Any]:
    found = getattr(model, "peft_config", None)
    return list(found.values()) if isinstance(found, dict) else []
