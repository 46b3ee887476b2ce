"""Whether a model fits into memory, checked before it is loaded or downloaded. No torch."""

from __future__ import annotations

import psutil

from dashboard.errors import ModelTooLargeError, NoRoomError
from dashboard.system.container import memory_left

BYTES_A_WEIGHT = 4  # float32, in which weights are counted, and computed unless a setting says otherwise
MARGIN = 1.2  # for what a run needs besides the weights


def needed_gigabytes(parameters: int, size: int = BYTES_A_WEIGHT, beside: int = 0) -> float:
    """Return the memory that a loaded model of `parameters` takes.

    Args:
        size: bytes of a parameter. beside: numbers in float32 that the model keeps besides its parameters.
    """
    return (parameters * size + beside * BYTES_A_WEIGHT) * MARGIN / 1e9


def free_gigabytes() -> float:
    """Return the memory that a process may still take, on this machine or in its container."""
    free, left = psutil.virtual_memory().available, memory_left()
    return (free if left is None else min(free, left)) / 1e9


def check_bound(title: str, parameters: int, bound: float, beside: int = 0, size: int = BYTES_A_WEIGHT) -> None:
    """Raise `ModelTooLargeError` for a model that needs more than `bound` gigabytes; `beside` and `size` as in
    `needed_gigabytes`."""
    needed = needed_gigabytes(parameters, size, beside)
    if needed > bound:
        raise ModelTooLargeError(
            f"{title} has {_count(parameters)} parameters and needs about {needed:.1f} GB of memory; this server gives "
            f"a model "
            f"at most {bound:g} GB (DASHBOARD_MODEL_GIGABYTES). Choose a smaller model."
        )


def check_room(title: str, parameters: int, bound: float, beside: int = 0, size: int = BYTES_A_WEIGHT) -> None:
    """Like `check_bound`; also raise `NoRoomError` for a model that needs more than is free now."""
    check_bound(title, parameters, bound, beside, size)
    needed, free = needed_gigabytes(parameters, size, beside), free_gigabytes()
    if needed > free:
        raise NoRoomError(
            f"{title} needs about {needed:.1f} GB of memory, and {free:.1f} GB are free on the server. "
            "Choose a smaller model, or try again when there is more room."
        )


def check_device(
    title: str, parameters: int, free: float, device: str, beside: int = 0, size: int = BYTES_A_WEIGHT
) -> None:
    """Raise `NoRoomError` for a model that needs more than the `free` gigabytes of a GPU's own memory."""
    needed = needed_gigabytes(parameters, size, beside)
    if needed > free:
        raise NoRoomError(
            f"{title} needs about {needed:.1f} GB of memory, and {free:.1f} GB are free on {device}. Choose a smaller "
            "model, or try again when there is more room; or have models computed on the CPU (DASHBOARD_DEVICE=cpu)."
        )


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"
