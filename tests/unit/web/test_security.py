"""Which hosts the server answers for, and whose changes it takes."""

from __future__ import annotations

import pytest

from dashboard.web.security import answers_for, from_own_page, host_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("A.Example:80", "a.example"),
        ("[::1]:8050", "::1"),
        ("localhost.", "localhost"),
        ("", ""),
        ("[x", ""),
        ("a.example", "a.example"),
    ],
)
def test_the_name_of_a_host_header(raw: str, name: str) -> None:
    assert host_name(raw) == name


@pytest.mark.parametrize(
    "raw", ["localhost:8050", "127.0.0.1", "127.9.9.9:1", "[::1]:8050", "page.localhost", "LOCALHOST", "box:8050"]
)
@pytest.mark.parametrize("allowed", [None, "", "dash.example"])
def test_this_machines_names_and_its_own_are_answered(raw: str, allowed: str | None) -> None:
    assert answers_for(raw, "127.0.0.1", "box", allowed)


@pytest.mark.parametrize(
    "raw", ["evil.example", "evil.example:8050", "localhost.evil.example", "127.0.0.1.evil.example", "", "192.168.1.5"]
)
def test_a_server_of_this_machine_alone_answers_for_nothing_else(raw: str) -> None:
    assert not answers_for(raw, "127.0.0.1", "127.0.0.1", None)
    assert not answers_for(raw, "::1", "::1", None)


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "192.168.1.5", "", "run/page.sock"])
def test_a_server_that_others_reach_answers_for_any_unless_it_is_told(bound: str) -> None:
    assert answers_for("dash.team.example", bound, "127.0.0.1", None)
    assert not answers_for("evil.example", bound, "0.0.0.0", "dash.team.example")


@pytest.mark.parametrize(
    ("allowed", "raw", "answered"),
    [
        ("dash.example", "dash.example:443", True),
        ("dash.example", "other.dash.example", False),
        (" a.example , *.lab.example", "x.lab.example", True),
        ("*.lab.example", "lab.example", False),
        ("*.lab.example", "evillab.example", False),
        ("Dash.Example:8050", "dash.example", True),
        ("*", "evil.example", True),
    ],
)
def test_names_that_are_told(allowed: str, raw: str, answered: bool) -> None:
    assert answers_for(raw, "127.0.0.1", "127.0.0.1", allowed) is answered


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://page.example:8050"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://page.example:8050"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "http://page.example:8050"}, True),
        ({"Origin": "http://page.example:8051"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://dash.example", "X-Forwarded-Host": "dash.example"}, True),
        ({}, True),
    ],
)
def test_changes_come_from_the_servers_own_pages(headers: dict[str, str], own: bool) -> None:
    assert from_own_page(headers, "page.example:8050") is own
