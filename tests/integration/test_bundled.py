"""The bundled models are the published ones: sizes, weights, predictions, and a published attention head."""

from __future__ import annotations

import pytest
import torch

from dashboard.capture.loader import LoadedModel
from dashboard.capture.tokens import tokenize
from dashboard.catalog.bundled import BUNDLED, WHEELS
from dashboard.catalog.catalog import Catalog
from dashboard.catalog.model_card import ModelCard
from dashboard.contracts.request import ModelRequest
from dashboard.settings import Settings
from tests.support.bundled_models import bundled_model

pytestmark = pytest.mark.integration
REACTION = "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F"


@pytest.fixture(scope="module")
def smollm() -> LoadedModel:
    return bundled_model("smollm2-135m")


@pytest.fixture(scope="module")
def rxnmapper() -> LoadedModel:
    return bundled_model("rxnmapper")


@pytest.mark.parametrize("spec", BUNDLED, ids=lambda spec: spec.name)
def test_the_catalog_says_what_the_model_is(spec: ModelCard) -> None:
    loaded = bundled_model(spec.name)
    info = loaded.info
    said = (spec.name, spec.title, spec.kind, spec.layers, spec.heads, spec.parameters, spec.limit)
    assert (info.name, info.title, info.kind, info.layers, info.heads, info.parameters, info.limit) == said
    assert loaded.fingerprint == Catalog(Settings.from_env()).fingerprint(ModelRequest(spec.name))
    assert loaded.source == f"package {WHEELS[spec.name].package} {WHEELS[spec.name].version}"
    assert not loaded.model.training
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert (
        loaded.model.get_input_embeddings().num_embeddings
        == info.vocabulary
        == spec.vocabulary
        >= len(loaded.tokenizer)
    )


def test_each_carries_its_licence() -> None:
    for spec in BUNDLED:
        licence = Settings.from_env().models_folder / spec.name / "LICENSE"
        assert any(word in licence.read_text() for word in ("Apache License", "MIT", "Permission is hereby granted"))


def test_smollm_predicts_what_the_file_it_came_from_predicts(smollm: LoadedModel) -> None:
    """0.9229 and 0.0216 are of the GGUF file as transformers itself reads it; its logits were equal to these, bit for
    bit."""
    inputs, tokens = tokenize(smollm.tokenizer, "When Mary and John went to the store, John gave a drink to")
    assert tokens[0].text == "When"  # no token is put before the text
    probabilities = smollm.model(**inputs).logits[0, -1].softmax(-1)
    top = probabilities.topk(2)
    assert [smollm.tokenizer.decode([i]) for i in top.indices.tolist()] == [" Mary", " the"]
    assert top.values.tolist() == pytest.approx([0.9229, 0.0216], abs=1e-4)


def test_smollm_shares_its_head_with_its_embedding(smollm: LoadedModel) -> None:
    model = smollm.model
    assert model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert (smollm.info.key_heads, smollm.info.hidden_size) == (3, 576)


def test_minilm_finds_the_nearer_sentence() -> None:
    """Mean-pooled and compared by cosine, as all-MiniLM-L6-v2 is meant to be used."""
    loaded = bundled_model("minilm-l6")

    def embed(text: str) -> torch.Tensor:
        inputs, _ = tokenize(loaded.tokenizer, text)
        return loaded.model(**inputs).last_hidden_state[0].mean(0)

    cosine = torch.nn.functional.cosine_similarity
    cat = embed("A cat sits on the mat.")
    near, far = (
        cosine(cat, embed("A kitten is on the rug."), dim=0),
        cosine(cat, embed("Interest rates rose again."), dim=0),
    )
    assert near > 0.5 > 0.2 > far


def test_rxnmapper_fills_53_of_54_masked_tokens(rxnmapper: LoadedModel) -> None:
    inputs, tokens = tokenize(rxnmapper.tokenizer, REACTION)
    inside = [i for i, token in enumerate(tokens) if not token.special]
    assert len(inside) == 54
    batch = inputs["input_ids"].repeat(len(inside), 1)
    rows = torch.arange(len(inside))
    batch[rows, inside] = rxnmapper.tokenizer.mask_token_id
    guesses = rxnmapper.model(batch).logits[rows, inside].argmax(-1)
    assert int((guesses == inputs["input_ids"][0, inside]).sum()) == 53


def test_rxnmapper_head_10_5_looks_from_product_to_reactant(rxnmapper: LoadedModel) -> None:
    """The atom-mapping head of Schwaller et al. 2021: the product's sulphur reads the reactant's."""
    loaded = bundled_model("rxnmapper")
    inputs, tokens = tokenize(loaded.tokenizer, REACTION)
    loaded.model.set_attn_implementation("eager")
    weights = loaded.model(**inputs, output_attentions=True).attentions[10][0, 5]
    assert (tokens[45].text, tokens[6].text) == ("S", "S")
    assert int(weights[45].argmax()) == 6
    assert float(weights[45, 6]) == pytest.approx(0.920, abs=5e-4)


def test_rxnmapper_pieces_join_without_spaces(rxnmapper: LoadedModel) -> None:
    inputs, _ = tokenize(rxnmapper.tokenizer, REACTION)
    assert rxnmapper.tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == REACTION
