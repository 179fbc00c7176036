"""Starting and stopping: ports, TLS, folders, exposure."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from installml.errors import SettingInvalid, StoreUnusable, UsageError
from installml.registry_server import serve, start
from installml.registry_server.running import Exposed, PortUnavailable, check_exposure
from tests.contract.registry_protocol.place import Place, Wire, expect
from tests.services.certificates import issue, make_ca


def test_a_registry_says_where_it_is_and_what_it_was_asked() -> None:
    with start() as registry:
        assert registry.url == f"http://{registry.address}" == f"http://127.0.0.1:{registry.port}"
        place = Place(Wire(registry.url), "acme/one")
        digest = place.blob(b"0123456789")
        place.ask("GET", f"blobs/{digest}?x=1", headers={"Range": "bytes=2-4", "Authorization": "Basic c2VjcmV0"})
        record = registry.requests[-1]
        assert (record.method, record.path, record.query) == ("GET", f"/v2/acme/one/blobs/{digest}", "x=1")
        assert (record.status, record.bytes_out, record.range) == (206, 3, "bytes=2-4")
        assert record.has_authorization
        assert "c2VjcmV0" not in repr(record)
        assert [one.bytes_in for one in registry.requests if one.method == "PUT"] == [10]


def test_a_temporary_registry_leaves_nothing() -> None:
    registry = start()
    assert registry.root.is_dir()
    registry.stop()
    registry.stop()
    assert not registry.root.exists()
    with pytest.raises(OSError):
        socket.create_connection((registry.host, registry.port), timeout=1)


def test_a_registry_on_a_folder_keeps_what_was_pushed(tmp_path: Path) -> None:
    with start(tmp_path) as registry:
        data = Place(Wire(registry.url), "acme/one").tagged("v1")
    with start(tmp_path) as registry:
        assert expect(Place(Wire(registry.url), "acme/one").read("v1"), 200).body == data


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with start() as registry:
        with pytest.raises(PortUnavailable, match=f"127.0.0.1:{registry.port}: it is in use"):
            start(tmp_path, port=registry.port)
        start(tmp_path).stop()  # the folder was let go of


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_is_not_ours_is_refused(host: str, port: int) -> None:
    with pytest.raises(PortUnavailable):
        start(host=host, port=port)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with start(tmp_path), pytest.raises(StoreUnusable, match="another registry"):
        start(tmp_path)


def test_tls_is_served_with_a_certificate_that_a_client_can_check(tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    tls = issue(authority, "127.0.0.1", tmp_path)
    with start(tls=(tls.cert, tls.key), token=True) as registry:
        context = ssl.create_default_context(cafile=str(tls.ca))
        answer = expect(Wire(registry.url, context).ask("GET", "/v2/"), 401)
        assert f'realm="{registry.url}/token"' in answer.headers["www-authenticate"]
        with pytest.raises(ssl.SSLCertVerificationError):
            Wire(registry.url, ssl.create_default_context()).ask("GET", "/v2/")


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    with pytest.raises(SettingInvalid, match=r"cert\.pem"):
        start(tls=(tmp_path / "cert.pem", tmp_path / "cert.pem"))
    with pytest.raises(SettingInvalid, match=r"absent\.pem"):
        start(tls=(tmp_path / "absent.pem", tmp_path / "absent.pem"))


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        serve(tmp_path, tls_cert=tmp_path / "cert.pem")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "registry.example.com", ""])
def test_other_machines_are_let_in_only_with_tls_or_passwords(host: str, tmp_path: Path) -> None:
    with pytest.raises(Exposed):
        check_exposure(host, tls=False, auth=False)
    check_exposure(host, tls=True, auth=False)
    check_exposure(host, tls=False, auth=True)
    with pytest.raises(Exposed):
        serve(tmp_path, host)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_is_always_let_in(host: str) -> None:
    check_exposure(host, tls=False, auth=False)


def test_an_address_with_colons_stands_in_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        registry = start(host="::1")
    except PortUnavailable:
        pytest.skip("this machine has no IPv6 loopback address")
    with registry:
        assert registry.url == f"http://[::1]:{registry.port}"
        expect(Wire(registry.url).ask("GET", "/v2/"), 200)
