"""Which tokens of a text repeat others, for the scores of heads that look for repetitions.

duplicate token     from a token to its earlier occurrences                  Wang et al. 2023, arXiv 2211.00593
induction           from a token to what followed its earlier occurrences    Elhage et al. 2021; Olsson et al. 2022,
                                                                             arXiv 2209.11895
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dashboard.contracts.attention_recipe import MaskKind

KINDS = ("duplicate", "induction")


class Repeats:
    """The repeated tokens of one text; two tokens are the same if their vocabulary ids are.

    In causal attention, “duplicate” means earlier occurrences; in full attention, all others, and there is no
    induction: that means attending to what came after an earlier occurrence, in a model that reads from left to right.
    A token right after its own occurrence ("no no") would find itself, which does not count.
    """

    def __init__(self, ids: Sequence[int] | np.ndarray) -> None:
        self.ids = np.asarray(ids, dtype=np.int64).reshape(-1)
        _, first, inverse, counts = np.unique(self.ids, return_index=True, return_inverse=True, return_counts=True)
        self._often: np.ndarray = counts[inverse] > 1
        self._since: np.ndarray = np.arange(len(self.ids)) - first[inverse]  # tokens since the first occurrence

    def __len__(self) -> int:
        return len(self.ids)

    def within(self, rows: range, columns: range, mask: MaskKind) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return, for "duplicate" and "induction", (row, column) bool: which keys count for each query; None for none.

        Args:
            rows, columns: contiguous ranges of queries and keys.
        """
        row, column = np.arange(rows.start, rows.stop)[:, None], np.arange(columns.start, columns.stop)
        if not self._often[rows.start : rows.stop].any() or not self._often[columns.start : columns.stop].any():
            return None, self._induction(row, column, mask)
        same = self.ids[row] == self.ids[column]
        same &= column < row if mask == "causal" else column != row
        return (same if same.any() else None), self._induction(row, column, mask)

    def _induction(self, row: np.ndarray, column: np.ndarray, mask: MaskKind) -> np.ndarray | None:
        if mask != "causal" or not self._often[row[:, 0]].any():
            return None
        found: np.ndarray = (self.ids[row] == self.ids[np.maximum(column - 1, 0)]) & (column >= 1) & (column < row)
        return found if found.any() else None

    def asking(self, mask: MaskKind) -> tuple[np.ndarray, np.ndarray]:
        """Return, for "duplicate" and "induction", (query,) bool: which queries have such a key, over which the scores
        are means."""
        if mask != "causal":
            return self._often, np.zeros(len(self), dtype=bool)
        return self._since > 0, self._since > 1

    @property
    def first(self) -> np.ndarray:
        """(query,) bool: which tokens repeat the text's first token."""
        found: np.ndarray = self.ids == self.ids[:1]
        found[:1] = False
        return found
