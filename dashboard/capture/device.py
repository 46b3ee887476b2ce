"""Where a model computes, and in which numbers: found, checked and named once, before its weights are read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from dashboard.capture.configuration import first_line
from dashboard.catalog.description import read_config
from dashboard.catalog.memory import check_device, check_room
from dashboard.contracts.precision import AUTO, BYTES, CARD, CPU, FULL, own_dtype
from dashboard.errors import ModelNotFoundError, SettingsError, UnsupportedModelError

COARSE_FIRST = ("bfloat16", "float16", FULL, "float64")  # by digits


@dataclass(frozen=True)
class Place:
    """A device, and the numbers that a model computes in there; `dtype` as in `contracts.precision`."""

    device: torch.device
    dtype: str

    @property
    def numbers(self) -> torch.dtype:
        found: torch.dtype = getattr(torch, self.dtype)
        return found

    @property
    def name(self) -> str:
        """The device as a run says it: "cpu", "mps", "cuda (NVIDIA H200)"."""
        return name_of(self.device)

    def check_room(self, title: str, parameters: int, bound: float, beside: int = 0) -> None:
        """Like `catalog.memory.check_room`, in this memory too if the device has its own."""
        size = BYTES[self.dtype]
        check_room(title, parameters, bound, beside, size)  # every model comes through the computer's memory
        free = _free_gigabytes(self.device)
        if free is not None:
            check_device(title, parameters, free, self.name, beside, size)


def place_of(device: str, dtype: str, folder: Path, title: str) -> Place:
    """Return where to put the model in `folder`.

    Args:
        device, dtype: as in the settings.

    Raises:
        SettingsError: this computer has no such device.
        UnsupportedModelError: the device cannot compute in these numbers.
    """
    found = find_device(device)
    if dtype == AUTO:
        dtype = FULL if found.type == CPU else own_dtype(_config(folder))
    place = Place(found, dtype)
    _check_computes(place, title)
    return place


def find_device(device: str) -> torch.device:
    """Return the device of this name; raise `SettingsError`, saying what to do, if this computer has none.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps", or "auto": a GPU if there is one, otherwise the CPU.
    """
    if device == AUTO:
        return torch.device("cuda" if _cards() else "mps" if torch.backends.mps.is_available() else CPU)
    if device == CPU:
        return torch.device(CPU)
    reason = _lacks(device)
    if reason:
        raise SettingsError(
            f"DASHBOARD_DEVICE is {device}, and {reason}. Or choose another device: DASHBOARD_DEVICE=cpu, or auto, "
            "which uses a GPU if there is one."
        )
    return torch.device(device)


def card_of(device: str, number: int) -> str:
    """Return the device of one of several workers: each takes a card of its own, in turn, if there are any."""
    cards = _cards() if device in (AUTO, "cuda") else 0
    return f"{CARD}{number % cards}" if cards else device


def name_of(device: torch.device) -> str:
    """Return a device as a run says it: "cpu", "mps", "cuda (NVIDIA H200)"."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def dtype_in(model: nn.Module) -> str:
    """Return the numbers that a model in memory computes in: the coarsest of its parameters'."""
    names = {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}
    return next((name for name in COARSE_FIRST if name in names), FULL)


def free_unused() -> None:
    """Give back the memory of a GPU that a deleted model leaves reserved."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _cards() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a driver that is too old: then there is no card
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _lacks(device: str) -> str:
    """Why this computer does not have a GPU of this name; "" if it has."""
    if device == "mps":
        lacks = not torch.backends.mps.is_available()
        return "this computer has no Apple GPU, or this PyTorch cannot use it" if lacks else ""
    cards = _cards()
    if not cards and torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return "this PyTorch was built for the CPU only; install one with CUDA (https://pytorch.org)"
    if not cards:
        return "PyTorch finds no NVIDIA GPU; check its driver (nvidia-smi)"
    beyond = device.startswith(CARD) and int(device.removeprefix(CARD)) >= cards
    return f"the cards here are cuda:0 to cuda:{cards - 1}" if beyond else ""


def _config(folder: Path) -> dict[str, object]:
    try:
        return dict(read_config(folder))
    except ModelNotFoundError:  # the loader says what is wrong with it
        return {}


def _free_gigabytes(device: torch.device) -> float | None:
    """Return the free memory of a card; None if the device shares the computer's memory."""
    if device.type != "cuda":
        return None
    free, _whole = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(free + idle) / 1e9


def _check_computes(place: Place, title: str) -> None:
    """Refuse numbers that the device cannot compute in: older versions of PyTorch lack float16 on the CPU."""
    try:
        with torch.inference_mode():
            ones = torch.ones(2, 2, dtype=place.numbers, device=place.device)
            nn.functional.layer_norm(nn.functional.gelu(ones @ ones), (2,)).softmax(-1).sum().item()
    except (RuntimeError, TypeError) as error:
        raise UnsupportedModelError(
            f"{title} cannot be computed in {place.dtype} on {place.name} ({first_line(error)}). Choose float32 or "
            "bfloat16 (DASHBOARD_DTYPE), or another device."
        ) from error
