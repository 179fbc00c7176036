"""Packages through real proxies (HTTP, HTTPS, SOCKS5), to registries with authorities of their own."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from installml.config import load
from installml.registry.auth import Fixed
from installml.registry.errors import ProxyFailed, SocksMissing, TLSFailed, TransportError
from installml.registry.http import HttpClient
from installml.registry.repository import Registry, Repository
from installml.testing import MemoryStore, RunningRegistry, package_bytes, start
from installml.transfer import copy
from tests.services.certificates import TLS, issue, make_ca
from tests.services.proxies import HOST, http_proxy, socks_proxy
from tests.unit.registry.serving import name_everything
from tests.unsigned import UNSIGNED

PACKAGE = package_bytes({"model.bin": bytes(range(256)) * (5 << 12)})
NAMED = "registry.example"
LOGIN = ("me", "s3cr3t-word")


@pytest.fixture
def made(tmp_path: Path) -> TLS:
    return issue(make_ca(tmp_path), NAMED, tmp_path)


@pytest.fixture
def secured(made: TLS) -> Iterator[RunningRegistry]:
    with start(tls=(made.cert, made.key)) as server:
        yield server


def settings(tmp_path: Path, environ: Mapping[str, str], text: str = "", **flags: object) -> HttpClient:
    """Return a client made as the command line makes it: from variables and a configuration file."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    base = {
        "HOME": str(tmp_path),
        "INSTALLML_POLICY": UNSIGNED,
        "INSTALLML_HOME": str(tmp_path / "home"),
        "INSTALLML_CONFIG": str(file),
    }
    loaded = load(flags, {**base, **environ}, folder=tmp_path)
    return HttpClient(loaded.network(), loaded.host_settings)


def trusting(made: TLS) -> str:
    return f'[registries."{NAMED}"]\nca = "{made.ca}"\n'


def place(client: HttpClient, host: str = NAMED) -> Repository:
    return Registry(host, client, Fixed()).repository("acme/sentiment")


def goes_and_comes(target: Repository) -> bool:
    source, back = MemoryStore(), MemoryStore()
    PACKAGE.push(source, "1.0.0")
    copy(source, target, PACKAGE.descriptor, tags=["1.0.0"])
    copy(target, back, target.resolve("1.0.0"), tags=["1.0.0"])
    return back.resolve("1.0.0").digest == PACKAGE.descriptor.digest


@contextmanager
def quiet(capture: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no log of any library says the password, whatever its level."""
    with capture.at_level(logging.DEBUG):
        yield
    assert LOGIN[1] not in capture.text


def target(server: RunningRegistry) -> tuple[str, int]:
    return HOST, server.port


def test_a_package_goes_through_a_tunnel_with_a_login(
    secured: RunningRegistry, made: TLS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with http_proxy(target(secured), login=LOGIN) as proxy, quiet(caplog):
        client = settings(tmp_path, {"HTTPS_PROXY": f"http://{':'.join(LOGIN)}@{proxy.address}"}, trusting(made))
        assert goes_and_comes(place(client))
        assert set(proxy.asked) == {f"CONNECT {NAMED}:443"}
        assert proxy.refused == 0


def test_a_package_goes_through_a_proxy_that_speaks_https_itself(
    secured: RunningRegistry, made: TLS, tmp_path: Path
) -> None:
    own = tmp_path / "proxy"
    own.mkdir()
    certificate = issue(make_ca(own), HOST, own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    both = tmp_path / "both.pem"
    both.write_bytes(made.ca.read_bytes() + certificate.ca.read_bytes())
    with http_proxy(target(secured), tls=context) as proxy:
        environ = {"HTTPS_PROXY": f"https://{proxy.address}", "SSL_CERT_FILE": str(both)}
        assert goes_and_comes(place(settings(tmp_path, environ)))
        assert proxy.asked


def test_plain_http_is_forwarded_where_it_is_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start() as server, http_proxy(target(server), login=LOGIN) as proxy, quiet(caplog):
        environ = {"ALL_PROXY": f"{':'.join(LOGIN)}@{proxy.address}"}
        assert goes_and_comes(place(settings(tmp_path, environ, insecure=(NAMED,))))
        assert any(asked.startswith(f"PUT http://{NAMED}/v2/") for asked in proxy.asked)


@pytest.mark.parametrize("kind", ["socks5", "socks5h"])
def test_a_package_goes_through_socks_and_who_resolves_the_name_is_as_written(
    kind: str, secured: RunningRegistry, made: TLS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_everything(monkeypatch, HOST)
    with socks_proxy(target(secured)) as proxy:
        client = settings(tmp_path, {"ALL_PROXY": f"{kind}://{proxy.address}"}, trusting(made))
        assert goes_and_comes(place(client))
        expected = f"name {NAMED}:443" if kind == "socks5h" else f"address {HOST}:443"
        assert set(proxy.asked) == {expected}


def test_socks_with_a_login(
    secured: RunningRegistry, made: TLS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socks_proxy(target(secured), login=LOGIN) as proxy, quiet(caplog):
        address = f"socks5h://{':'.join(LOGIN)}@{proxy.address}"
        assert goes_and_comes(place(settings(tmp_path, {"ALL_PROXY": address}, trusting(made))))
        assert proxy.refused == 0


def test_without_the_extra_a_socks_proxy_is_an_error_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    client = settings(tmp_path, {"ALL_PROXY": "socks5h://me:s3cr3t-word@127.0.0.1:1"})
    with pytest.raises(SocksMissing) as raised:
        place(client).resolve("1.0.0")
    assert raised.value.hint == "pip install 'installml[socks]'"
    assert LOGIN[1] not in str(raised.value)


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_wrong_login_is_blamed_on_the_proxy_and_never_shown(
    kind: str, secured: RunningRegistry, made: TLS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = http_proxy if kind == "http" else socks_proxy
    with run(target(secured), login=("me", "other")) as proxy, quiet(caplog):
        client = settings(tmp_path, {"ALL_PROXY": f"{kind}://{':'.join(LOGIN)}@{proxy.address}"}, trusting(made))
        with pytest.raises(ProxyFailed) as raised:
            place(client).resolve("1.0.0")
        assert proxy.refused
        assert LOGIN[1] not in f"{raised.value} {raised.value.hint}"


def test_a_forwarding_proxy_that_wants_a_login_says_how_to_give_it(tmp_path: Path) -> None:
    with start() as server, http_proxy(target(server), login=LOGIN) as proxy:
        client = settings(tmp_path, {"ALL_PROXY": f"http://{proxy.address}"}, insecure=(NAMED,))
        with pytest.raises(ProxyFailed) as raised:
            place(client).resolve("1.0.0")
    assert "HTTPS_PROXY=" in raised.value.hint


@pytest.mark.parametrize(
    "no_proxy", [NAMED, ".example", "*.example", f"other.org,{NAMED}:443", "*", "a b registry.example"]
)
def test_what_no_proxy_names_is_reached_directly(
    no_proxy: str, secured: RunningRegistry, made: TLS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_everything(monkeypatch, HOST)  # where nobody listens on 443
    with http_proxy(target(secured)) as proxy:
        client = settings(tmp_path, {"HTTPS_PROXY": f"http://{proxy.address}", "NO_PROXY": no_proxy}, trusting(made))
        with pytest.raises(TransportError):
            place(client).resolve("1.0.0")
        assert proxy.asked == []


@pytest.mark.parametrize("no_proxy", ["", "example.org", f"{NAMED}:5000", "xample", "10.0.0.0/8"])
def test_what_no_proxy_does_not_name_goes_through_it(
    no_proxy: str, secured: RunningRegistry, made: TLS, tmp_path: Path
) -> None:
    with http_proxy(target(secured)) as proxy:
        client = settings(tmp_path, {"HTTPS_PROXY": f"http://{proxy.address}", "NO_PROXY": no_proxy}, trusting(made))
        Registry(NAMED, client).ping()
        assert proxy.asked


def test_a_private_authority_is_trusted_for_its_registry_only(
    secured: RunningRegistry, made: TLS, tmp_path: Path
) -> None:
    with http_proxy(target(secured)) as proxy:
        environ = {"HTTPS_PROXY": f"http://{proxy.address}"}
        Registry(NAMED, settings(tmp_path, environ, trusting(made))).ping()
        with pytest.raises(TLSFailed):
            Registry(NAMED, settings(tmp_path, environ)).ping()


def test_a_client_certificate_is_shown_where_it_is_configured(tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    server_side, mine = tmp_path / "server", tmp_path / "mine"
    server_side.mkdir()
    mine.mkdir()
    server, client_cert = issue(authority, HOST, server_side), issue(authority, "me.example", mine)
    with _mutual(server) as address:
        both = f'client_cert = "{client_cert.cert}"\nclient_key = "{client_cert.key}"\n'
        text = f'[registries."{address}"]\nca = "{server.ca}"\n'
        Registry(address, settings(tmp_path, {}, text + both)).ping()
        with pytest.raises(TransportError):
            Registry(address, settings(tmp_path, {}, text)).ping()


@contextmanager
def _mutual(server: TLS) -> Iterator[str]:
    from tests.unit.registry.serving import Answer, site

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(server.ca)
    with site(lambda _: Answer(body=b"{}"), context) as here:
        yield here.address


def test_insecure_allows_plain_http_and_nothing_else(secured: RunningRegistry, made: TLS, tmp_path: Path) -> None:
    with http_proxy(target(secured)) as proxy:
        client = settings(tmp_path, {"HTTPS_PROXY": f"http://{proxy.address}"}, insecure=("*",))
        with pytest.raises(TransportError):  # a certificate that nobody vouches for stays refused
            Registry(NAMED, client).ping()
