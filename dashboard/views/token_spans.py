"""Tokens in the text of the page, written as in the token strip."""

from __future__ import annotations

from dash import html

from dashboard.figures.tokens import Labelled, is_punctuation, lead_of, leading_marks, run_labels, token_label


def token_at(run: Labelled, index: int, numbered: bool = False, class_name: str = "tok") -> html.Span:
    """A token of a run or of one of its streams, as in the token strip; if `numbered`, with its position in small
    type."""
    piece = _span(run_labels(run)[index], lead_of(run.tokens[index]), class_name)
    return html.Span([piece, html.Span(f" {index}", className="pos")]) if numbered else piece


def token_span(text: str, label: str | None = None, class_name: str = "tok") -> html.Span:
    """A vocabulary token in the token font: its text, or its label if others are beside it (`distinct`)."""
    return _span(token_label(text) if label is None else label, leading_marks(text), class_name)


def _span(label: str, marks: int, class_name: str) -> html.Span:
    """A token with its sign and leading white space in secondary ink; punctuation in quotation marks beside it.
    `dir="auto"` isolates it, so that a right-to-left token moves no number beside it.
    """
    token = html.Span([html.Span(label[:marks], className="ws"), label[marks:]], className=class_name, dir="auto")
    return html.Span(["“", token, "”"]) if is_punctuation(label) else token
