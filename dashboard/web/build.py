"""The name of this build, which changes with any file that makes what the page shows; an address that holds it may be
kept."""

from __future__ import annotations

import hashlib
from functools import cache

from dashboard.components.scripts import ASSETS, PACKAGE

FOR_EVER = "private, max-age=31536000, immutable"  # of an answer whose address names all that it depends on
PARTS = ((PACKAGE, "*.py"), (ASSETS, "*"))


@cache
def build() -> str:
    """16 hex digits, a hash over the program's files; the same in every process that serves them."""
    whole = hashlib.sha256()
    for folder, pattern in PARTS:
        for path in sorted(path for path in folder.rglob(pattern) if path.is_file()):
            content = path.read_bytes()
            whole.update(f"{path.relative_to(folder)} {len(content)} ".encode() + content)
    return whole.hexdigest()[:16]
