"""A tokenizer for SMILES formulas, so that a chemical model needs no special case anywhere else."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

# Atom-wise pieces of a (reaction) SMILES as published with the Molecular Transformer (Schwaller et al., ACS Cent. Sci.
# 2019) and RXNMapper (Schwaller et al., Sci. Adv. 2021): bracket atoms, organic-subset atoms, bonds, branches, ring
# numbers, arrows.
ATOM_WISE = r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9]"


def smiles_tokenizer(vocabulary: list[str]) -> Tokenizer:
    """Build a tokenizer that gives [CLS] pieces [SEP], drops white space, and makes each unmatched character an [UNK].

    Args:
        vocabulary: the pieces in the order of their ids.
    """
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), behavior="removed"),
            pre_tokenizers.Split(Regex(ATOM_WISE + r"|."), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Fuse()  # pieces are joined without spaces
    cls, sep = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    return tokenizer
