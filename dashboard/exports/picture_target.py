"""The target of a picture: the screen or a column of print, with or without its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.errors import BadRequestError

PRINT_WIDTHS = {"170mm": 170, "85mm": 85}  # a page, and one of its two columns; the card's menu offers them
PIXELS = 400 / 85  # layout pixels per millimetre of print: type of 10 pixels, the smallest, comes out at 6 pt
DPI = 300  # for a PNG in print


@dataclass(frozen=True)
class Sheet:
    """The paper of one picture.

    Attributes:
        width: in millimetres; None for the screen, where each figure chooses its own width.
        titled: whether title, caption and source appear in the picture; the file's metadata always has them.
    """

    width: int | None = None
    titled: bool = True

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Sheet:
        """The sheet that an address asks for: `width=screen|170mm|85mm`, `titled=1|0`.

        Raises:
            BadRequestError: another width, or another value of `titled`.
        """
        width, titled = query.get("width", "screen"), query.get("titled", "1")
        if width != "screen" and width not in PRINT_WIDTHS:
            raise BadRequestError(f"No picture is “{width[:20]}” wide. Choose screen, {' or '.join(PRINT_WIDTHS)}.")
        if titled not in ("0", "1"):
            raise BadRequestError(f"titled is “{titled[:20]}”. Give 1 for a picture with title and source, 0 without.")
        return cls(PRINT_WIDTHS.get(width), titled == "1")

    @property
    def pixels(self) -> int | None:
        """The width in layout pixels."""
        return None if self.width is None else round(self.width * PIXELS)

    @property
    def words(self) -> tuple[str, ...]:
        """Parts of a file name: whatever differs from the picture for the screen."""
        width = () if self.width is None else (f"{self.width}mm",)
        return (*width, *(() if self.titled else ("bare",)))


SCREEN = Sheet()
