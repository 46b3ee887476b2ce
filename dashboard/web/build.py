"""The name of this build, which changes with any file that affects the page, so that answers with it in their address
can be cached."""

from __future__ import annotations

import hashlib
from functools import cache

from dashboard.components.scripts import ASSETS, PACKAGE

FOR_EVER = "private, max-age=31536000, immutable"  # for an answer whose address names everything that it depends on
PARTS = ((PACKAGE, "*.py"), (ASSETS, "*"))


@cache
def build() -> str:
    """16 hex digits, a hash of the program's files; the same in every process that serves them."""
    whole = hashlib.sha256()
    for folder, pattern in PARTS:
        for path in sorted(path for path in folder.rglob(pattern) if path.is_file()):
            content = path.read_bytes()
            whole.update(f"{path.relative_to(folder)} {len(content)} ".encode() + content)
    return whole.hexdigest()[:16]
