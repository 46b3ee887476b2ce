"""The numbers that a model computes in, and the device that it computes on: their names, sizes and marks. No torch.

A run in float32 on the CPU, the default, says nothing of either: a run stored before there was a choice reads as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FULL = "float32"
CPU = "cpu"
AUTO = "auto"  # the device: a GPU if there is one; the numbers: float32 on the CPU, the checkpoint's own on a GPU
BYTES: Mapping[str, int] = MappingProxyType({"bfloat16": 2, "float16": 2, FULL: 4, "float64": 8})  # bytes of one number
LESS = ("bfloat16", "float16")  # dtypes of lower precision than float32
DTYPES = (AUTO, FULL, *LESS)  # what a server can be set to
DEVICES = (AUTO, CPU, "cuda", "mps")
LONGEST_DEVICE = 80  # characters of a device's name
CARD = "cuda:"  # prefix of one of several cards: "cuda:1"


def asked_dtype(device: str, dtype: str) -> str | None:
    """Return the `dtype` of a request to a server with these settings: None for float32; "auto" if only the worker
    knows, which sees the device.
    """
    if dtype == AUTO:
        return None if device == CPU else AUTO
    return None if dtype == FULL else dtype


def least_bytes(device: str, dtype: str) -> int:
    """Return the fewest bytes that a weight may take on a server with these settings."""
    asked = asked_dtype(device, dtype)
    return BYTES[FULL] if asked is None else BYTES.get(asked, min(BYTES.values()))


def own_dtype(config: Mapping[str, Any]) -> str:
    """Return the numbers in which a model was saved, by its configuration; float32 if it names none of ours."""
    said = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    return said if said in LESS else FULL


def words_of(device: str, dtype: str) -> str:
    """Say what a server with these settings computes on, and in: "on cuda in bfloat16"; "" for float32 on the CPU."""
    on = {CPU: "", AUTO: "on a GPU if there is one"}.get(device, f"on {device}")
    numbers = "" if dtype == AUTO or asked_dtype(device, dtype) is None else f"in {dtype}"
    return " ".join(part for part in (on, numbers) if part)


def dtype_of(header: Mapping[str, Any]) -> str:
    """Return the numbers in which a run was computed."""
    found = header.get("dtype")
    return found if isinstance(found, str) and found in BYTES else FULL


def device_of(header: Mapping[str, Any]) -> str:
    """Return the device that a run was computed on, with its name: "cuda (NVIDIA H200)"."""
    return str(header.get("device") or CPU)[:LONGEST_DEVICE]


def mark_of(header: Mapping[str, Any]) -> str:
    """Return the mark of a run in other numbers than float32: "computed in bfloat16"; "" for one in float32."""
    dtype = dtype_of(header)
    return "" if dtype == FULL else f"computed in {dtype}"


def said_of(header: Mapping[str, Any]) -> str:
    """Return a run's numbers and device: "bfloat16, on cuda (NVIDIA H200)"; "" for float32 on the CPU."""
    dtype, device = dtype_of(header), device_of(header)
    return "" if (dtype, device) == (FULL, CPU) else f"{dtype}, on {device}"
