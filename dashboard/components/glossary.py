"""The technical terms that the page explains, each with one or two sentences for a tooltip.

docs/glossary.md lists the same entries (tested).
"""

from __future__ import annotations

from types import MappingProxyType

from dash import html

from dashboard.components.markup import attributes

GLOSSARY = MappingProxyType(
    {
        "token": "A piece of text that the model reads as one unit: a word, part of a word, or a symbol.",
        "vocabulary": "All the tokens that a model knows.",
        "layer": "One step of the model. Each layer reads the tokens' hidden states and changes them; the first is "
        "layer 0.",
        "head": "Part of a layer. All heads of a layer work side by side, each with its own attention.",
        "attention": "How much each token takes from every token that it may read, itself included. A head gives each "
        "pair of tokens a weight from 0 to 1.",
        "query": "The token that looks: a row of the heatmap.",
        "key": "A token that is looked at: a column of the heatmap.",
        "attention sink": "In some models, an extra place in the softmax that belongs to no token: rows add up "
        "to less than 1. A first token that takes unused attention is also called a sink.",
        "attention rollout": "Multiplies the attention of several layers, each mixed with the token itself, to see "
        "how much of each input token could reach a token through all of them.",
        "residual connection": "What a layer computes is added to the token's hidden state instead of replacing it.",
        "LayerNorm": "Gives a hidden state mean 0 and standard deviation 1. Each number is then multiplied by a "
        "learned factor, and a learned offset is added.",
        "mixing ratio": "The share that comes from other tokens: the norm of what they give together, divided by that "
        "norm plus the norm of what the token gets from itself.",
        "hidden state": "The list of numbers that stands for one token at one point of the model.",
        "embeddings": "The tokens' hidden states before the first layer.",
        "PCA": "Principal component analysis. It finds the directions in which a set of points varies most.",
        "variance": "How far points are spread around their mean. PCA says how much of it each direction holds.",
        "norm": "The length of a hidden state: the square root of the sum of its squared numbers.",
        "cosine": "How closely two hidden states point the same way: 1 is the same direction, 0 a right angle, −1 the "
        "opposite direction.",
        "distance": "How far apart two hidden states are: the norm of their difference.",
        "probability": "How likely a token is, according to the model, from 0 to 100 %. The probabilities of the "
        "whole vocabulary add up to 100 %.",
        "rank": "A token's place when the vocabulary is sorted by probability. Rank 1 is the most likely token.",
        "surprisal": "How unexpected a token is: −ln of its probability, in nats. A token that the model is certain of "
        "has 0 nats; one with a probability of 50 % has 0.69 nats.",
        "prediction head": "The last part of a model. It turns a hidden state into a probability for every token.",
        "classification head": "The last part of a classifier. It turns hidden states into a logit for each label.",
        "logit": "A score before it is turned into a probability: any number; larger means more likely.",
        "mask": "A stand-in that hides a token from the model, which then predicts what belongs there.",
        "logit lens": "Feeds the hidden state after each layer to the prediction head, as if that layer were the last.",
        "final prediction": "The token that is most likely after the last layer.",
    }
)


def term(words: str, entry: str | None = None) -> html.Dfn:
    """Words whose meaning the page shows on hover and on focus (assets/components/glossary.js).

    Args:
        entry: the glossary's entry, if it differs from the words ("heads" is "head").

    Raises:
        ValueError: the glossary has no such entry.
    """
    name = words if entry is None else entry
    if name not in GLOSSARY:
        raise ValueError(f"The glossary has no “{name}”. Add it to GLOSSARY and to docs/glossary.md.")
    return html.Dfn(words, className="term", tabIndex=0, **attributes(data_term=name))
