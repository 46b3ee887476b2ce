"""Named files of arrays in one private folder: mapped when read, written whole, deleted when others need the room."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from dashboard.contracts.request import KEY_LENGTH
from dashboard.errors import RunNotFoundError, SettingsError, is_full_disk
from dashboard.store.array_file import storable, write_arrays
from dashboard.store.budget import Budget
from dashboard.store.files import file_of, files_in, in_leaving_order, kept_in, remove, whole_file
from dashboard.store.leftovers import remove_left
from dashboard.store.mapped import DamagedFileError, MappedArrays, map_arrays
from dashboard.store.refusals import MISSING, full_disk, missing
from dashboard.store.reserve import missing_bytes
from dashboard.system.private import private_folder


class KeptFiles:
    """The files of a run store, by name.

    Args:
        folder: created with mode 0700.
        max_bytes, pinned, budget: as in `RunStore`.
        close_gone: closes files that are still open after someone deleted or replaced them; until then they take room.

    Raises:
        SettingsError: the folder cannot be created or written.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        pinned: Callable[[], Collection[str]],
        budget: Budget | None,
        close_gone: Callable[[], None],
    ) -> None:
        self.folder, self.max_bytes, self.pinned, self.budget = folder, max_bytes, pinned, budget
        self._close_gone = close_gone
        try:
            private_folder(self.folder).chmod(0o700)
            self._sweep()
        except OSError as error:
            raise SettingsError(
                f"The folder of saved runs, {self.folder}, cannot be used ({error.strerror}). "
                "Set DASHBOARD_CACHE_DIR to a folder that this user may write."
            ) from error

    def path(self, name: str) -> Path:
        """Return where the file of this name is, or would be."""
        return file_of(self.folder, name)

    def map(self, name: str) -> MappedArrays:
        """Map the arrays of a file.

        Raises:
            RunNotFoundError: it is not here, or was damaged (and has now been deleted).
        """
        try:
            arrays = map_arrays(self.path(name))
        except DamagedFileError as error:
            self.path(name).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING) from error
        except OSError as error:
            raise missing(error) from error
        if arrays.metadata.get("name") != name:
            self.path(name).unlink(missing_ok=True)
            raise RunNotFoundError(MISSING)
        return arrays

    def write(
        self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, str], mapped: bool = False
    ) -> None:
        """Write a file whole, then delete others until everything fits.

        Args:
            metadata: must include `name`.
            mapped: whether the arrays are in a file already; they are then copied one at a time.

        Raises:
            RunShapeError: an array has a type that files cannot hold. DashboardError: the disk is full.
        """
        while True:
            try:
                self._write_once(name, arrays, metadata, mapped)
                break
            except Exception as error:
                if not is_full_disk(error):
                    raise
                size = sum(array.nbytes for array in arrays.values())
                if not self._freed(size, name):
                    raise full_disk(name) from error
        self._make_room(name)

    def _write_once(self, name: str, arrays: Mapping[str, np.ndarray], metadata: dict[str, str], mapped: bool) -> None:
        private_folder(self.folder)
        with whole_file(self.path(name), name, private=True, durable=True) as part:
            if mapped:
                with part.open("wb") as file:
                    write_arrays(file, arrays, metadata)
                return
            save_file({label: storable(label, array) for label, array in arrays.items()}, part, metadata=metadata)

    def _make_room(self, keep: str) -> None:
        """Delete derived results, then the least recently used runs, until everything fits, pinned ones last; the item
        called `keep` was just saved and stays, with its run.

        Unfinished files count, too, also those of killed writers until they are swept. If the disk is
        smaller than the store may be, runs are deleted until the reserve is free again.
        """
        self._close_gone()
        total = sum(status.st_size for _name, status in files_in(self.folder)) + self._sweep()
        self._let_go(total - self.max_bytes, keep)
        self._freed(0, keep)

    def _freed(self, needed: int, keep: str) -> bool:
        """Make room for `needed` bytes and the reserve, in disk and budget; return whether anything was deleted."""
        if self.budget is None:
            return self._let_go(needed + missing_bytes(self.folder), keep)
        gone = self.budget.make_room(needed, keep, full=needed > 0).gone
        self._close_gone()
        return gone > 0

    def _let_go(self, needed: int, keep: str) -> bool:
        """Delete items in order until `needed` bytes are free; return whether any were deleted."""
        stays = (keep, keep[:KEY_LENGTH])
        found = [one for one in (kept_in(self.folder) if needed > 0 else ()) if one.name not in stays]
        gone = 0
        for one in in_leaving_order(found, self.pinned() if found else ()):
            if gone >= needed:
                break
            remove(self.folder, one.name)
            gone += one.bytes
        self._close_gone()
        return gone > 0

    def _sweep(self) -> int:
        """Remove what killed writers left; return how many bytes unfinished files still take."""
        return remove_left(self.folder, "*.part")
