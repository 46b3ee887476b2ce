"""Partial downloads of the hub's large files: a stopped download is kept and resumed the next time.

The hub's library starts a file over each time, under a new name. So a file of weights is first downloaded here, into
the place where the library looks for it. No torch.
"""

from __future__ import annotations

import fcntl
import os

from dashboard.catalog.hub import COMMIT, repository_of

PART = ".dashboard.incomplete"  # suffix of a partial file


def bring_blob(name: str, file: str, commit: str, bar: type) -> None:
    """Download a file of a hub model to where the hub's library finds it, resuming where the last download stopped.

    Args:
        bar: what the library takes for tqdm's class; an exception from it stops the download.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(name, file, revision=commit)
    described = get_hf_file_metadata(url)
    blobs = repository_of(name) / "blobs"
    if described.size is None or not COMMIT.fullmatch(str(described.etag)) or (blobs / str(described.etag)).exists():
        return  # leave it to the library
    blobs.mkdir(parents=True, exist_ok=True)
    part = blobs / f"{described.etag}{PART}"
    with part.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another process downloads it, or there are no locks here: leave it to the library
        with part.open("r+b") as stream:
            begun = stream.seek(0, os.SEEK_END)
            if begun > described.size:
                begun = stream.truncate(0)
                stream.seek(0)
            if begun < described.size or not begun:
                http_get(
                    url,
                    stream,
                    resume_size=begun,
                    headers=build_hf_headers(),
                    expected_size=described.size,
                    tqdm_class=bar,
                )
        os.replace(part, blobs / str(described.etag))
