"""What the page knows of a model before it runs: the most tokens of a text, and why."""

from __future__ import annotations

from dataclasses import replace

from dashboard.catalog.model_card import ModelCard
from dashboard.settings import Settings
from dashboard.web.model_picker import facts_of

CARD = ModelCard("x", "Mine", "causal", layers=12, heads=12, limit=2048, here=True)


def test_a_model_whose_weights_are_stored_takes_what_fits() -> None:
    found = facts_of(replace(CARD, stores_weights=True), Settings())
    assert found["limit"] == 510
    assert found["limited_by"] == (
        "Mine has its own attention code, so a run stores all of its weights: at most 150 MB "
        "(DASHBOARD_WEIGHTS_MEGABYTES)."
    )
    roomy = facts_of(replace(CARD, stores_weights=True), Settings(weights_megabytes=600))
    assert roomy["limit"] == 1020


def test_its_own_limit_and_the_servers_come_first_where_they_are_smaller() -> None:
    for card, settings, limit in (
        (replace(CARD, stores_weights=True, limit=512), Settings(weights_megabytes=1000), 512),
        (replace(CARD, stores_weights=True), Settings(max_tokens=256), 256),
        (CARD, Settings(), 2048),
        (replace(CARD, stores_weights=True, layers=0), Settings(), 2048),  # sizes are not known before the download
    ):
        found = facts_of(card, settings)
        assert found["limit"] == limit
        assert "limited_by" not in found
