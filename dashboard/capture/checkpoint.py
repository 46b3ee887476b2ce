"""A model folder's weights by name, read only on access, and where each of them goes in a model."""

from __future__ import annotations

import copy
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from dashboard.capture.configuration import first_line
from dashboard.catalog.fingerprint import weight_files
from dashboard.catalog.memory import BYTES_A_WEIGHT
from dashboard.errors import ModelError, UnsafeModelError

WHOLE_NUMBERS = ("I", "U", "B")  # first letters of safetensors' types for non-real numbers


@dataclass(frozen=True)
class Checkpoint:
    """Weights under their names in the files; `[...]` reads a value."""

    tensors: Mapping[str, Any]

    def read(self, name: str) -> torch.Tensor:
        found: torch.Tensor = self.tensors[name][...]
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        tensor = self.tensors[name]
        return tuple(tensor.shape if isinstance(tensor, torch.Tensor) else tensor.get_shape())

    def is_real(self, name: str) -> bool:
        """Whether the weight holds floating-point numbers (quantised weights are whole numbers)."""
        tensor = self.tensors[name]
        if isinstance(tensor, torch.Tensor):
            return tensor.is_floating_point()
        return not str(tensor.get_dtype()).startswith(WHOLE_NUMBERS) or str(tensor.get_dtype()) == "BF16"


@contextmanager
def opened(folder: Path, title: str) -> Iterator[Checkpoint]:
    """Open the checkpoint of a model folder; only headers are read (pickled checkpoints are mapped into memory).

    Raises:
        UnsafeModelError: a pickled file holds more than tensors.
        ModelError: a file is damaged, or two files disagree about a weight.
    """
    tensors: dict[str, Any] = {}
    with ExitStack() as stack:
        for path in weight_files(folder):
            for name, tensor in _tensors(path, title, stack):
                if name in tensors and not torch.equal(tensors[name][...], tensor[...]):
                    raise ModelError(f"Two files of {title} hold different weights {name}. Download or save it again.")
                tensors[name] = tensor
        yield Checkpoint(tensors)


def _tensors(path: Path, title: str, stack: ExitStack) -> Iterator[tuple[str, Any]]:
    try:
        if path.suffix == ".safetensors":
            file = stack.enter_context(safe_open(path, framework="pt", device="cpu"))
            yield from ((name, file.get_slice(name)) for name in file.keys())  # noqa: SIM118  not a mapping
            return
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UnsafeModelError(
            f"The weights of {title} hold more than tensors, and reading them could run code. "
            "Save them as safetensors, or choose another model."
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, SafetensorError) as error:
        raise unreadable(title, error) from error
    entries = found.items() if isinstance(found, Mapping) else [("its contents", found)]
    for name, tensor in entries:
        if not isinstance(tensor, torch.Tensor) or not isinstance(name, str):
            raise ModelError(
                f"{path.name} of {title} holds “{str(name)[:80]}”, which is not a weight. Save only its weights."
            )
        yield name, tensor


def unreadable(title: str, error: BaseException) -> ModelError:
    """Return the error for weights that a library cannot read."""
    return ModelError(f"The weights of {title} cannot be read ({first_line(error)}). Download or save it again.")


@dataclass(frozen=True)
class Plan:
    """Where a checkpoint's weights go in one model.

    Attributes:
        model: the model, without values. targets: the model's names, each with the checkpoint's names that go there.
        leftovers: the checkpoint's names that go nowhere. doubles: pairs of names that go to the same place.
        made: the model's names whose values are built from several weights, or from a part of one.
    """

    model: PreTrainedModel
    targets: Mapping[str, tuple[str, ...]]
    leftovers: tuple[str, ...]
    doubles: tuple[str, ...]
    made: frozenset[str] = frozenset()

    def used(self) -> set[str]:
        """Return the checkpoint's names that go into the model."""
        return {name for names in self.targets.values() for name in names}

    def lacking(self) -> list[str]:
        """Return the model's names that get no value, neither directly nor from a weight they are tied to."""
        tied, optional = self.model.all_tied_weights_keys, self.model._keys_to_ignore_on_load_missing or ()
        there = {tied.get(name, name) for name in (*self.targets, *self.made)}
        names = [name for name in self.model.state_dict() if tied.get(name, name) not in there]
        return [name for name in names if not any(re.search(pattern, name) for pattern in optional)]

    def unlike(self, checkpoint: Checkpoint) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
        """Return the first name whose weight has a different shape: (name, the weight's shape, the model's)."""
        slots = self.model.state_dict()
        for target, names in self.targets.items():
            ours = tuple(slots[target].shape)
            if target not in self.made and checkpoint.shape(names[0]) != ours:
                return target, checkpoint.shape(names[0]), ours
        return None

    def numbers(self) -> tuple[int, int]:
        """Count the whole model: (parameters, numbers in buffers in units of a parameter's size), tied ones once."""
        tied = self.model.all_tied_weights_keys
        parameters = sum(value.numel() for name, value in self.model.named_parameters() if name not in tied)
        return parameters, sum(value.nbytes for value in self.model.buffers()) // BYTES_A_WEIGHT


def plan(model_class: Any, config: PretrainedConfig, checkpoint: Checkpoint) -> Plan:
    """Plan where each weight goes in a model of this class, by transformers' own rules of names; reads no weights."""
    model = skeleton(model_class, config)
    slots = model.state_dict()
    transforms = get_model_conversion_mapping(model)
    renamings = [entry for entry in transforms if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in transforms if isinstance(entry, WeightConverter)]
    prefix = model.base_model_prefix
    targets: dict[str, list[tuple[str, str | None]]] = {}
    leftovers: list[str] = []
    made: set[str] = set()
    for name in sorted(checkpoint.tensors):
        target, pattern = rename_source_key(name, renamings, converters, prefix, slots)
        if target not in slots and name in slots:
            target, pattern = rename_source_key(name, [], [], prefix, slots)
        if target in slots:
            targets.setdefault(target, []).append((name, pattern))
            made.update(_made(target, pattern, converters))
        else:
            leftovers.append(name)
    return Plan(
        model,
        {target: tuple(name for name, _ in found) for target, found in targets.items()},
        tuple(leftovers),
        tuple(_doubles(targets, prefix)),
        frozenset(made),
    )


def _made(target: str, pattern: str | None, converters: Sequence[WeightConverter]) -> Iterator[str]:
    """Yield `target`, if a rule builds it from the checkpoint, and the other names that this rule builds."""
    if pattern is None:
        return
    yield target
    for converter in converters:
        first, *others = converter.target_patterns
        if pattern in converter.source_patterns:
            yield from (target.replace(first, other) for other in others)


def _doubles(targets: Mapping[str, list[tuple[str, str | None]]], prefix: str) -> Iterator[str]:
    for found in targets.values():
        plain = any(pattern is None for _, pattern in found)
        ends = {name.removeprefix(f"{prefix}.") for name, _ in found}
        if len(found) > 1 and (plain or len(ends) < len(found)):
            yield " and ".join(name for name, _ in found[:2])


def skeleton(model_class: Any, config: PretrainedConfig) -> PreTrainedModel:
    """Build a model of this class without values."""
    with ExitStack() as stack:
        for context in model_class.get_init_context(torch.float32, False, False, False):  # as from_pretrained does
            stack.enter_context(context)
        model: PreTrainedModel = model_class(copy.deepcopy(config))
    return model
