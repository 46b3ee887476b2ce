"""What each score of a head means, and who described it: one click away from the table of heads."""

from __future__ import annotations

from dash import html

CLARK = "Clark et al. 2019, arXiv 1906.04341"
OLSSON = "Elhage et al. 2021; Olsson et al. 2022, arXiv 2209.11895"
DEFINITIONS = {  # score: name, definition, source
    "previous": ("Previous", "Mean weight on the token just before, over all tokens but the first.", CLARK),
    "next": ("Next", "Mean weight on the token just after; always 0 in causal attention, and not listed there.", CLARK),
    "self": ("Itself", "Mean weight of a token on itself.", CLARK),
    "first": (
        "First",
        "Mean weight on the text’s first token, over all later tokens. Many heads put unused attention there (the "
        "first token is then called an attention sink).",
        "Xiao et al. 2023, arXiv 2309.17453",
    ),
    "separator": ("Separator", "Mean weight on special tokens after the first, such as [SEP].", CLARK),
    "punctuation": ("Punctuation", "Mean weight on tokens that are only punctuation, except the first token.", CLARK),
    "duplicate": (
        "Duplicate",
        "Mean weight on earlier occurrences of the same token, over the tokens that have any. If tokens attend in both "
        "directions, all other occurrences count.",
        "Wang et al. 2023, arXiv 2211.00593",
    ),
    "induction": (
        "Induction",
        "Mean weight on what followed earlier occurrences of the same token, over the tokens that have any. It needs "
        "causal attention.",
        OLSSON,
    ),
    "entropy": ("Entropy, nats", "How widely a token looks: mean of −Σ w ln w over its weights w.", CLARK),
    "distance": (
        "Distance",
        "Mean distance, in tokens, between a token and what it attends to: Σ w · |i − j|.",
        "Vig and Belinkov 2019, arXiv 1906.04284",
    ),
}
HEADINGS = {score: name for score, (name, _definition, _source) in DEFINITIONS.items()}
SHORT = {
    **{"previous": "Prev.", "next": "Next", "self": "Self", "first": "First", "separator": "Sep."},
    **{"punctuation": "Punct.", "duplicate": "Dupl.", "induction": "Induct.", "entropy": "Entr.", "distance": "Dist."},
}
SORTED_BY = {
    "previous": "attention to the previous token",
    "next": "attention to the next token",
    "self": "attention to the token itself",
    "first": "attention to the first token",
    "separator": "attention to separators",
    "punctuation": "attention to punctuation",
    "duplicate": "attention to duplicate tokens",
    "induction": "induction",
    "entropy": "entropy",
    "distance": "distance",
}
RULE = (
    "By chance: the score of a head that attends equally to every token that it may attend to in this text. A pattern "
    "is judged by its share of the attention that is not on the first token. A head is named after the pattern if that "
    "share is at least 0.4 of the way from chance to 1, and the first token has at most 0.9 of the attention; for "
    "“duplicate token” and “induction”, at least three tokens must repeat others. If no pattern fits, the first token "
    "is judged in the same way."
)
PROBE = (
    "Repeated random tokens: the model reads up to 50 random tokens twice. Random tokens that are read twice have no "
    "structure but the repetition. What a head does with them is a property of the model, not of your text. The scores "
    "are computed once for a model, with three sets of random tokens; ± is the standard deviation over the three."
)


def definitions() -> html.Details:
    """A menu that defines every score, with its source."""
    rows = [
        html.P([html.B(name), f" ({SHORT[score]}) " if SHORT[score] != name else " ", text, html.Small(f" {source}")])
        for score, (name, text, source) in DEFINITIONS.items()
    ]
    text = html.Div([*rows, html.P(RULE), html.P(PROBE)], className="menu definitions-text", tabIndex=0, role="note")
    return html.Details([html.Summary("Definitions"), text], className="menu-box score-definitions")
