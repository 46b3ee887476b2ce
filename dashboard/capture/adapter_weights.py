"""An adapter's weights, and a base's checkpoint with those that the adapter brings whole in place of the base's own.

peft writes factors of low rank for some modules, and beside them whole weights: of modules that were trained in full
(`modules_to_save`, biases), and of embeddings that were resized for added tokens.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig

from dashboard.capture.checkpoint import Checkpoint, Plan, unreadable
from dashboard.catalog.adapter_card import PREFIX
from dashboard.catalog.adapters import WEIGHTS, Adapter, base_word, read_adapter
from dashboard.catalog.description import LONGEST_CONFIG
from dashboard.catalog.fingerprint import CONFIG
from dashboard.catalog.foreign_files import read_object, shown
from dashboard.catalog.prediction_head import LABEL_ROWS, NAMED, OVER_THE_VOCABULARY, READ, has_classes
from dashboard.catalog.weight_headers import shapes_in
from dashboard.errors import ForeignFileError, ModelError, UnsupportedModelError

FACTOR = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A\.weight|lora_B\.(weight|bias)|lora_embedding_[AB]|lora_magnitude_vector)(\.weight)?"
)
ROWS = re.compile(r"(?P<module>.+?)(\.token_adapter)?\.trainable_tokens_delta")
Problem = Literal["regression", "single_label_classification", "multi_label_classification"]
INSERTED = re.compile(r"\.(base_layer|modules_to_save)(?=\.)")  # by peft, into the names of whole weights


@dataclass(frozen=True)
class AdapterWeights:
    """An adapter, with its weights in memory (float32).

    Attributes:
        factors: module → part ("lora_A.weight") → values. whole: name in the base → values.
        rows: module of an embedding → (rows, width), which replace those that the settings name.
        labels, problem: the names of its classes, and the `problem_type`, that a config.json beside its weights gives.
    """

    title: str
    adapter: Adapter
    factors: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    whole: Mapping[str, torch.Tensor] = field(default_factory=dict)
    rows: Mapping[str, torch.Tensor] = field(default_factory=dict)
    labels: Sequence[str] = ()
    problem: Problem | None = None

    @property
    def base(self) -> str:
        """The base's name, for a person."""
        return base_word(self.adapter.base)

    def misfit(self, reason: str) -> UnsupportedModelError:
        """Return the error for an adapter that was trained on another base."""
        return UnsupportedModelError(
            f"{self.title} does not fit its base {self.base}: {reason}. It was trained on another model of this name, "
            "or of another size. Put that model in its place."
        )

    def config(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the base's configuration for the judgement of what the adapted model predicts: a head among the
        adapter's own weights classifies what its task says.
        """
        found = {**raw, "tie_word_embeddings": False} if self.adapter.without_lm_head else dict(raw)
        if self.adapter.classes and has_classes(self.whole):
            found["architectures"] = [NAMED[self.adapter.classes]]
        return found

    def labelled(self, config: PretrainedConfig, raw: Mapping[str, Any]) -> PretrainedConfig:
        """Return the configuration with the classes of a head among the adapter's own weights: as many as it has rows.

        They are called as the adapter's own configuration says; else as the base's, if it has a head of this kind and
        size; else LABEL_0 …, as transformers calls them. The start and end of an answer need no names.
        """
        rows = next((len(values) for name, values in self.whole.items() if LABEL_ROWS.fullmatch(name)), 0)
        if not rows or not self.adapter.classes:
            return config
        if self.adapter.classes == "answer":
            found = copy.deepcopy(config)
            found.num_labels = rows
            return found
        end = NAMED[self.adapter.classes]
        alike = config.num_labels == rows and any(str(name).endswith(end) for name in raw.get("architectures") or ())
        own = self.labels if len(self.labels) == rows else ()
        found = copy.deepcopy(config)
        if own or not alike:
            found.id2label = dict(enumerate(own or [f"LABEL_{row}" for row in range(rows)]))
            found.label2id = {label: row for row, label in found.id2label.items()}
            found.problem_type = self.problem
        return found

    def over(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the base's checkpoint with the whole weights beside its own; without a head over the vocabulary, if
        the adapter was trained without it, and without a classification head of another kind than the adapter's."""
        kept = {name: tensor for name, tensor in checkpoint.tensors.items() if not self._replaces_head(name)}
        return Checkpoint({**kept, **self.whole})

    def _replaces_head(self, name: str) -> bool:
        """Whether a weight of the base belongs to a head that the adapted model does not have."""
        if self.adapter.without_lm_head and OVER_THE_VOCABULARY.fullmatch(name):
            return True
        answers = self.adapter.classes == "answer"
        brings = bool(self.adapter.classes) and has_classes(self.whole)
        return brings and READ.fullmatch(name) is not None and name.startswith("qa_outputs.") != answers


def read_weights(folder: Path, title: str) -> AdapterWeights:
    """Read an adapter's folder.

    Raises:
        UnsupportedModelError: a part of it is not known here. ModelError: its weights cannot be read.
    """
    try:
        adapter = read_adapter(folder)
        shapes_in(folder / WEIGHTS)  # a bounded header, and a whole file
    except ForeignFileError as error:
        raise UnsupportedModelError(f"{title} cannot be run: {error.clause}. Save the adapter again.") from error
    factors: dict[str, dict[str, torch.Tensor]] = {}
    whole: dict[str, torch.Tensor] = {}
    rows: dict[str, torch.Tensor] = {}
    for name, tensor in _tensors(folder / WEIGHTS, title).items():
        factor, row = FACTOR.fullmatch(name), ROWS.fullmatch(name)
        if factor is not None:
            factors.setdefault(factor["module"], {})[factor["part"]] = tensor
        elif row is not None:
            rows[row["module"]] = tensor
        elif ".lora_" in name or INSERTED.sub("", name) in whole:
            raise UnsupportedModelError(
                f"{title} holds {shown(name, 80)}, which is not part of any LoRA that is supported. Save the adapter "
                "again."
            )
        else:
            whole[INSERTED.sub("", name)] = tensor
    labels, problem = _own_classes(folder)
    return AdapterWeights(title, adapter, factors, whole, rows, labels, problem)


def _own_classes(folder: Path) -> tuple[Sequence[str], Problem | None]:
    """Return the labels, by their ids, and the problem_type in the configuration beside an adapter, if it has one."""
    try:
        found = read_object(folder / CONFIG, LONGEST_CONFIG) if (folder / CONFIG).exists() else {}
    except ForeignFileError:  # it only gives names
        return (), None
    named, problem = found.get("id2label"), found.get("problem_type")
    rows = [named.get(str(row)) for row in range(len(named))] if isinstance(named, dict) else []
    labels = [label for label in rows if isinstance(label, str)]
    return labels if len(labels) == len(rows) else (), problem if problem in get_args(Problem) else None


def _tensors(path: Path, title: str) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            found = {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise unreadable(title, error) from error
    for name, tensor in found.items():
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{title} holds {shown(name, 80)}, which has values that are not finite. Save the adapter again."
            )
    return {name: tensor.float() for name, tensor in found.items()}


def settled(
    weights: AdapterWeights, plan: Plan, base: Checkpoint, config: PretrainedConfig
) -> tuple[Checkpoint, PretrainedConfig]:
    """Return (the checkpoint in which each place has one weight: the adapter's where it has one; a configuration of as
    many tokens as the adapter has embeddings).

    Args:
        plan: of what `AdapterWeights.over` makes of `base`, the base's own checkpoint.

    Raises:
        UnsupportedModelError: the adapter does not fit the base.
    """
    own = _own_places(weights, plan)
    tensors = dict(weights.over(base).tensors)
    for target in own:
        for name in plan.targets[target]:
            if name not in weights.whole:
                del tensors[name]
    config = copy.deepcopy(config)
    embedding = _input_embedding(plan)
    slots = plan.model.state_dict()
    if embedding in own and len(weights.whole[own[embedding]]) != len(slots[embedding]):
        config.get_text_config().vocab_size = len(weights.whole[own[embedding]])
    _untie(weights, plan, own, base, tensors, config)
    _replace_rows(weights, plan, embedding, tensors)
    return Checkpoint(tensors), config


def _own_places(weights: AdapterWeights, plan: Plan) -> dict[str, str]:
    """Return the model's names that get a whole weight of the adapter, each with the adapter's name for it."""
    own = {}
    for target, names in plan.targets.items():
        for name in names:
            if name not in weights.whole:
                continue
            if target in plan.made or target in own:
                raise weights.misfit(f"{shown(name, 80)} has no place of its own there")
            own[target] = name
    return own


def _input_embedding(plan: Plan) -> str:
    found = plan.model.get_input_embeddings()
    return next((f"{path}.weight" for path, module in plan.model.named_modules() if module is found), "")


def _untie(
    weights: AdapterWeights,
    plan: Plan,
    own: Mapping[str, str],
    base: Checkpoint,
    tensors: dict[str, Any],
    config: PretrainedConfig,
) -> None:
    """Give each of two tied weights values of its own, where the adapter changes one of them alone, as peft does.

    One that was resized takes the other with it.
    """
    pairs = [*plan.model.all_tied_weights_keys.items()]
    pairs += [(second, first) for first, second in pairs]
    slots = plan.model.state_dict()
    untied = False
    for place, other in pairs:
        if place in own or other not in own:
            continue
        theirs = [name for name in plan.targets.get(place, ()) if name in base.tensors]
        before = [name for name in plan.targets[other] if name in base.tensors]
        if weights.whole[own[other]].shape != slots[other].shape:
            for name in theirs:
                del tensors[name]
            tensors[place] = weights.whole[own[other]]
        elif not theirs and before:
            tensors[place] = base.tensors[before[0]]
        untied = untied or weights.whole[own[other]].shape == slots[other].shape
    both = [pair for pair in pairs if pair[0] in own and pair[1] in own]
    if untied or not all(torch.equal(*(weights.whole[own[place]] for place in pair)) for pair in both):
        _fill(plan, tensors, pairs)
        config.tie_word_embeddings = False
        config.get_text_config().tie_word_embeddings = False


def _fill(plan: Plan, tensors: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> None:
    """Give each place that took its values from a tied one a copy of these."""
    for place, other in pairs:
        source = next((name for name in plan.targets.get(other, ()) if name in tensors), None)
        if source is not None and place not in plan.targets and place not in tensors:
            tensors[place] = tensors[source]


def _replace_rows(weights: AdapterWeights, plan: Plan, embedding: str, tensors: dict[str, Any]) -> None:
    """Put the rows that an adapter has for single tokens into the embedding; a tied head follows, as in peft."""
    for module, values in weights.rows.items():
        tokens = weights.adapter.tokens
        rows = next((tokens[name] for name in tokens if not name or f".{module}".endswith(f".{name}")), ())
        [name] = plan.targets.get(embedding, ("",))[:1]
        if not embedding.endswith(f"{module.rpartition('.')[2]}.weight") or name not in tensors or not rows:
            raise weights.misfit(f"it replaces rows of {shown(module, 80)}, which is not the input embedding")
        table = tensors[name][...].float().clone()
        if values.shape != (len(rows), table.shape[1]) or max(rows) >= len(table):
            raise weights.misfit(f"it replaces {len(rows)} rows of {tuple(table.shape)} by {tuple(values.shape)}")
        table[list(rows)] = values
        tensors[name] = table


def check_fit(weights: AdapterWeights, plan: Plan, checkpoint: Checkpoint) -> None:
    """Raise `UnsupportedModelError` if a weight of the adapter, or one beside it, has another shape than its place."""
    unlike = plan.unlike(checkpoint)
    if unlike is not None:
        name, theirs, ours = unlike
        raise weights.misfit(f"{shown(name, 80)} would have the shape {theirs}, and not {ours}")
