"""The tree of errors. Each message is one or two sentences: what happened, and what to do next.

Anything that a person can cause or encounter derives from `DashboardError` and reaches the page as a notice;
an error outside this tree is a bug, and the page says so without a traceback.
"""

from __future__ import annotations

import errno
import re
import traceback

BROKEN = (
    "This failed inside the dashboard, which is our fault. Nothing is lost. Try again; if it fails again, check the "
    "server's log (or ask whoever runs this server)."
)

NO_DISK = (
    "The server's disk is full. Nothing is lost: free some space (or ask whoever runs this server), then try again."
)
NO_FILE = (
    "The server could not read or write one of its files. Nothing is lost. Try again; if it fails again, check the "
    "server's log to see which file (or ask whoever runs this server)."
)
NO_ACCESS = (
    "The server is not allowed to read or write one of its files. Nothing is lost. Check the server's log to see which "
    "file (or ask whoever runs this server), and give the server access to it."
)
NO_LONGER_THERE = (
    "A file or folder of the server is no longer there. Try again; if it keeps happening, check the server's log "
    "to see which (or ask whoever runs this server)."
)
TOO_MANY_FILES = "The server has too many files open. Nothing is lost: try again in a moment."
NO_ANSWER = "Something that the server needs did not answer. Nothing is lost: try again in a moment."
NO_MEMORY = "The server is short of memory. Nothing is lost: try again in a moment, or ask for less at once."
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSALS = {  # by the machine's error number
    **dict.fromkeys(FULL_DISK, NO_DISK),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), NO_ACCESS),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), NO_LONGER_THERE),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), TOO_MANY_FILES),
    errno.ENOMEM: NO_MEMORY,
}
_PATHS = (  # a quoted path may contain spaces
    re.compile(r"""(?<=['"“‘])(?:file://)?/[^'"”’\n]*/(?=[^/'"”’\n]*['"”’])"""),
    re.compile(r"""(?<![\w:/.…])(?:file://)?/(?:[^\s/'"”’]+/)+"""),
)


def without_paths(text: str) -> str:
    """Shorten every absolute path in a sentence for a page to its last part.

    The log has the full paths, for whoever runs the server.
    """
    for pattern in _PATHS:
        text = pattern.sub("…/", text)
    return text


def disk_error(error: BaseException | None) -> OSError | None:
    """Return the `OSError` that an error is, or was caused by: an error during cleanup hides the first one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk (or a quota of it) is full."""
    told = "".join(traceback.format_exception_only(error))  # works even for an error that cannot be printed
    return getattr(disk_error(error), "errno", None) in FULL_DISK or "No space left" in told or "disk is full" in told


def unforeseen(error: BaseException) -> str:
    """Return the sentence for an error outside the tree below, which does not blame us for what the machine refuses.

    An `OSError` without a number does not come from the machine: a library raised it for reasons of its own.
    """
    if is_full_disk(error):
        return NO_DISK
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, (ConnectionError, TimeoutError)):
        return NO_ANSWER
    number = error.errno if isinstance(error, OSError) else None
    return BROKEN if number is None else _REFUSALS.get(number, NO_FILE)


def said(error: BaseException) -> str:
    """Return the sentence for a page: the error's own, without the server's paths, or that of `unforeseen`."""
    return without_paths(str(error)) if isinstance(error, DashboardError) else unforeseen(error)


class DashboardError(Exception):
    """Base of every error that a person may see; `str(error)` is the sentence shown on the page.

    Attributes:
        retry: whether doing the same again may help.
        status: HTTP status of an answer that reports the error.
    """

    retry: bool = False
    status: int = 404

    def __str__(self) -> str:
        """Return one printable line, whatever an address or a file put into the message."""
        return "".join(letter if letter.isprintable() else " " for letter in super().__str__())


class BadRequestError(DashboardError):
    """A form, an address or a call holds a value that cannot be used."""

    status = 400


class AddressNotFoundError(BadRequestError):
    """No page or file has this address on this server."""

    status = 404


class UsageError(BadRequestError):
    """A shell command was given an option or a value that it does not accept."""


class EmptyTextError(BadRequestError):
    """There is nothing to run."""


class TextTooLongError(BadRequestError):
    """The text has more tokens than the model or the server takes."""


class BadTextError(BadRequestError):
    """The text holds characters that no tokenizer should be given (control characters, lone surrogates)."""


class BadSelectionError(BadRequestError):
    """A selection names a token, layer, head or run that does not exist."""


class ModelError(DashboardError):
    """A model cannot be used."""


class ModelNotFoundError(ModelError):
    """No such model here, and it cannot be fetched."""


class HubUnreachableError(ModelNotFoundError):
    """The model is not here, and the network could not provide it."""

    retry = True


class NotReadyError(ModelError):
    """The model's files are not here, or not in a loadable form, though they should have been made ready before."""

    retry = True


class ModelTooLargeError(ModelError):
    """The model needs more memory than this server gives to a single model."""


class NoRoomError(ModelTooLargeError):
    """The model needs more memory than is free now."""

    retry = True


class UnsupportedModelError(ModelError):
    """The model's architecture does something that capture does not know; the message names it."""


class NoPairsError(ModelError):
    """There are two texts, and the model takes one."""


class NoChatTemplateError(ModelError):
    """The text is a chat message, and the model has no chat template."""


class ChatTemplateError(BadRequestError):
    """A model's chat template cannot render this message."""


class UnsafeModelError(ModelError):
    """The model could only be loaded by running code or unpickling from its files."""


class ForeignFileError(ModelError):
    """A file of a model is damaged, too large or unsafe to read.

    `clause` says which and why, worded to follow "cannot be run:".
    """

    def __init__(self, clause: str) -> None:
        super().__init__(f"A file of this model cannot be used: {clause}. Repair it, or choose another model.")
        self.clause = clause


class RunShapeError(DashboardError):
    """Arrays of a run, or arrays handed to a figure, do not fit together."""


class MissingArrayError(DashboardError):
    """A run does not hold the requested array (say, predictions of a model without a prediction head).

    Attributes:
        again: whether running the text again would provide it, which a card then offers.
    """

    status = 409

    def __init__(self, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class TooLargeError(DashboardError):
    """A result takes more space than this server allows."""


class RunNotFoundError(DashboardError):
    """The run store does not hold this run (any more)."""


class UnreadableRunError(RunNotFoundError):
    """A run's file exists, but the machine does not let it be read."""

    status = 500


class NewerRunError(RunNotFoundError):
    """A newer version of this program made the run's file, and this version cannot read it."""


class ReplacedRunError(DashboardError):
    """A run was computed again, and the request is about the previous capture."""

    status = 412


class JobError(DashboardError):
    """A job ended without a result; `details` is for the person who runs the server."""

    retry = True

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class StorageError(JobError):
    """The server cannot keep its list of jobs: the disk is full, or the list was damaged."""


class QueueFullError(DashboardError):
    """Too many runs are already waiting, of this visitor or in total."""

    retry = True
    status = 429


class NoSpaceError(DashboardError):
    """A file that someone asked for could not be written for lack of space."""

    status = 507


class JobCancelledError(JobError):
    """The last person waiting for the job cancelled it."""

    retry = False


class SettingsError(DashboardError):
    """The server cannot start as configured: a port in use, a folder that cannot be written."""


def is_panic(error: BaseException) -> bool:
    """Whether native Rust code panicked: its bindings raise that as a `BaseException` with no importable class."""
    return type(error).__name__ == "PanicException" and type(error).__module__.startswith("pyo3")
