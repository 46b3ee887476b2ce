"""Example texts to start with: one or two for each bundled model, with what to look for in them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A text, its model, and the selection that shows the point.

    Attributes:
        model: catalog name. text: the text to run. look_for: one line for a person.
        token, second, layer, head: what is selected when the run is first opened.
    """

    model: str
    text: str
    look_for: str
    token: int
    layer: int
    head: int
    second: int | None = None


EXAMPLES = (
    Example(
        "smollm2-135m",
        "When Mary and John went to the shops, John gave a bottle of milk to Mary.",
        "Layer 23, head 0: “to” attends to the name that comes next",
        token=15,
        second=1,
        layer=23,
        head=0,
    ),
    Example(
        "smollm2-135m",
        "Oh dear! Oh dear! I shall be late! Oh dear!",
        "Layer 18, head 6: attends to what followed the same word last time",
        token=11,
        second=4,
        layer=18,
        head=6,
    ),
    Example(
        "minilm-l6",
        "My bank closed the account. The bank charged a fee. Ducks sat on the grassy bank of the river.",
        "One word, two meanings: two points for “bank” lie together, the third apart",
        token=8,
        second=18,
        layer=2,
        head=0,
    ),
    Example(
        "rxnmapper",
        "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F",
        "Layer 10, head 5: product atoms attend to the reactant atoms they come from",
        token=45,
        second=6,
        layer=10,
        head=5,
    ),
)
MODEL_WORDS = {
    "causal": "predicts the next token",
    "encoder": "produces embeddings",
    "masked": "predicts masked tokens",
}


def example_for(model: str, text: str, text_pair: str | None = None) -> Example | None:
    """Return the example with exactly this model and text, if there is one; no example has a second text."""
    if text_pair is not None:
        return None
    return next((example for example in EXAMPLES if (example.model, example.text) == (model, text)), None)
