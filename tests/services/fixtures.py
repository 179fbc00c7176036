"""Fixtures over `tools.py`. A conftest takes the ones it wants by importing them:

    from tests.services.fixtures import htpasswd, private_ca, registry, server_tls, token_auth  # noqa: F401

Everything is made for one test and gone after it; a registry is up in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services.tools import SERVERS, TLS, Authority, Server, TokenAuth, User, issue, make_ca


@dataclass(frozen=True, slots=True)
class Htpasswd:
    """A password file as registries read it, and what is in it."""

    path: Path
    user: str
    password: str


@pytest.fixture
def private_ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate authority that nothing trusts."""
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server_tls(private_ca: Authority, tmp_path_factory: pytest.TempPathFactory) -> TLS:
    """Issue a certificate for 127.0.0.1."""
    return issue(private_ca, "127.0.0.1", tmp_path_factory.mktemp("tls"))


@pytest.fixture
def token_auth() -> Iterator[TokenAuth]:
    """Run a token server: `ann` (`pencil`) may do everything, `bob` (`rubber`) may pull."""
    with TokenAuth({"ann": User("pencil"), "bob": User("rubber", frozenset({"pull"}))}) as auth:
        yield auth


@pytest.fixture
def htpasswd(tmp_path: Path) -> Htpasswd:
    """Write a password file with one user; registries take bcrypt only."""
    path = tmp_path / "htpasswd"
    path.write_text("cat:$2y$05$installmlinstallmltes.S2b9TSJmV04zka9ljokmgTi92Mk7Og6\n")
    return Htpasswd(path, "cat", "open sesame")


@pytest.fixture(params=list(SERVERS))
def registry(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Run each registry in turn, without TLS and without authentication."""
    with SERVERS[request.param]() as server:
        yield server
