from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.registry.auth import Authenticator, Challenge, Credentials, Fixed, parse_challenges, scope
from installml.registry.endpoint import Endpoint
from installml.registry.errors import HostUnknown, RealmRefused, ServerFailed, Unauthorized, UnexpectedAnswer
from installml.registry.http import HostSettings, Request, Response
from tests.unit.registry.canned import canned
from tests.unit.registry.serving import Answer, Asked, Time, client, name_everything, site

ANN = Credentials("ann", "pencil")
BASIC = "Basic " + base64.b64encode(b"ann:pencil").decode()
PULL = (scope("acme/x", "pull"),)


# -- challenges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a registry"', [("basic", {"realm": "a registry"})]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
            [("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}), ("basic", {"realm": "simple"})],
        ),
        ("Negotiate, Bearer realm=x", [("negotiate", {}), ("bearer", {"realm": "x"})]),
        ('Negotiate YWJj==, Basic REALM = "y"', [("negotiate", {}), ("basic", {"realm": "y"})]),
        ('  , ,Bearer   realm="a, b",\tservice=s', [("bearer", {"realm": "a, b", "service": "s"})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer realm="never ends', [("bearer", {})]),
        ('realm="of nobody"', []),
    ],
)
def test_challenges_are_read_as_rfc_9110_writes_them(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == tuple(Challenge(scheme, parameters) for scheme, parameters in expected)


token = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(token, st.dictionaries(token.map(str.lower), quoted, min_size=1, max_size=3)), max_size=3))
def test_what_is_written_as_challenges_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(f"{s} {', '.join(f'{k}={quote(v)}' for k, v in p.items())}" for s, p in challenges)
    assert parse_challenges(header) == tuple(Challenge(s.lower(), p) for s, p in challenges)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_no_header_breaks_the_reader(header: str) -> None:
    assert len(parse_challenges(header)) <= len(header)


def test_a_header_made_to_hurt_is_read_quickly() -> None:
    for piece in ("a ", 'a="', "a=b,", "\\", '"\\', ", ", "a" * 50):
        parse_challenges("Bearer " + piece * 100_000)


def test_credentials_never_show_their_secrets() -> None:
    secret = Credentials("ann", "pencil", "identity", "bearer")
    assert all(word not in repr(secret) for word in ("pencil", "identity", "bearer"))


# -- tokens -----------------------------------------------------------------------------------------------------


class Guarded:
    """A registry and its token server in one: counts tokens, refuses those that it has ended."""

    def __init__(self, **grant: object) -> None:
        self.grant: dict[str, object] = {"expires_in": 300, **grant}
        self.count = 0
        self.ended: set[str] = set()
        self.lock = threading.Lock()
        self.url = ""

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return self.token()
        shown = asked.authorization.removeprefix("Bearer ")
        if shown.startswith("t") and shown not in self.ended:
            return Answer(body=b"{}")
        challenge = f'Bearer realm="{self.url}/token",service="s",scope="repository:acme/x:pull"'
        return Answer(401, {"WWW-Authenticate": challenge})

    def token(self) -> Answer:
        with self.lock:
            self.count += 1
            return Answer(body=json.dumps({"token": f"t{self.count}", **self.grant}).encode())


def fetch(endpoint: Endpoint, *actions: str, name: str = "acme/x") -> int:
    response = endpoint.send("GET", f"/v2/{name}/tags/list", name, (scope(name, *(actions or ("pull",))),))
    response.drain()
    return response.status


def test_a_token_is_asked_for_once_per_scope_and_then_reused() -> None:
    guarded = Guarded()
    with site(guarded) as here:
        guarded.url = here.url
        endpoint = Endpoint(here.address, client(), Fixed(ANN))
        assert [fetch(endpoint) for _ in range(3)] == [200] * 3
        assert guarded.count == 1
        assert fetch(endpoint, "pull", "push") == 200
        assert guarded.count == 2
        asked = [a for a in here.asked if a.path.startswith("/token")]
        fields = [parse_qs(urlsplit(a.path).query) for a in asked]
        assert fields[0] == {"service": ["s"], "scope": ["repository:acme/x:pull"]}
        assert fields[1]["scope"] == ["repository:acme/x:pull,push"]
        assert {a.authorization for a in asked} == {BASIC}


def test_a_token_is_renewed_thirty_seconds_before_it_ends() -> None:
    guarded, time = Guarded(expires_in=100), Time()
    with site(guarded) as here:
        guarded.url = here.url
        endpoint = Endpoint(here.address, client(time=time), Fixed())
        fetch(endpoint)
        time.now += 69
        fetch(endpoint)
        assert guarded.count == 1
        time.now += 2
        fetch(endpoint)
        assert guarded.count == 2
        assert [a.authorization for a in here.asked if a.path.startswith("/v2/acme")][-1] == "Bearer t2"


def test_a_token_refused_before_its_time_is_replaced_once() -> None:
    guarded = Guarded()
    with site(guarded) as here:
        guarded.url = here.url
        endpoint = Endpoint(here.address, client(), Fixed())
        fetch(endpoint)
        guarded.ended = {"t1"}
        assert fetch(endpoint) == 200
        guarded.ended = {f"t{n}" for n in range(100)}
        before = guarded.count
        assert fetch(endpoint) == 401
        assert guarded.count == before + 1


def test_many_threads_ask_for_one_token_together() -> None:
    guarded = Guarded()
    with site(guarded) as here:
        guarded.url = here.url
        endpoint = Endpoint(here.address, client(), Fixed())
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda _: fetch(endpoint), range(16))) == [200] * 16
        assert guarded.count == 1


def test_scopes_of_resources_that_we_did_not_ask_about_are_not_collected() -> None:
    def registry(asked: Asked) -> Answer:
        if asked.path.startswith("/token"):
            return Answer(body=b'{"access_token": "t"}')
        if asked.authorization:
            return Answer()
        theirs = "repository:acme/x:pull,delete repository:acme/secret:pull registry:catalog:*"
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="{here.url}/token",scope="{theirs}"'})

    with site(registry) as here:
        assert fetch(Endpoint(here.address, client(), Fixed(ANN))) == 200
        query = next(urlsplit(a.path).query for a in here.asked if a.path.startswith("/token"))
        assert parse_qs(query) == {"scope": ["repository:acme/x:delete,pull"]}


def test_an_identity_token_goes_in_a_form_and_never_in_a_url() -> None:
    guarded = Guarded(token=None, access_token="t9")
    with site(guarded) as here:
        guarded.url = here.url
        assert fetch(Endpoint(here.address, client(), Fixed(Credentials(identity_token="r3fresh")))) == 200
        asked = next(a for a in here.asked if a.path.startswith("/token"))
        assert (asked.method, asked.path, asked.authorization) == ("POST", "/token", "")
        form = parse_qs(asked.body.decode())
        assert form["grant_type"] == ["refresh_token"]
        assert form["refresh_token"] == ["r3fresh"]
        assert form["scope"] == ["repository:acme/x:pull"]


def test_a_basic_only_registry_gets_the_credentials_and_anonymous_people_get_a_hint() -> None:
    def registry(asked: Asked) -> Answer:
        if asked.authorization == BASIC:
            return Answer(body=b"{}")
        return Answer(401, {"WWW-Authenticate": 'Basic realm="ECR"'})

    with site(registry) as here:
        endpoint = Endpoint(here.address, client(), Fixed(ANN))
        assert [fetch(endpoint), fetch(endpoint)] == [200, 200]
        shown = [a.authorization for a in here.asked if a.path.startswith("/v2/acme")]
        assert shown == ["", BASIC, BASIC]
        assert fetch(Endpoint(here.address, client(), Fixed())) == 401
        assert fetch(Endpoint(here.address, client(), Fixed(Credentials("ann", "wrong")))) == 401


def test_a_bearer_token_that_somebody_got_already_is_used_as_it_is() -> None:
    guarded = Guarded()
    with site(guarded) as here:
        guarded.url = here.url
        assert fetch(Endpoint(here.address, client(), Fixed(Credentials(registry_token="t-given")))) == 200
        assert guarded.count == 0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "a\\nb"}', b'{"token": ""}', b"not json"]
)
def test_a_token_server_that_sends_no_token_is_named(body: bytes) -> None:
    guarded = Guarded()
    guarded.token = lambda: Answer(body=body)  # type: ignore[method-assign]
    with site(guarded) as here:
        guarded.url = here.url
        with pytest.raises(UnexpectedAnswer, match="token"):
            fetch(Endpoint(here.address, client(), Fixed()))


def test_wrong_credentials_say_where_to_log_in_and_repeat_no_password() -> None:
    guarded = Guarded()
    guarded.token = lambda: Answer(401, body=b'{"errors":[{"code":"UNAUTHORIZED","message":"go away"}]}')  # type: ignore[method-assign]
    with site(guarded) as here:
        guarded.url = here.url
        with pytest.raises(Unauthorized) as raised:
            fetch(Endpoint(here.address, client(), Fixed(ANN)))
    assert "ann" in raised.value.message
    assert "pencil" not in raised.value.message + raised.value.hint + raised.value.detail
    assert raised.value.hint == f"Log in with: installml login {here.address}"
    assert raised.value.codes == ("UNAUTHORIZED",)


def test_a_token_server_that_is_ill_is_a_server_failure() -> None:
    guarded = Guarded()
    guarded.token = lambda: Answer(500)  # type: ignore[method-assign]
    with site(guarded) as here:
        guarded.url = here.url
        with pytest.raises(ServerFailed):
            fetch(Endpoint(here.address, client(), Fixed(ANN)))


# -- realms -----------------------------------------------------------------------------------------------------

ADDRESSES = {
    "registry.example.com": ["8.8.8.8"],
    "auth.example.com": ["8.8.4.4"],
    "inside.example.com": ["10.0.0.5"],
    "metadata.example.com": ["169.254.169.254"],
    "both.example.com": ["8.8.4.4", "127.0.0.1"],
    "auth.elsewhere.net": ["8.8.4.4"],
    "inside.elsewhere.net": ["10.0.0.5"],
    "harbor.corp.example": ["10.0.0.6"],
    "keycloak.corp.example": ["10.0.0.7"],
    "loop.corp.example": ["127.0.0.1"],
}


def look_up(host: str, port: int) -> list[str]:
    if host not in ADDRESSES:
        raise OSError("no such host")
    return ADDRESSES[host]


def ask(registry: str, realm: str, credentials: Credentials | None, token_hosts: tuple[str, ...] = ()) -> str:
    """Let a registry challenge with a realm and return the Authorization that comes of it."""
    auth = Authenticator(
        urlsplit(registry).netloc,
        registry,
        client(),
        HostSettings(token_hosts=token_hosts),
        Fixed(credentials),
        resolve=look_up,
    )
    with canned() as mocked:
        mocked.get("https://asked.invalid", status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})
        mocked.get(realm.partition("#")[0], json={"token": "t"})
        challenged: Response = client().send(Request("GET", "https://asked.invalid"))
        return auth.renewed(challenged, "acme/x", PULL, "")


PUBLIC, PRIVATE = "https://registry.example.com", "https://harbor.corp.example"


@pytest.mark.parametrize("credentials", [ANN, None])
@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        (PUBLIC, "https://registry.example.com/token"),
        (PUBLIC, "https://registry.example.com:8443/token"),
        (PUBLIC, "https://auth.example.com/token"),
        (PRIVATE, "https://keycloak.corp.example/token"),
        ("http://harbor.corp.example", "http://keycloak.corp.example/token"),
    ],
)
def test_a_realm_of_the_registrys_own_site_is_asked(registry: str, realm: str, credentials: Credentials | None) -> None:
    assert ask(registry, realm, credentials) == "Bearer t"


@pytest.mark.parametrize("credentials", [ANN, None])
@pytest.mark.parametrize(
    ("registry", "realm", "reason"),
    [
        (PUBLIC, "http://registry.example.com/token", "not encrypted"),
        (PUBLIC, "https://ann:pencil@registry.example.com/token", "no address to call"),
        (PUBLIC, "ftp://registry.example.com/token", "no address to call"),
        (PUBLIC, "/token", "no address to call"),
        (PUBLIC, "https://inside.example.com/token", "private address"),
        (PUBLIC, "https://metadata.example.com/token", "link-local address"),
        (PUBLIC, "https://both.example.com/token", "loopback address"),
        (PRIVATE, "https://loop.corp.example/token", "loopback address"),
    ],
)
def test_a_realm_that_must_not_be_asked_is_refused(
    registry: str, realm: str, reason: str, credentials: Credentials | None
) -> None:
    with pytest.raises(RealmRefused, match=reason) as raised:
        ask(registry, realm, credentials)
    assert "pencil" not in raised.value.message


def test_a_foreign_realm_never_gets_credentials_but_may_be_asked_anonymously() -> None:
    realm = "https://auth.elsewhere.net/token"
    with pytest.raises(RealmRefused, match=r"not of its own site: auth\.elsewhere\.net") as raised:
        ask(PUBLIC, realm, ANN)
    assert "token_hosts" in raised.value.hint
    assert ask(PUBLIC, realm, None) == "Bearer t"
    with pytest.raises(RealmRefused, match="private address"):
        ask(PUBLIC, "https://inside.elsewhere.net/token", None)


def test_a_token_host_that_somebody_configured_is_trusted() -> None:
    for realm in ("https://auth.elsewhere.net/token", "https://inside.elsewhere.net/token"):
        assert ask(PUBLIC, realm, ANN, token_hosts=("auth.elsewhere.net", "inside.elsewhere.net")) == "Bearer t"


def test_a_realm_without_an_address_is_said_so() -> None:
    with pytest.raises(HostUnknown, match=r"nowhere\.example\.com"):
        ask(PUBLIC, "https://nowhere.example.com/token", None)


@pytest.mark.parametrize("credentials", [ANN, Credentials(identity_token="r3fresh")])
def test_a_spoofed_realm_catches_nothing(monkeypatch: pytest.MonkeyPatch, credentials: Credentials) -> None:
    """Real sockets: a registry names a stranger as its token server, and the stranger listens."""
    name_everything(monkeypatch, "127.0.0.1")
    with site(lambda _: Answer(body=b'{"token": "t"}')) as stranger:
        realm = stranger.url.replace("127.0.0.1", "stranger.example")

        def registry(asked: Asked) -> Answer:
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}/token",service="s"'})

        with site(registry) as here:
            host = here.address.replace("127.0.0.1", "registry.acme.example")
            door = client(settings={host: HostSettings(insecure=True)})
            with pytest.raises(RealmRefused):
                fetch(Endpoint(host, door, Fixed(credentials)))
            assert stranger.asked == []
            fetch(Endpoint(host, door, Fixed()))
            assert [(a.method, a.authorization, a.body) for a in stranger.asked] == [("GET", "", b"")]


def test_a_challenge_from_behind_a_redirect_is_not_the_registrys() -> None:
    with site(lambda _: Answer(401, {"WWW-Authenticate": "Basic"})) as storage:

        def registry(asked: Asked) -> Answer:
            return Answer(body=b"{}") if asked.path == "/v2/" else Answer(307, {"Location": f"{storage.url}/blob"})

        with site(registry) as here:
            assert fetch(Endpoint(here.address, client(), Fixed(ANN))) == 401
            assert {a.authorization for a in (*here.asked, *storage.asked)} == {""}


def test_a_token_servers_redirect_to_a_stranger_carries_no_credentials() -> None:
    with site(lambda _: Answer(body=b'{"token": "t"}')) as stranger:

        def registry(asked: Asked) -> Answer:
            if asked.path.startswith("/token"):
                return Answer(302, {"Location": f"{stranger.url}/token"})
            if asked.authorization == "Bearer t":
                return Answer(body=b"{}")
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="{here.url}/token"'})

        with site(registry) as here:
            fetch(Endpoint(here.address, client(), Fixed(ANN)))
        assert [a.authorization for a in stranger.asked] == [""]


def test_an_identity_token_is_not_carried_by_a_redirect() -> None:
    with site(lambda _: Answer(body=b'{"access_token": "t"}')) as stranger:

        def registry(asked: Asked) -> Answer:
            if asked.path.startswith("/token"):
                return Answer(307, {"Location": f"{stranger.url}/token"})
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="{here.url}/token"'})

        with site(registry) as here, pytest.raises(UnexpectedAnswer):
            fetch(Endpoint(here.address, client(), Fixed(Credentials(identity_token="r3fresh"))))
        assert stranger.asked == []


# -- http or https ----------------------------------------------------------------------------------------------


def test_loopback_speaks_plain_http_without_being_told() -> None:
    with site(lambda _: Answer(body=b"{}")) as here:
        assert Endpoint(here.address, client(), Fixed()).base == here.url


def test_loopback_that_speaks_tls_is_found_out(tls_site: Callable[[], object]) -> None:
    """See conftest: the certificate's authority is trusted for every host, so only the scheme is to be found."""
    with tls_site() as (here, door):  # type: ignore[attr-defined]
        assert Endpoint(here.address, door, Fixed()).base == here.url


def test_a_remote_host_is_https_unless_it_is_set_insecure() -> None:
    assert Endpoint("registry.invalid", client(), Fixed()).base == "https://registry.invalid"
    with canned() as mocked:
        mocked.get("http://registry.invalid/v2/", json={})
        mocked.fail("https://registry.invalid/v2/", ConnectionRefusedError())
        insecure = {"registry.invalid": HostSettings(insecure=True)}
        assert Endpoint("registry.invalid", client(settings=insecure), Fixed()).base == "http://registry.invalid"
    with canned() as mocked:
        mocked.get("https://registry.invalid/v2/", json={})
        assert Endpoint("registry.invalid", client(settings=insecure), Fixed()).base == "https://registry.invalid"
