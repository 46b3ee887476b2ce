"""Making a model ready, in a process beside the workers: fetching it, converting it, and reading it through.

Only a conversion imports torch. A preparation leaves files on the disk, and its result is the model's fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.catalog.adapter_card import base_of
from dashboard.catalog.catalog import title_of
from dashboard.catalog.fetch import resolve_folder
from dashboard.catalog.fingerprint import fingerprint_memories, folder_fingerprint, is_kept
from dashboard.catalog.tokenizers import tokenizer_folder
from dashboard.contracts.request import ModelRequest
from dashboard.errors import StorageError
from dashboard.jobs.work import JobContext, Registry
from dashboard.settings import Settings


def registry(settings: Settings) -> Registry:
    """Return the job functions of the lane "prepare"."""
    return Registry({"prepare": lambda payload, job_context: prepare(payload, job_context, settings)})


def prepare(payload: Mapping[str, Any], job_context: JobContext, settings: Settings) -> str:
    """Make a model of the catalog ready; return its fingerprint."""
    job_context.announce(state="loading")  # a conversion imports torch, without a sign of life meanwhile
    asked = ModelRequest(str(payload["model"]), payload.get("revision"), payload.get("tokenizer"))
    folder = resolve_folder(asked.name, settings, asked.revision, job_context.progress, folders=False, loads=False)
    memories = fingerprint_memories(settings)
    found = base_of(folder, title_of(asked.name), settings)
    base = None if found is None else found.folder
    tokenizer = None if asked.tokenizer is None else tokenizer_folder(asked.tokenizer, settings)
    fingerprint = folder_fingerprint(folder, memories, job_context.progress, base, tokenizer)
    if not is_kept(folder, memories, base, tokenizer):
        raise StorageError(
            "The model's checksum could not be saved on the server's disk, so every run would read the whole model "
            "again. Free some space (or ask whoever runs this server), then try again."
        )
    return fingerprint
