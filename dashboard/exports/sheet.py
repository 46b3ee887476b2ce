"""What a picture is made for: the screen or a column of print, with or without its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.errors import BadRequestError

PRINT_WIDTHS = {"85mm": 85, "170mm": 170}  # one column of a page, and two
PIXELS = 400 / 85  # of the layout in a millimetre of print: type of 10 pixels, the smallest there is, has 6 pt
DPI = 300  # of a PNG for print


@dataclass(frozen=True)
class Sheet:
    """The paper of one picture.

    Attributes:
        width: in millimetres; None for the screen, where each figure is as wide as it likes.
        titled: whether title, caption and source stand in the picture; the file's metadata have them always.
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
        """The width in pixels of the layout."""
        return None if self.width is None else round(self.width * PIXELS)

    @property
    def words(self) -> tuple[str, ...]:
        """In a file's name: what differs from the screen's picture."""
        width = () if self.width is None else (f"{self.width}mm",)
        return (*width, *(() if self.titled else ("bare",)))


SCREEN = Sheet()
