"""Models in bfloat16, in float16 and on a GPU, against plain Hugging Face in the same numbers on the same device."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn

from dashboard import load_model, wrap_model
from dashboard.capture import device as devices
from dashboard.capture.capture import capture_run
from dashboard.capture.device import card_of, dtype_in, find_device
from dashboard.capture.loader import LoadedModel
from dashboard.cli._device import check_device
from dashboard.compute.deriving import compute
from dashboard.contracts.derived import DerivedRequest
from dashboard.contracts.request import ModelRequest, RunRequest
from dashboard.contracts.run import ModelRun
from dashboard.errors import ModelError, ModelTooLargeError, NoRoomError, SettingsError, UnsupportedModelError
from dashboard.jobs.work import JobContext, ResidentModels, capture, derive, share_of
from dashboard.settings import Settings
from dashboard.store.run_store import RunStore
from tests.support.tiny_models import adapter_of, tiny, words

pytestmark = pytest.mark.integration
TEXT = words(20)
CLASSES: dict[str, Any] = {
    "gpt2": hf.AutoModelForCausalLM,
    "llama": hf.AutoModelForCausalLM,
    "bert": hf.AutoModelForMaskedLM,
    "gptj": hf.AutoModelForCausalLM,  # its weights are stored
}
NO_GPU = "there is no GPU by NVIDIA here (torch.cuda.is_available() is false)"
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", models_dir=tmp_path / "bundled", model_folders=(tmp_path / "models",))


def saved(name: str, tmp_path: Path, dtype: torch.dtype = torch.float32) -> Path:
    loaded, folder = tiny(name), tmp_path / "models" / name
    loaded.model.to(dtype).save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def plain(name: str, folder: Path, loaded: LoadedModel, dtype: str, device: str = "cpu", exact: bool = False) -> Any:
    """Hugging Face's own outputs for the text, run eagerly in these numbers; `exact`: in float32, from weights in these
    numbers."""
    model = CLASSES[name].from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation="eager")
    model = (model.float() if exact else model).to(device).eval()
    inputs = loaded.tokenizer(TEXT, return_tensors="pt").to(device)
    with torch.inference_mode():
        return model(**inputs, output_hidden_states=True, output_attentions=True)


Values = dict[str, list[torch.Tensor]]


def of_run(run: ModelRun) -> Values:
    """What a run holds, by layer."""
    heads = range(run.model.heads)
    weights = [np.stack([run.attention(layer, head) for head in heads]) for layer in range(run.model.layers)]
    found = {"hidden": run.hidden_states, "attention": weights, "predictions": [run.arrays["given/top_logprobs"]]}
    return {name: [torch.as_tensor(np.array(one)) for one in values] for name, values in found.items()}


def of_outputs(outputs: Any, run: ModelRun) -> Values:
    """The same of Hugging Face's outputs: the log-probabilities of the tokens that the run has."""
    ids = torch.as_tensor(np.array(run.arrays["given/top_ids"])).long()
    logprobs = outputs.logits[0].float().cpu().log_softmax(-1).gather(1, ids)
    found = {"hidden": outputs.hidden_states, "attention": outputs.attentions, "predictions": [logprobs[None]]}
    return {name: [one[0].float().cpu() for one in values] for name, values in found.items()}


def errors(ours: Values, theirs: Values) -> dict[str, float]:
    """The largest relative error (root mean square) in any layer."""
    return {
        name: max(
            float((one - other).square().mean().sqrt() / other.square().mean().sqrt())
            for one, other in zip(ours[name], theirs[name], strict=True)
        )
        for name in theirs
    }


# against plain Hugging Face


@pytest.mark.parametrize(("dtype", "digits"), [("bfloat16", 8), ("float16", 11)])
@pytest.mark.parametrize("name", CLASSES)
def test_a_run_in_fewer_digits_is_as_close_as_they_allow(
    name: str, dtype: str, digits: int, settings: Settings, tmp_path: Path
) -> None:
    """No further from the same weights in exact numbers than Hugging Face's own run in these numbers."""
    folder = saved(name, tmp_path)
    loaded = load_model(folder, settings=settings, dtype=dtype)
    run = capture_run(loaded, TEXT)
    outputs, exact = plain(name, folder, loaded, dtype), plain(name, folder, loaded, dtype, exact=True)
    assert outputs.hidden_states[-1].dtype == getattr(torch, dtype)
    first = outputs.hidden_states[0][0].float().numpy()
    assert np.array_equal(run.hidden_states[0], first), "the same values, converted"
    wanted = of_outputs(exact, run)
    ours, theirs = errors(of_run(run), wanted), errors(of_outputs(outputs, run), wanted)
    for what, found in ours.items():
        assert 0 < found <= 1.5 * theirs[what] + 2.0**-digits / 4, (what, found, theirs[what])
    if name == "gptj":
        same = errors(of_run(run), of_outputs(outputs, run))
        assert (same["hidden"], same["attention"]) == (0, 0), "the model attends by itself"
    assert all(values.dtype in (np.float32, np.int32, np.uint8) for values in run.arrays.values())
    assert (run.dtype, run.header["dtype"], run.request.dtype, run.device) == (dtype, dtype, dtype, "cpu")


@pytest.mark.parametrize("name", CLASSES)
def test_float32_on_the_cpu_stays_the_default_and_is_not_said(name: str, settings: Settings, tmp_path: Path) -> None:
    """Also for a model saved in bfloat16."""
    folder = saved(name, tmp_path, torch.bfloat16)
    loaded = load_model(folder, settings=settings)
    run = capture_run(loaded, TEXT)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}
    outputs = plain(name, folder, loaded, "float32")
    assert max(errors(of_run(run), of_outputs(outputs, run)).values()) < 1e-4
    assert not {"dtype", "device"} & set(run.header)
    assert (run.dtype, run.device, run.request.dtype) == ("float32", "cpu", None)


def test_a_model_in_memory_stays_in_its_numbers(tmp_path: Path) -> None:
    loaded = tiny("llama")
    whole = capture_run(loaded, TEXT)
    half = wrap_model(loaded.model.to(torch.bfloat16), loaded.tokenizer, "mine", fingerprint=loaded.fingerprint)
    assert {weight.dtype for weight in half.model.parameters()} == {torch.bfloat16}
    run = capture_run(half, TEXT)
    assert run.dtype == "bfloat16"
    assert run.key != whole.key
    assert 0 < errors(of_run(run), of_run(whole))["hidden"] < 0.1


def test_an_adapter_is_merged_before_its_numbers_are_rounded(settings: Settings, tmp_path: Path) -> None:
    saved("gpt2", tmp_path)
    folder = adapter_of(tiny("gpt2").model, tmp_path / "models" / "tuned", "gpt2")
    whole = dict(load_model(folder, settings=settings).model.named_parameters())
    half = dict(load_model(folder, settings=settings, dtype="bfloat16").model.named_parameters())
    assert all(torch.equal(half[name], values.to(torch.bfloat16)) for name, values in whole.items())


def test_positions_are_computed_in_float32_all_the_same(settings: Settings, tmp_path: Path) -> None:
    loaded = load_model(saved("llama", tmp_path), settings=settings, dtype="bfloat16")
    assert {buffer.dtype for buffer in loaded.model.buffers()} == {torch.float32}


# the worker


def job_context(tmp_path: Path) -> JobContext:
    return JobContext("k", RunStore(tmp_path / "runs", 10**9), lambda _progress: None, lambda **_fields: None)


def test_a_worker_answers_in_the_numbers_of_each_request(settings: Settings, tmp_path: Path) -> None:
    saved("llama", tmp_path)
    models, context = ResidentModels(settings), job_context(tmp_path)

    def key(dtype: str | None) -> str:
        return capture({"request": RunRequest("folder:models/llama", TEXT, dtype=dtype).to_json()}, context, models)

    half, whole = key("bfloat16"), key(None)
    assert half != whole
    assert key("auto") == whole, "what a server on the CPU decides"
    assert models.names == ("folder:models/llama",)
    assert [context.store.open(one).dtype for one in (half, whole)] == ["bfloat16", "float32"]
    asked = DerivedRequest.of(half, "logit-lens")
    derive(asked.to_json(), context, models)
    found = context.store.derived(asked, context.store.open(half).stamp)
    again = models.get(ModelRequest("folder:models/llama", dtype="bfloat16"), None, context)
    wanted = compute(again, context.store.open(half), asked)
    assert found is not None
    assert all(
        np.array_equal(found.arrays[name], values, equal_nan=values.dtype.kind == "f")
        for name, values in wanted.arrays.items()
    )


def test_a_result_derived_in_bfloat16_is_that_of_the_models_own_head(settings: Settings, tmp_path: Path) -> None:
    """The lens after the last layer is the prediction itself; two tokens may be equally likely."""
    loaded = load_model(saved("gpt2", tmp_path), settings=settings, dtype="bfloat16")
    run = capture_run(loaded, TEXT)
    asked = DerivedRequest.of(run.key, "logit-lens")
    lens = compute(loaded, run, asked)
    logprobs = lens.arrays["top_logprobs"][-1][:, 0]
    assert np.allclose(logprobs, run.arrays["given/top_logprobs"][:, 0], atol=2.0**-6), (
        "two tokens may be equally likely"
    )
    whole = load_model(tmp_path / "models" / "gpt2", settings=settings)
    with pytest.raises(ModelError, match=r'computed in bfloat16, .* in float32\. Pass one .*dtype="bfloat16"'):
        compute(whole, run, asked)


def test_each_of_several_workers_takes_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cards", lambda: 2)
    several = Settings(device="cuda", workers=3)
    assert [share_of(several, number).device for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert share_of(Settings(device="cuda"), 0).device == "cuda"
    assert share_of(Settings(workers=2), 1).device == "cpu"
    monkeypatch.setattr(devices, "_cards", lambda: 0)
    assert card_of("auto", 1) == "auto"


# refused


def test_a_device_that_is_not_here_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_cards", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto").type == find_device("cpu").type == "cpu"
    for name in ("cuda", "mps"):
        with pytest.raises(SettingsError, match=f"DASHBOARD_DEVICE is {name}, and .*DASHBOARD_DEVICE=cpu, or auto"):
            find_device(name)
    monkeypatch.setattr(devices, "_cards", lambda: 2)
    with pytest.raises(SettingsError, match="the cards here are cuda:0 to cuda:1"):
        find_device("cuda:2")
    assert find_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_server_does_not_start_without_its_device() -> None:
    check_device(Settings())
    with pytest.raises(SettingsError, match="DASHBOARD_DEVICE is cuda, and "):
        check_device(Settings(device="cuda"))
    with pytest.raises(SettingsError, match="DASHBOARD_DEVICE is cuda, and "):
        load_model("smollm2-135m", device="cuda")


def test_numbers_that_a_device_lacks_are_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    def lacks(*_arguments: object) -> None:
        raise RuntimeError("\"LayerNormKernelImpl\" not implemented for 'Half'")

    folder = saved("gpt2", tmp_path)
    monkeypatch.setattr(nn.functional, "layer_norm", lacks)
    with pytest.raises(UnsupportedModelError, match=r"cannot be computed in float16 on cpu .*Half.*Choose float32 or"):
        load_model(folder, settings=settings, dtype="float16")


def test_memory_is_counted_in_the_numbers_and_on_the_device(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    folder = saved("gpt2", tmp_path)
    weights = tiny("gpt2").info.parameters
    tight = Settings(**{**vars(settings), "model_gigabytes": 3 * 1.2 * weights / 1e9})  # 3 bytes a weight
    with pytest.raises(ModelTooLargeError):
        load_model(folder, settings=tight)
    assert dtype_in(load_model(folder, settings=tight, dtype="bfloat16").model) == "bfloat16"
    monkeypatch.setattr(devices, "_free_gigabytes", lambda _device: 3 * 1.2 * weights / 1e9)
    with pytest.raises(NoRoomError, match=r"are free on cpu\. .*DASHBOARD_DEVICE=cpu"):
        load_model(folder, settings=settings)
    load_model(folder, settings=settings, dtype="bfloat16")


class Card:
    """In place of `torch.cuda`: two cards with memory of 10 GB each, of which a process holds a part."""

    def __init__(self, free: float, reserved: float = 0.0, allocated: float = 0.0) -> None:
        self.free, self.reserved, self.allocated, self.emptied = free, reserved, allocated, 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Card:
        for name, values in {
            "is_available": lambda: True,
            "device_count": lambda: 2,
            "get_device_name": lambda device: f"Card {torch.device(device).index or 0}",
            "mem_get_info": lambda _device: (int(self.free * 1e9), 10 * 10**9),
            "memory_reserved": lambda _device: int(self.reserved * 1e9),
            "memory_allocated": lambda _device: int(self.allocated * 1e9),
            "empty_cache": self._empty,
        }.items():
            monkeypatch.setattr(torch.cuda, name, values)
        return self

    def _empty(self) -> None:
        self.emptied += 1


def test_a_cards_free_memory_is_counted_with_what_this_process_reserves_and_does_not_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Card(free=0.1, reserved=0.3, allocated=0.1).install(monkeypatch)
    place = devices.Place(torch.device("cuda:1"), "bfloat16")
    assert place.name == "cuda (Card 1)"
    most = int(0.3e9 / 2 / 1.2)  # parameters of two bytes, with the margin
    place.check_room("Some model", most - 1000, bound=100.0)
    with pytest.raises(NoRoomError, match=r"needs about 0\.4 GB of memory, and 0\.3 GB are free on cuda \(Card 1\)\."):
        place.check_room("Some model", most + 50_000_000, bound=100.0)
    with pytest.raises(NoRoomError, match=r"and 0\.3 GB are free on"):
        devices.Place(torch.device("cuda:1"), "float32").check_room("Some model", most, bound=100.0)
    assert devices._free_gigabytes(torch.device("cpu")) is None


def test_a_model_that_leaves_gives_its_cards_memory_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A card has its own memory: the models there do not count as the computer's."""
    card, models = (
        Card(free=9.0).install(monkeypatch),
        ResidentModels(Settings(worker_gigabytes=0.1, resident_models=2)),
    )

    def load(name: str, **_how: Any) -> Any:
        info = SimpleNamespace(parameters=10**9)
        return SimpleNamespace(
            fingerprint=name, info=info, dtype="bfloat16", asked_dtype="bfloat16", device="cuda (Card 0)"
        )

    monkeypatch.setattr("dashboard.capture.loader.load_model", load)
    seen: list[dict[str, Any]] = []
    context = JobContext(
        "k", RunStore(tmp_path / "runs", 10**9), lambda _progress: None, lambda **now: seen.append(now)
    )
    for name in ("a", "b"):
        models.get(ModelRequest(name, dtype="auto"), None, context)
    assert (models.names, card.emptied) == (("a", "b"), 0), "2.4 GB each, and more than the worker may hold of the rest"
    models.get(ModelRequest("c", dtype="auto"), None, context)
    assert (models.names, card.emptied) == (("b", "c"), 1)
    assert seen[-2]["device"] == "cuda (Card 0)", "for /health and the page"
    assert models.get(ModelRequest("c", dtype="bfloat16"), None, context) is models.get(
        ModelRequest("c", dtype="auto"), None, context
    )


# on a GPU


@gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", CLASSES)
def test_a_run_on_a_gpu_is_hugging_faces_own(name: str, dtype: str, settings: Settings, tmp_path: Path) -> None:
    folder = saved(name, tmp_path)
    loaded = load_model(folder, settings=settings, device="cuda", dtype=dtype)
    assert {weight.device.type for weight in loaded.model.parameters()} == {"cuda"}
    run = capture_run(loaded, TEXT)
    wanted = of_outputs(plain(name, folder, loaded, dtype, "cuda", exact=True), run)
    theirs = errors(of_outputs(plain(name, folder, loaded, dtype, "cuda"), run), wanted)
    unit = {"float32": 2.0**-16, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for what, found in errors(of_run(run), wanted).items():
        assert found <= 1.5 * theirs[what] + unit / 4, (
            f"{torch.cuda.get_device_name()}: {what}, {found}, {theirs[what]}"
        )
    assert run.device == f"cuda ({torch.cuda.get_device_name()})"
    assert run.dtype == dtype


@gpu
def test_auto_takes_the_gpu_and_the_files_own_numbers(settings: Settings, tmp_path: Path) -> None:
    loaded = load_model(saved("llama", tmp_path, torch.bfloat16), settings=settings, device="auto")
    assert (loaded.dtype, loaded.device) == ("bfloat16", f"cuda ({torch.cuda.get_device_name()})")


@gpu
def test_later_results_are_computed_on_the_gpu_too(settings: Settings, tmp_path: Path) -> None:
    for name, kind in (("gpt2", "logit-lens"), ("bert", "logit-lens")):
        loaded = load_model(saved(name, tmp_path), settings=settings, device="cuda", dtype="float32")
        run = capture_run(loaded, TEXT)
        here = load_model(tmp_path / "models" / name, settings=settings, device="cpu")
        asked = DerivedRequest.of(run.key, kind)
        ours, theirs = compute(loaded, run, asked), compute(here, run, asked)
        assert np.allclose(ours.arrays["entropy"], theirs.arrays["entropy"], atol=1e-3)
