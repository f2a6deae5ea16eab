"""Who gets an answer from a dashboard, and who does not."""

from __future__ import annotations

import pytest

from dni_async.addresses import host_of
from dni_async.launcher.dashboard.guard import Door

HERE = Door.at("127.0.0.1", 8000)
WIDE = Door("0.0.0.0", 8000, "secret")
OWN = {"host": "127.0.0.1:8000"}


def test_a_token_is_asked_for_beyond_loopback_alone() -> None:
    assert (HERE.token, Door.at("localhost", 1).token, Door.at("::1", 1).token) == (None,) * 3
    tokens = {Door.at(host, 1).token for host in ("0.0.0.0", "10.0.0.1", "::", "a.name")}
    assert len(tokens) == 4
    assert all(token is not None and len(token) >= 32 for token in tokens)


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("127.0.0.1:8000", True),
        ("localhost:9000", True),  # by a tunnel from another port
        ("[::1]:8000", True),
        ("LOCALHOST", True),
        ("evil.example:8000", False),  # a name that was made to lead here
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_on_loopback_the_host_must_be_this_one(host: str, is_answered: bool) -> None:
    refused = HERE.refusal("GET", {"host": host}, "/")
    assert (refused is None) == is_answered
    assert is_answered or (refused is not None and refused[0] == 403)
    assert HERE.refusal("GET", {}, "/") is not None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "get"])
def test_nothing_but_get_is_answered(method: str) -> None:
    refused = HERE.refusal(method, OWN, "/")
    assert refused is not None
    assert refused[0] == 405


@pytest.mark.parametrize(
    ("site", "path", "is_answered"),
    [
        ("same-origin", "/api/site", True),
        ("none", "/api/site", True),
        ("cross-site", "/api/live/stack/0", False),
        ("same-site", "/api/site", False),
        ("cross-site", "/", True),  # a link that leads here
    ],
)
def test_other_sites_get_nothing_out_of_a_browser(site: str, path: str, is_answered: bool) -> None:
    refused = HERE.refusal("GET", OWN | {"sec-fetch-site": site}, path)
    assert (refused is None) == is_answered


@pytest.mark.parametrize(
    ("cookie", "is_answered"),
    [
        ("dni-dashboard-8000=secret", True),
        ("other=1; dni-dashboard-8000=secret", True),
        ("dni-dashboard-8000=wrong", False),
        ("dni-dashboard-9000=secret", False),
        ("\x00", False),
        ("", False),
    ],
)
def test_beyond_loopback_who_asks_must_know_the_token(cookie: str, is_answered: bool) -> None:
    refused = WIDE.refusal("GET", {"host": "any.name", "cookie": cookie}, "/api/site")
    assert (refused is None) == is_answered
    assert is_answered or (refused is not None and refused[0] == 401)
    assert WIDE.knows("secret")
    assert not WIDE.knows("\udcff")
    assert not HERE.knows("")


def test_the_host_is_read_without_its_port() -> None:
    assert [host_of(h) for h in ("a:1", "A", "[::1]:2", "")] == ["a", "a", "::1", ""]
