"""The registries, clients, certificates and token server that the other integration tests stand on."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services import tools
from tests.services.fixtures import (  # noqa: F401 (fixtures are found by name)
    Htpasswd,
    htpasswd,
    private_ca,
    registry,
    server_tls,
    token_auth,
)
from tests.services.tools import TLS, Server, TokenAuth, User

pytestmark = pytest.mark.integration

PROVISION = Path(tools.__file__).with_name("provision.py")
VERSION_COMMANDS = {
    "crane": ["version"],
    "modctl": ["version"],
    "model-signing": ["-m", "model_signing", "--version"],
    "oras": ["version"],
    "oras-py": ["-c", "import oras; print(oras.__version__)"],
    "regctl": ["version"],
    "skopeo": ["--version"],
}


@pytest.fixture(params=list(tools.GUARDED))
def start(request: pytest.FixtureRequest) -> tools.Starter:
    """Each registry that can do TLS and authentication, not started yet."""
    return tools.GUARDED[request.param]


@pytest.fixture
def crane(tmp_path: Path) -> Crane:
    return Crane(tools.need("crane"), tmp_path)


class Crane:
    """crane with a configuration folder of its own, so that nobody's credentials are read."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_CONFIG": str(folder)}

    def trusts(self, ca: Path) -> None:
        self._environment["SSL_CERT_FILE"] = str(ca)

    def knows(self, server: Server, entry: Mapping[str, str]) -> None:
        (self._folder / "config.json").write_text(json.dumps({"auths": {server.address: entry}}))

    def has_password(self, server: Server, user: str, password: str) -> None:
        self.knows(server, {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()})

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._program), *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120, check=False)

    def run(self, *arguments: str) -> str:
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pushing(self, reference: str) -> list[str]:
        layer = self._folder / "layer.tar"
        with tarfile.open(layer, "w") as archive:
            archive.add(__file__, arcname="file")
        return ["append", "--new_layer", str(layer), "--new_tag", reference]


def ask(url: str, ca: Path | None = None, data: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
    """Return status, challenge and JSON of one request."""
    context = ssl.create_default_context(cafile=ca) if ca else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        answer = opener.open(urllib.request.Request(url, data=data, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers.get("WWW-Authenticate", ""), json.loads(answer.read() or b"null")


def access(token: str) -> list[Any]:
    payload = token.split(".")[1]
    return list(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["access"])


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# --- registries ---------------------------------------------------------------------------------------------------


def test_each_registry_answers_the_version_check(registry: Server) -> None:  # noqa: F811
    assert ask(f"{registry.url}/v2/")[0] == 200
    assert registry.version[0].isdigit()


def test_each_registry_takes_a_push_and_lists_it(registry: Server, crane: Crane) -> None:  # noqa: F811
    crane.run(*crane.pushing(f"{registry.address}/team/model:v1"))
    assert crane.run("ls", f"{registry.address}/team/model").split() == ["v1"]
    assert crane.run("catalog", registry.address).split() == ["team/model"]
    crane.run("validate", "--remote", f"{registry.address}/team/model:v1")


def test_the_log_of_each_registry_tells_the_requests_but_not_our_own_polling(
    registry: Server,  # noqa: F811
    crane: Crane,
) -> None:
    assert registry.requests() == ()
    crane.run(*crane.pushing(f"{registry.address}/team/model:v1"))
    assert ask(f"{registry.url}/v2/team/model/manifests/nothing")[0] == 404
    told = registry.requests()
    assert any(each.method == "PUT" and each.target == "/v2/team/model/manifests/v1" for each in told)
    assert told[-1] == tools.Logged("GET", "/v2/team/model/manifests/nothing", 404)


def test_a_stopped_registry_leaves_neither_port_nor_file() -> None:
    with tools.distribution2() as server:
        folder = server.log.parent
        assert folder.is_dir()
    assert not folder.exists()
    with socket.socket() as probe:
        assert probe.connect_ex((server.host, server.port)) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_registry_that_cannot_start_shows_the_end_of_its_log(
    start: tools.Starter,
    server_tls: TLS,  # noqa: F811
) -> None:
    broken = replace(server_tls, cert=server_tls.cert.with_name("missing.crt"))
    with pytest.raises(tools.StartFailed, match=r"missing\.crt"), start(tls=broken):
        pass


def test_tls_serves_who_trusts_the_private_authority_and_nobody_else(
    start: tools.Starter,
    server_tls: TLS,  # noqa: F811
    crane: Crane,
) -> None:
    with start(tls=server_tls) as server:
        assert ask(f"{server.url}/v2/", server.ca)[0] == 200
        refused = crane.attempt(*crane.pushing(f"{server.address}/model:v1"))
        assert refused.returncode != 0
        assert "x509" in refused.stderr
        crane.trusts(server_tls.ca)
        crane.run(*crane.pushing(f"{server.address}/model:v1"))
        assert crane.run("ls", f"{server.address}/model").split() == ["v1"]


def test_a_certificate_is_for_one_host_only(start: tools.Starter, server_tls: TLS) -> None:  # noqa: F811
    with start(tls=server_tls) as server, pytest.raises(urllib.error.URLError, match="not valid for 'localhost'"):
        ask(f"https://localhost:{server.port}/v2/", server.ca)


def test_a_password_file_refuses_and_accepts(
    start: tools.Starter,
    htpasswd: Htpasswd,  # noqa: F811
    crane: Crane,
) -> None:
    with start(htpasswd=htpasswd.path) as server:
        status, challenge, _ = ask(f"{server.url}/v2/")
        assert (status, challenge.split()[0].lower()) == (401, "basic")
        assert crane.attempt(*crane.pushing(f"{server.address}/model:v1")).returncode != 0
        crane.has_password(server, htpasswd.user, htpasswd.password)
        crane.run(*crane.pushing(f"{server.address}/model:v1"))


def test_tls_and_tokens_go_together(
    start: tools.Starter,
    private_ca: tools.Authority,  # noqa: F811
    crane: Crane,
    tmp_path: Path,
) -> None:
    tls = tools.issue(private_ca, "localhost", tmp_path)
    crane.trusts(tls.ca)
    with TokenAuth({"ann": User("pencil")}, tls=tls) as auth, start(tls=tls, auth=auth) as server:
        crane.has_password(server, "ann", "pencil")
        crane.run(*crane.pushing(f"{server.address}/model:v1"))
        assert crane.run("ls", f"{server.address}/model").split() == ["v1"]


# --- token authentication -----------------------------------------------------------------------------------------


def test_a_guarded_registry_sends_its_clients_to_the_token_server(
    start: tools.Starter,
    token_auth: TokenAuth,  # noqa: F811
) -> None:
    with start(auth=token_auth) as server:
        status, challenge, _ = ask(f"{server.url}/v2/")
    assert status == 401
    assert challenge.startswith("Bearer ")
    assert f'realm="{token_auth.realm}"' in challenge
    assert f'service="{token_auth.service}"' in challenge


def test_a_guarded_registry_refuses_without_credentials_and_accepts_with_them(
    start: tools.Starter,
    token_auth: TokenAuth,  # noqa: F811
    crane: Crane,
) -> None:
    with start(auth=token_auth) as server:
        pushing = crane.pushing(f"{server.address}/team/model:v1")
        refused = crane.attempt(*pushing)
        assert refused.returncode != 0
        assert "401 Unauthorized" in refused.stderr
        assert all(each.authorization is None for each in token_auth.requests)
        crane.has_password(server, "ann", "pencil")
        crane.run(*pushing)
        assert crane.run("ls", f"{server.address}/team/model").split() == ["v1"]
    assert token_auth.requests[-1].basic == ("ann", "pencil")


def test_one_who_may_only_pull_cannot_push(
    start: tools.Starter,
    token_auth: TokenAuth,  # noqa: F811
    crane: Crane,
) -> None:
    with start(auth=token_auth) as server:
        reference = f"{server.address}/team/model:v1"
        crane.has_password(server, "ann", "pencil")
        crane.run(*crane.pushing(reference))
        crane.has_password(server, "bob", "rubber")
        assert crane.attempt("tag", reference, "v2").returncode != 0
        assert crane.run("ls", f"{server.address}/team/model").split() == ["v1"]


def test_an_identity_token_is_exchanged_by_post(
    start: tools.Starter,
    token_auth: TokenAuth,  # noqa: F811
    crane: Crane,
) -> None:
    identity = token_auth.identity_token("ann")
    with start(auth=token_auth) as server:
        crane.knows(server, {"identitytoken": identity})
        crane.run(*crane.pushing(f"{server.address}/team/model:v1"))
    posted = [each for each in token_auth.requests if each.method == "POST"]
    assert posted[-1].get("grant_type") == "refresh_token"
    assert posted[-1].get("refresh_token") == identity
    assert "repository:team/model:push,pull" in posted[-1].scopes


def test_a_token_opens_only_what_it_names(
    start: tools.Starter,
    token_auth: TokenAuth,  # noqa: F811
) -> None:
    bearer = f"Bearer {token_auth.token('ann', 'repository:mine:pull')}"
    with start(auth=token_auth) as server:
        assert ask(f"{server.url}/v2/mine/tags/list", Authorization=bearer)[0] == 404
        assert ask(f"{server.url}/v2/yours/tags/list", Authorization=bearer)[0] in {401, 403}


def test_the_catalog_has_a_scope_of_its_own(
    start: tools.Starter,
    token_auth: TokenAuth,  # noqa: F811
    crane: Crane,
) -> None:
    with start(auth=token_auth) as server:
        crane.has_password(server, "bob", "rubber")
        assert crane.attempt("catalog", server.address).returncode != 0
        crane.has_password(server, "ann", "pencil")
        crane.run(*crane.pushing(f"{server.address}/team/model:v1"))
        assert crane.run("catalog", server.address).split() == ["team/model"]


@pytest.fixture
def hub() -> Iterator[TokenAuth]:
    """A token server that lets everybody pull."""
    with TokenAuth({"ann": User("pencil")}, anonymous={"pull"}) as auth:
        yield auth


def asking(auth: TokenAuth, *scopes: str) -> str:
    return auth.realm + "?" + urllib.parse.urlencode([("service", auth.service), *(("scope", s) for s in scopes)])


def form(auth: TokenAuth, **fields: str) -> bytes:
    return urllib.parse.urlencode({"service": auth.service, "client_id": "test", **fields}).encode()


def test_one_without_credentials_is_granted_what_everybody_may_do(hub: TokenAuth) -> None:
    status, _, grant = ask(asking(hub, "repository:a/b:pull,push", "registry:catalog:*"))
    assert status == 200
    assert access(grant["token"]) == [{"type": "repository", "name": "a/b", "actions": ["pull"]}]


def test_several_scopes_may_share_one_field(hub: TokenAuth) -> None:
    url = asking(hub, "repository:a:pull repository:host:5000/b:push")
    _, _, grant = ask(url, Authorization=basic("ann", "pencil"))
    assert [(each["name"], each["actions"]) for each in access(grant["token"])] == [
        ("a", ["pull"]),
        ("host:5000/b", ["push"]),
    ]


@pytest.mark.parametrize("shown", [basic("ann", "wrong"), basic("eve", "pencil"), "Basic %%%"])
def test_wrong_credentials_get_no_token(hub: TokenAuth, shown: str) -> None:
    status, _, answer = ask(asking(hub, "repository:a:pull"), Authorization=shown)
    assert status == 401
    assert "token" not in answer
    assert hub.requests[-1].authorization == shown


def test_a_password_posted_for_offline_use_yields_a_refresh_token_that_works(hub: TokenAuth) -> None:
    password = form(hub, grant_type="password", username="ann", password="pencil", access_type="offline")
    _, _, first = ask(hub.realm, data=password)
    refresh = form(hub, grant_type="refresh_token", refresh_token=first["refresh_token"], scope="repository:a:push")
    status, _, second = ask(hub.realm, data=refresh)
    assert status == 200
    assert access(second["access_token"]) == [{"type": "repository", "name": "a", "actions": ["push"]}]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "guessed"}, 401, "invalid_grant"),
        ({"grant_type": "password", "username": "ann", "password": "wrong"}, 401, "invalid_grant"),
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"grant_type": "password", "client_id": ""}, 400, "invalid_request"),
        ({"grant_type": "password", "service": "another"}, 400, "invalid_request"),
    ],
)
def test_a_refused_post_names_the_oauth_error(hub: TokenAuth, fields: dict[str, str], status: int, code: str) -> None:
    answered, _, answer = ask(hub.realm, data=form(hub, **fields))
    assert (answered, answer["error"]) == (status, code)


def test_the_token_server_speaks_https_too(server_tls: TLS) -> None:  # noqa: F811
    with TokenAuth({}, anonymous={"pull"}, tls=server_tls, host="127.0.0.1") as auth:
        assert auth.realm.startswith("https://")
        assert ask(asking(auth, "repository:a:pull"), server_tls.ca)[0] == 200


# --- programs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VERSION_COMMANDS)
def test_each_client_runs(name: str) -> None:
    program = tools.need(name)
    done = subprocess.run([program, *VERSION_COMMANDS[name]], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert tools.version(name)[0].isdigit()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine with nothing but Python: an empty cache and an empty PATH."""
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("INSTALLML_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("CI", raising=False)
    return dict(os.environ)


def provision(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROVISION), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_bare_machine_is_told_what_it_lacks(bare: dict[str, str]) -> None:
    done = provision(bare, "skopeo", "crane", "distribution3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "skopeo: skipped: no apt",
        "crane: skipped: no Go",
        "distribution3: skipped: no Go",
    ]
    assert tools.tool("crane") is None
    assert "no Go" in tools.why_missing("crane")


@pytest.mark.parametrize(("arguments", "ci"), [(["--require"], ""), ([], "true")])
def test_a_required_part_that_is_missing_fails(bare: dict[str, str], arguments: list[str], ci: str) -> None:
    assert provision({**bare, "CI": ci}, "crane", *arguments).returncode == 1


def test_an_unknown_part_names_the_known_ones(bare: dict[str, str]) -> None:
    done = provision(bare, "carne")
    assert done.returncode == 2
    assert "crane" in done.stderr


@pytest.mark.usefixtures("bare")
def test_a_test_without_its_program_skips_and_says_why() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"provision\.py crane"):
        tools.need("crane")


@pytest.mark.usefixtures("bare")
def test_a_test_without_its_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"provision\.py crane"):
        tools.need("crane")
    with pytest.raises(pytest.skip.Exception, match="not on PATH"):
        tools.need("zot")
