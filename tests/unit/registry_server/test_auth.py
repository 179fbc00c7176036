"""Who may do what, seen from the wire: Basic, Bearer, and reading without a password."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import bcrypt
import pytest

from installml.registry_server import start
from installml.registry_server.auth import TokenInvalid, Tokens
from tests.contract.registry_protocol.place import Answer, Wire, digest_of, expect

ABSENT = f"/v2/acme/one/blobs/{digest_of(b'absent')}"
UPLOADS = "/v2/acme/one/blobs/uploads/"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


ANN = basic("ann", "pencil")


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"ann:{bcrypt.hashpw(b'pencil', bcrypt.gensalt(4)).decode()}\n")
    return path


@pytest.fixture(params=[False, True], ids=["closed", "open to read"])
def basic_wire(request: pytest.FixtureRequest, htpasswd: Path) -> Iterator[tuple[Wire, bool]]:
    with start(htpasswd=htpasswd, anonymous_pull=request.param) as registry:
        yield Wire(registry.url), request.param


@pytest.fixture
def token_wire(htpasswd: Path) -> Iterator[Wire]:
    with start(htpasswd=htpasswd, token=True) as registry:
        yield Wire(registry.url)


def challenge(answer: Answer) -> dict[str, str]:
    header = expect(answer, 401).headers["www-authenticate"]
    assert header.startswith("Bearer ")
    return dict(re.findall(r'(\w+)="([^"]*)"', header))


def token(wire: Wire, scope: str, headers: dict[str, str] | None = None) -> str:
    answer = expect(wire.ask("GET", f"/token?service=installml-registry&scope={quote(scope)}", headers=headers), 200)
    return answer.json()["token"]


# --- Basic ---


def test_without_a_password_there_is_a_challenge_and_the_code(basic_wire: tuple[Wire, bool]) -> None:
    answer = expect(basic_wire[0].ask("POST", UPLOADS, b""), 401)
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert answer.codes() == ["UNAUTHORIZED"]


def test_with_the_password_everything_is_allowed(basic_wire: tuple[Wire, bool]) -> None:
    wire = basic_wire[0]
    expect(wire.ask("GET", "/v2/", headers=ANN), 200)
    expect(wire.ask("POST", UPLOADS, b"", ANN), 202)
    expect(wire.ask("GET", ABSENT, headers=ANN), 404)
    expect(wire.ask("DELETE", ABSENT, headers=ANN), 404)
    expect(wire.ask("GET", "/v2/_catalog", headers=ANN), 200)


def test_reading_without_a_password_is_allowed_only_if_said(basic_wire: tuple[Wire, bool]) -> None:
    wire, is_open = basic_wire
    expect(wire.ask("GET", ABSENT), 404 if is_open else 401)
    expect(wire.ask("DELETE", ABSENT), 401)
    expect(wire.ask("GET", "/v2/_catalog"), 401)
    expect(wire.ask("GET", "/v2/"), 401)  # a client that logs in learns here that it can


@pytest.mark.parametrize(
    "header",
    [
        basic("ann", "rubber"),
        basic("bob", "pencil"),
        {"Authorization": "Basic ann:pencil"},
        {"Authorization": "Basic " + base64.b64encode(b"ann").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:").decode()},
        {"Authorization": "Bearer pencil"},
        {"Authorization": "Basic"},
    ],
)
def test_wrong_credentials_are_refused_even_where_none_are_needed(
    basic_wire: tuple[Wire, bool], header: dict[str, str]
) -> None:
    expect(basic_wire[0].ask("GET", ABSENT, headers=header), 401)


def test_nothing_is_written_before_the_password_is_checked(htpasswd: Path, tmp_path: Path) -> None:
    with start(tmp_path / "registry", htpasswd=htpasswd) as registry:
        wire = Wire(registry.url)
        expect(wire.ask("POST", f"{UPLOADS}?digest={digest_of(b'x')}", b"x"), 401)
        expect(wire.ask("PUT", "/v2/acme/one/manifests/v1", b"{}"), 401)
    assert not (tmp_path / "registry" / "repositories").exists()


# --- Bearer ---


def test_the_challenge_names_realm_service_and_the_scope_that_is_missing(token_wire: Wire) -> None:
    found = challenge(token_wire.ask("POST", UPLOADS, b""))
    assert found == {
        "realm": f"{token_wire.url}/token",
        "service": "installml-registry",
        "scope": "repository:acme/one:pull,push",
    }
    assert "scope" not in challenge(token_wire.ask("GET", "/v2/"))


def test_a_token_for_the_scope_opens_it_and_nothing_else(token_wire: Wire) -> None:
    granted = bearer(token(token_wire, challenge(token_wire.ask("POST", UPLOADS, b""))["scope"], ANN))
    expect(token_wire.ask("POST", UPLOADS, b"", granted), 202)
    expect(token_wire.ask("GET", ABSENT, headers=granted), 404)
    found = challenge(token_wire.ask("DELETE", ABSENT, headers=granted))
    assert (found["error"], found["scope"]) == ("insufficient_scope", "repository:acme/one:delete")
    challenge(token_wire.ask("GET", ABSENT.replace("one", "two"), headers=granted))


def test_a_mount_needs_the_right_to_read_its_source(token_wire: Wire) -> None:
    mount = f"{UPLOADS}?mount={digest_of(b'x')}&from=acme/two"
    narrow = bearer(token(token_wire, "repository:acme/one:pull,push", ANN))
    found = challenge(token_wire.ask("POST", mount, b"", narrow))
    assert found["scope"] == "repository:acme/one:pull,push repository:acme/two:pull"
    wide = bearer(token(token_wire, found["scope"], ANN))
    expect(token_wire.ask("POST", mount, b"", wide), 202)


def test_a_token_without_scope_proves_the_login_only(token_wire: Wire) -> None:
    bare = bearer(expect(token_wire.ask("GET", "/token", headers=ANN), 200).json()["token"])
    expect(token_wire.ask("GET", "/v2/", headers=bare), 200)
    challenge(token_wire.ask("GET", ABSENT, headers=bare))


def test_wrong_credentials_get_no_token(token_wire: Wire) -> None:
    for headers in (basic("ann", "rubber"), {"Authorization": "Bearer x"}, {}):
        answer = expect(token_wire.ask("GET", "/token?scope=repository:acme/one:pull", headers=headers), 401)
        assert answer.headers["www-authenticate"].startswith("Basic ")


def test_tokens_are_asked_for_with_get(token_wire: Wire) -> None:
    assert expect(token_wire.ask("POST", "/token", b""), 405).headers["allow"] == "GET"


def test_passwords_are_not_taken_in_a_tokens_place(token_wire: Wire) -> None:
    challenge(token_wire.ask("GET", ABSENT, headers=ANN))


def test_whoever_has_no_password_gets_a_token_to_read_if_that_is_open(htpasswd: Path) -> None:
    with start(htpasswd=htpasswd, token=True, anonymous_pull=True) as registry:
        wire = Wire(registry.url)
        granted = bearer(token(wire, "repository:acme/one:pull,push,delete"))
        expect(wire.ask("GET", ABSENT, headers=granted), 404)
        challenge(wire.ask("POST", UPLOADS, b"", granted))


def test_without_a_password_file_everybody_gets_every_token() -> None:
    with start(token=True) as registry:
        wire = Wire(registry.url)
        challenge(wire.ask("POST", UPLOADS, b""))
        expect(wire.ask("POST", UPLOADS, b"", bearer(token(wire, "repository:acme/one:pull,push"))), 202)


def test_the_realm_is_not_made_of_a_forged_host(token_wire: Wire) -> None:
    found = challenge(token_wire.ask("GET", "/v2/", headers={"Host": 'evil" onload="x'}))
    assert urlsplit(found["realm"]).netloc == urlsplit(token_wire.url).netloc


@pytest.mark.parametrize("scope", ["repository:UPPER:pull", "repository:a/../b:pull", "registry:other:*", "a:b", ""])
def test_a_malformed_scope_grants_nothing(token_wire: Wire, scope: str) -> None:
    granted = token(token_wire, scope, ANN)
    claims = json.loads(base64.urlsafe_b64decode(granted.split(".")[1] + "=="))
    assert claims["access"] == []


# --- tokens by themselves ---


def test_a_token_is_good_until_it_expires() -> None:
    now = [1000.0]
    tokens = Tokens(seconds=300, now=lambda: now[0])
    issued = tokens.issue("ann", [("repository", "acme/one", "pull")])
    now[0] = 1299.0
    assert tokens.read(issued) == {("repository", "acme/one", "pull")}
    now[0] = 1300.0
    with pytest.raises(TokenInvalid, match="expired"):
        tokens.read(issued)


def test_a_token_of_another_registry_is_refused() -> None:
    issued = Tokens().issue("ann", [])
    with pytest.raises(TokenInvalid, match="not issued here"):
        Tokens().read(issued)


@pytest.mark.parametrize("damage", ["", "a.b.c", "..", "é.é.é"])
def test_what_is_no_token_is_refused(damage: str) -> None:
    with pytest.raises(TokenInvalid):
        Tokens().read(damage)


def test_a_token_that_claims_more_than_was_sealed_is_refused() -> None:
    tokens = Tokens()
    header, _, seal = tokens.issue("ann", []).split(".")
    claims = json.dumps({"exp": 10**12, "access": [{"type": "repository", "name": "a", "actions": ["push"]}]})
    forged = base64.urlsafe_b64encode(claims.encode()).rstrip(b"=").decode()
    with pytest.raises(TokenInvalid, match="not issued here"):
        tokens.read(f"{header}.{forged}.{seal}")
