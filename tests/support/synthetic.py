"""A small whole `ModelRun` made of numpy alone, by the array names of dashboard/contracts/run.py.

Every view is drawn on it. An array that a new view reads has a line in `ARRAYS`, a derived result that it shows a
function in `RESULTS`.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.contracts.attention_recipe import ScoreRecipe
from dashboard.contracts.classes import ENDS, ClassesOf, ClassHead, Scale
from dashboard.contracts.context import Context
from dashboard.contracts.derived import Derived, DerivedRequest
from dashboard.contracts.model_info import ModelInfo, ModelKind
from dashboard.contracts.request import RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.contracts.selection import Selection
from dashboard.contracts.token import Token
from dashboard.store.upgrades import made_now
from dashboard.views import all_views
from dashboard.views.controls import Choice, Control, Switch, Text, Tokens

WORDS = ("The", " cat", " sat", " on", " it", ".")
VOCABULARY = 20
HIDDEN = 8
D_HEAD = 4
TOP = 5
# arrays "NAME/{layer}" that not every run holds: "token", "head", "hidden" or "d_head"
ARRAYS: Mapping[str, tuple[str, ...]] = {
    # "query_norms": ("head", "token"),
}


def tokens_of(texts: Sequence[str]) -> list[Token]:
    """Tokens that follow one another in `"".join(texts)`; token i has the vocabulary id i modulo `VOCABULARY`."""
    found, start = [], 0
    for index, text in enumerate(texts):
        found.append(Token(index % VOCABULARY, text, start, start + len(text), word=index))
        start += len(text)
    return found


def log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def prediction_arrays(mode: str, logprobs: np.ndarray, actual: Sequence[int | None]) -> dict[str, np.ndarray]:
    """`given/…` or `masked/…` of (position, vocabulary) log-probabilities and the ids that really stand there."""
    order = np.argsort(-logprobs, axis=1, kind="stable")[:, :TOP]
    rows = np.arange(len(logprobs))
    known = [(float("nan"), 0) if a is None else _place(logprobs[i], a) for i, a in enumerate(actual)]
    return {
        f"{mode}/top_ids": order.astype(np.int32),
        f"{mode}/top_logprobs": logprobs[rows[:, None], order].astype(np.float32),
        f"{mode}/entropy": (-(np.exp(logprobs) * logprobs).sum(axis=1)).astype(np.float32),
        f"{mode}/actual_logprob": np.array([p for p, _rank in known], dtype=np.float32),
        f"{mode}/actual_rank": np.array([rank for _p, rank in known], dtype=np.int32),
    }


def _place(row: np.ndarray, identifier: int) -> tuple[float, int]:
    return float(row[identifier]), int((row > row[identifier]).sum()) + 1


def vocabulary_array(texts: Sequence[str]) -> np.ndarray:
    """The text of every id: the tokens' own, and `v7` for the rest."""
    names = {str(i): texts[i] if i < len(texts) else f"v{i}" for i in range(VOCABULARY)}
    return np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)


def make_parts(
    kind: ModelKind = "causal",
    texts: Sequence[str] = WORDS,
    layers: int = 2,
    heads: int = 2,
    model: str = "tiny",
    masked: bool = True,
    outlier: bool = False,
    title: str = "Tiny model",
    text: str | None = None,
    second_at: int | None = None,
    classes: ClassHead | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a run, as the store keeps them.

    Args:
        kind: what the model predicts. texts: one per token. layers, heads: sizes; two heads share a key head.
        masked: whether a masked model's run holds the prediction with each position masked.
        outlier: whether the first token's norm is far above the others'.
        text: the source text, where it is not the tokens joined. second_at: the token with which a second text begins.
        classes: what a classifier classifies.
    """
    rng = np.random.default_rng(7)
    count = len(texts)
    key_heads = max(1, heads // 2)
    first, second = ("".join(part) for part in (texts[:second_at], texts[second_at or count :]))
    request = RunRequest(model, first if text is None else text, text_pair=second or None)
    mask, stream = ("causal", "decoder") if kind == "causal" else ("full", "encoder")
    recipe = ScoreRecipe(1 / math.sqrt(D_HEAD), mask)  # type: ignore[arg-type]
    info = ModelInfo(
        model, title, "tiny", kind, layers, heads, key_heads, HIDDEN, VOCABULARY, 1234, 64, kind == "causal"
    )
    header = ModelRun.make_header(
        request.key("weights"), request, info, tokens_of(texts), [recipe] * layers, stamp="drawn-by-lot", **made_now()
    )
    arrays: dict[str, np.ndarray] = {"vocabulary": vocabulary_array(texts)}
    for layer in range(layers + 1):
        states = rng.normal(size=(count, HIDDEN)).astype(np.float32)
        states[0] *= 100 if outlier else 1
        arrays[f"{stream}/hidden_states/{layer}"] = states
    if kind == "causal":
        arrays[f"{stream}/residual_final"] = rng.normal(size=(count, HIDDEN)).astype(np.float32)
    for layer in range(layers):
        arrays[f"{stream}/query/{layer}"] = rng.normal(size=(heads, count, D_HEAD)).astype(np.float32)
        arrays[f"{stream}/key/{layer}"] = rng.normal(size=(key_heads, count, D_HEAD)).astype(np.float32)
    side = min(count, 8)
    arrays[f"{stream}/thumbnails"] = rng.integers(0, 256, size=(layers, heads, side, side)).astype(np.uint8)
    for name in ("previous", "next", "self", "first", "entropy_share", "entropy"):
        arrays[f"{stream}/scores/{name}"] = rng.random((layers, heads)).astype(np.float32)
    arrays[f"{stream}/scores/distance"] = np.linspace(0, count, layers * heads, dtype=np.float32).reshape(layers, heads)
    repeats = np.random.default_rng(29)  # of its own, so that the other numbers stay
    for name in ("previous", "next", "self", "duplicate", "induction"):
        arrays[f"{stream}/beyond_first/{name}"] = repeats.random((layers, heads)).astype(np.float32)
    for name in ("duplicate", "induction"):
        arrays[f"{stream}/scores/{name}"] = repeats.random((layers, heads)).astype(np.float32)
    arrays[f"{stream}/received"] = rng.random((layers, heads, count)).astype(np.float32)
    arrays |= more_arrays(stream, layers, {"token": count, "head": heads, "hidden": HIDDEN, "d_head": D_HEAD})
    ids = [i % VOCABULARY for i in range(count)]
    if kind != "encoder":
        given = log_softmax(rng.normal(size=(count, VOCABULARY)))
        arrays |= prediction_arrays("given", given, [*ids[1:], None] if kind == "causal" else ids)
    if classes is not None:
        header |= {"without": "classifier", "classes": classes.to_json()}
        logits = np.random.default_rng(23).normal(scale=2, size=classes.shape(count))
        arrays[f"{stream}/class_logits"] = logits.astype(np.float32)
    if kind == "masked" and masked:
        arrays |= prediction_arrays("masked", log_softmax(rng.normal(size=(count, VOCABULARY))), ids)
    return header, arrays


def more_arrays(stream: str, layers: int, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The arrays of `ARRAYS`, positive, also for what is past the last layer."""
    rng = np.random.default_rng(5)
    return {
        f"{stream}/{name}/{layer}": rng.uniform(0.5, 2, [sizes[axis] for axis in axes]).astype(np.float32)
        for name, axes in ARRAYS.items()
        for layer in range(layers + 1)
    }


def make_run(kind: ModelKind = "causal", texts: Sequence[str] = WORDS, **options: Any) -> ModelRun:
    """A run of `make_parts`."""
    return ModelRun(*make_parts(kind, texts, **options))


LABELS = ("O", "B-PER", "I-PER", "B-LOC")
CLASSIFIERS: tuple[ClassesOf, ...] = ("text", "tokens", "answer")


def head(of: ClassesOf, scale: Scale = "softmax", labels: Sequence[str] = LABELS) -> ClassHead:
    """A classification head."""
    return ClassHead(of, scale, ENDS if of == "answer" else tuple(labels))


def make_classifier(of: ClassesOf = "tokens", texts: Sequence[str] = WORDS, **options: Any) -> ModelRun:
    """A classifier's run."""
    return make_run("encoder", texts, **{"classes": head(of), **options})


def made_for(view: str, texts: Sequence[str] = WORDS, **options: Any) -> ModelRun:
    """A run of which a view has something to show, with every derived result."""
    return (
        make_classifier("tokens", texts, **options) if view == "classes" else make_whole_run("causal", texts, **options)
    )


ENCODER_WORDS = ("Die", " Katze", " saß", " da", ".")


def make_two_streams() -> ModelRun:
    """A run of an encoder–decoder model: the encoder reads five tokens, the decoder three, and asks the encoder's for
    more."""
    layers, heads, texts = 2, 2, WORDS[:3]
    header, arrays = make_parts("causal", texts, layers=layers, heads=heads)
    more_header, more = make_parts("encoder", ENCODER_WORDS, layers=layers, heads=heads)
    rng = np.random.default_rng(3)
    for layer in range(layers):
        arrays[f"cross/query/{layer}"] = rng.normal(size=(heads, len(texts), D_HEAD)).astype(np.float32)
        arrays[f"cross/key/{layer}"] = rng.normal(size=(heads, len(ENCODER_WORDS), D_HEAD)).astype(np.float32)
    full = more_header["recipes"]["encoder"]
    header["tokens"] = {**header["tokens"], **more_header["tokens"]}
    header["recipes"] = {**header["recipes"], "encoder": full, "cross": full}
    return ModelRun(header, {**more, **arrays})


def masked_result(run: str, position: int = 2, texts: Sequence[str] = WORDS) -> Derived:
    """The derived result "masked-prediction" of the run with this key."""
    row = log_softmax(np.random.default_rng(11).normal(size=(1, VOCABULARY)))
    arrays = {**prediction_arrays("masked", row, [position % VOCABULARY]), "vocabulary": vocabulary_array(texts)}
    return Derived(DerivedRequest.of(run, "masked-prediction", position=position), arrays, {})


def lens_logprobs(run: ModelRun, masked: int | None = None) -> np.ndarray:
    """(place, position, vocabulary) of a synthetic run; another one where a position is masked."""
    rng = np.random.default_rng(19 if masked is None else 100 + masked)
    return log_softmax(2 * rng.normal(size=(run.model.layers + 1, len(run), VOCABULARY)))


def lens_arrays(logprobs: np.ndarray, actual: Sequence[int], texts: Sequence[str] = WORDS) -> dict[str, np.ndarray]:
    """The arrays of a logit lens, each number by itself; `actual`: −1 for none."""
    places, count = range(len(logprobs)), range(logprobs.shape[1])
    final = logprobs[-1].argmax(axis=-1)

    def of(ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        found = [[_place(logprobs[p, i], ids[i]) if ids[i] >= 0 else (math.nan, 0) for i in count] for p in places]
        return np.array(found)[:, :, 0].astype(np.float32), np.array(found)[:, :, 1].astype(np.int32)

    order, last = np.argsort(-logprobs, axis=-1, kind="stable")[:, :, :TOP], logprobs[-1]
    (actual_logprob, actual_rank), (final_logprob, final_rank) = of(actual), of(final.tolist())
    return {
        "top_ids": order.astype(np.int32),
        "top_logprobs": np.take_along_axis(logprobs, order, -1).astype(np.float32),
        "entropy": (-(np.exp(logprobs) * logprobs).sum(axis=-1)).astype(np.float32),
        "actual_logprob": actual_logprob,
        "actual_rank": actual_rank,
        "final_logprob": final_logprob,
        "final_rank": final_rank,
        "kl": (np.exp(last) * (last - logprobs)).sum(axis=-1).astype(np.float32),
        "vocabulary": vocabulary_array(texts),
    }


def lens_result(run: ModelRun) -> Derived:
    """The derived result "logit-lens"."""
    return Derived(
        DerivedRequest.of(run.key, "logit-lens"), lens_arrays(lens_logprobs(run), _asked(run), _texts_of(run)), {}
    )


def position_result(
    run: ModelRun, position: int, mode: str = "given", words: Sequence[tuple[str, int]] = ()
) -> Derived:
    """The derived result "position-lens" with words as (typed, id), −1 for one that the vocabulary lacks."""
    logprobs = lens_logprobs(run, position if mode == "masked" else None)[:, [position]]
    arrays = lens_arrays(logprobs, [_asked(run)[position]], _texts_of(run))
    known = [identifier for _typed, identifier in words if identifier >= 0]
    if known:
        found = [[_place(row[0], identifier) for identifier in known] for row in logprobs]
        arrays["word_logprob"] = np.array(found)[:, None, :, 0].astype(np.float32)
        arrays["word_rank"] = np.array(found)[:, None, :, 1].astype(np.int32)
    told = [
        {"typed": typed, "id": i, "text": "" if i < 0 else typed, "pieces": [] if i < 0 else [typed]}
        for typed, i in words
    ]
    typed = " ".join(typed for typed, _identifier in words)
    request = DerivedRequest.of(run.key, "position-lens", position=position, mode=mode, words=typed)
    return Derived(request, arrays, {"words": told})


def values_of(control: Control) -> list[Any]:
    """Values of a control: the default first, and others that it can have."""
    if isinstance(control, Choice):
        return [value for value, _label in control.choices]
    others = {Switch: True, Text: "v11", Tokens: "1, 2"}
    found = next((value for kind, value in others.items() if isinstance(control, kind)), None)
    return [control.default, found if found is not None else control.parse(getattr(control, "most", ""))]


def make_whole_run(kind: ModelKind = "causal", texts: Sequence[str] = WORDS, **options: Any) -> ModelRun:
    """A run of `make_parts` that holds every derived result that a view with default options shows, and those of both
    modes."""
    return with_results(make_run(kind, texts, **options))


def lens_results(run: ModelRun) -> list[Derived]:
    """The whole lens, and that of every position in every mode."""
    modes = ("given", "masked") if run.model.kind == "masked" else ("given",)
    positions = [position_result(run, i, mode) for i in range(len(run)) for mode in modes]
    return [lens_result(run), *positions] if run.has_predictions else []


def passed_on(run: ModelRun) -> np.ndarray:
    """(layer, head, token, hidden) float64: f(x) of a synthetic run."""
    return np.random.default_rng(31).normal(size=(run.model.layers, run.model.heads, len(run), HIDDEN))


def norms_results(run: ModelRun) -> list[Derived]:
    """The derived result "attention-norms"."""
    attention = run.attention_of()
    if len(run.streams) > 1 or attention.recipe(0).stored is not None:
        return []
    passed, (rows, columns) = passed_on(run), np.triu_indices(run.model.heads)
    grams = {
        f"gram/{layer}": np.einsum("hto,gto->thg", f, f)[:, rows, columns].astype(np.float32)
        for layer, f in enumerate(passed)
    }
    norms = np.linalg.norm(passed, axis=3).astype(np.float32)
    return [Derived(DerivedRequest.of(run.key, "attention-norms"), {"norms": norms, **grams}, {})]


def block_vectors(run: ModelRun, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stage, query, key, hidden) float64: what each token gets from each other in a layer's attention block, with the
    residual connection and past LayerNorm; then the LayerNorm's (hidden,) γ and (query,) standard deviations."""
    rng, count = np.random.default_rng(37 + layer), len(run)
    gain, deviation = rng.normal(size=HIDDEN), rng.uniform(0.5, 2, size=count)
    weights = np.stack([run.attention(layer, head) for head in range(run.model.heads)]).astype(np.float64)
    vectors = np.einsum("hqk,hko->qko", weights, passed_on(run)[layer])
    vectors[np.arange(count), np.arange(count)] += run.hidden_states[layer]
    normed = gain * (vectors - vectors.mean(axis=-1, keepdims=True)) / deviation[:, None, None]
    return np.stack([vectors, normed]), gain, deviation


def block_results(run: ModelRun) -> list[Derived]:
    """The derived result "block-norms": of a causal model, which has no LayerNorm after the sum, and of others."""
    if not norms_results(run):
        return []
    layers, count = range(run.model.layers), len(run)
    others, own = np.full((2, 2, len(layers), count), np.nan, dtype=np.float32)
    deviations = np.full((len(layers), count), np.nan, dtype=np.float32)
    grams, (rows, columns) = {}, np.triu_indices(run.model.heads)
    for layer in layers:
        vectors, gain, deviation = block_vectors(run, layer)
        stages = 1 if run.model.kind == "causal" else 2
        itself = vectors[:stages, np.arange(count), np.arange(count)]
        own[:stages, layer] = np.linalg.norm(itself, axis=-1)
        others[:stages, layer] = np.linalg.norm(vectors[:stages].sum(axis=2) - itself, axis=-1)
        if stages == 2:
            f = passed_on(run)[layer]
            mapped = gain * (f - f.mean(axis=-1, keepdims=True))
            grams[f"gram/{layer}"] = np.einsum("hto,gto->thg", mapped, mapped)[:, rows, columns].astype(np.float32)
            deviations[layer] = deviation
    arrays = {"own": own, "others": others, "deviation": deviations, **grams}
    return [Derived(DerivedRequest.of(run.key, "block-norms"), arrays, {})]


def probe_results(run: ModelRun) -> list[Derived]:
    """The derived result "head-probe" of ten tokens, twice."""
    rng, shape = np.random.default_rng(31), (3, run.model.layers, run.model.heads)
    names = ("previous", "next", "self", "first", "entropy", "entropy_share", "distance", "duplicate", "induction")
    arrays = {f"scores/{name}": rng.random(shape).astype(np.float32) for name in names}
    arrays |= {f"beyond_first/{name}": rng.random(shape).astype(np.float32) for name in (*names[:3], *names[-2:])}
    if run.model.kind != "causal":
        for start in ("scores", "beyond_first"):
            arrays[f"{start}/induction"] = np.full(shape, np.nan, dtype=np.float32)
    once = np.arange(10, dtype=np.int32)
    ids = np.stack([np.concatenate([once, once])] * 3)
    mask = "causal" if run.model.kind == "causal" else "full"
    facts = {"length": 10, "seeds": [0, 1, 2], "recipes": [[mask, None]] * run.model.layers}
    request = DerivedRequest(run.key, "head-probe", model=run.model_key)
    return [Derived(request, {**arrays, "ids": ids}, facts)]


# of a run, whatever its kind: every result that a view shows
RESULTS: tuple[Callable[[ModelRun], Iterable[Derived]], ...] = (
    *(lens_results, norms_results, block_results, probe_results),
)


def with_results(run: ModelRun) -> ModelRun:
    """The run with every derived result that a view with default options shows."""
    whole = run.with_derived([result for results_of in RESULTS for result in results_of(run)])
    assert (lacking := _lacking(run.model.kind)) == "", lacking
    return whole


@functools.cache
def _lacking(kind: ModelKind) -> str:
    """What to add where a view would wait for a result that `RESULTS` does not make."""
    run = make_run(kind)
    run = run.with_derived([result for results_of in RESULTS for result in results_of(run)])
    for view in all_views():
        options = {control.name: control.default for control in view.controls}
        for token in range(len(run)):
            for request in view.awaits(Context(run, Selection(run.key, token, 0, 0), options)):
                return (
                    f"The view {view.name} shows “{request.kind}”, and tests/support/synthetic.py makes no such result "
                    f"of a {kind} model's run with {dict(request.parameters)}. Add a function to RESULTS there."
                )
    return ""


def _asked(run: ModelRun) -> list[int]:
    ids = [token.id for token in run.tokens]
    return [*ids[1:], -1] if run.model.kind == "causal" else ids


def _texts_of(run: ModelRun) -> list[str]:
    return [token.text for token in run.tokens]


def results(*found: Derived) -> dict[str, Derived]:
    """Derived results as a context holds them."""
    return {result.request.name: result for result in found}


class OneRun:
    """A library of one run, and of these results."""

    def __init__(self, run: ModelRun, *found: Derived) -> None:
        self._run, self._results = run, results(*found)

    def run_of(self, _selection: object) -> ModelRun:
        return self._run

    def results_of(self, _run: ModelRun, requests: Iterable[DerivedRequest]) -> dict[str, Derived]:
        return {one.name: self._results[one.name] for one in requests if one.name in self._results}

    kept_of = results_of


def array_of(value: Any) -> np.ndarray:
    """A typed array of a figure's JSON."""
    if isinstance(value, dict):
        found = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
        return found.reshape([int(n) for n in str(value["shape"]).split(",")]) if "shape" in value else found
    return np.asarray(value)


def words_in(component: Any) -> str:
    """All text of a tree of Dash components, in order."""
    return "".join(_texts(component))


def _texts(component: Any) -> Iterator[str]:
    if component is None:
        return
    if isinstance(component, (list, tuple)):
        for child in component:
            yield from _texts(child)
    elif isinstance(component, (str, int, float)):
        yield str(component)
    else:
        yield from _texts(getattr(component, "children", None))


def titles_in(component: Any) -> list[str]:
    """Every `title` (exact numbers on hover) of a tree of Dash components."""
    if isinstance(component, (list, tuple)):
        return [title for child in component for title in titles_in(child)]
    if component is None or isinstance(component, (str, int, float)):
        return []
    own = getattr(component, "title", None)
    return [*([own] if isinstance(own, str) else []), *titles_in(getattr(component, "children", None))]


class FakeTensor:
    """Quacks like a torch tensor that is half precision, on a device, and part of a graph: numpy may only read it after
    detach(), cpu() and, for floats, float()."""

    def __init__(self, values: Any, missing: frozenset[str] = frozenset({"detach", "cpu", "float"})) -> None:
        self._values, self._missing = np.asarray(values), missing

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def ndim(self) -> int:
        return self._values.ndim

    def _done(self, step: str) -> FakeTensor:
        return FakeTensor(self._values, self._missing - {step})

    def detach(self) -> FakeTensor:
        return self._done("detach")

    def cpu(self) -> FakeTensor:
        return self._done("cpu")

    def float(self) -> FakeTensor:
        return self._done("float")

    def is_floating_point(self) -> bool:
        return bool(np.issubdtype(self._values.dtype, np.floating))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> FakeTensor:
        return FakeTensor(self._values[index], self._missing)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self._missing:
            raise TypeError(f"numpy cannot read this tensor before {sorted(self._missing)}")
        return np.array(self._values, dtype=dtype)
