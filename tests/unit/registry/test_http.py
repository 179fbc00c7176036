from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.errors import SettingInvalid, SourceChanged
from installml.registry.errors import (
    ConnectionLost,
    ConnectionRefused,
    HostUnknown,
    Offline,
    PlainServer,
    ProxyFailed,
    RedirectRefused,
    TimedOut,
    TLSFailed,
    TransportError,
    UnexpectedAnswer,
)
from installml.registry.http import HostSettings, Network, Request, Response
from tests.services.certificates import TLS, issue, make_ca
from tests.unit.registry.canned import canned
from tests.unit.registry.serving import Answer, Asked, Time, client, site

SECRET = {"Authorization": "Bearer s3cret"}


def get(url: str, **more: object) -> Request:
    return Request("GET", url, again=True, **more)  # type: ignore[arg-type]


def ok(_: Asked) -> Answer:
    return Answer(body=b"fine")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- what is sent -----------------------------------------------------------------------------------------------


def test_a_request_says_who_asks_and_wants_the_bytes_as_they_are() -> None:
    with site(ok) as here, client(Network(user_agent="installml/1")).send(get(here.url, headers=SECRET)) as response:
        assert response.body(100) == b"fine"
        sent = here.asked[0].headers
        assert (sent["user-agent"], sent["accept-encoding"]) == ("installml/1", "identity")
        assert sent["authorization"] == "Bearer s3cret"


def test_cookies_are_neither_kept_nor_sent() -> None:
    with site(lambda _: Answer(headers={"Set-Cookie": "id=1; Path=/"})) as here:
        door = client()
        for _ in range(2):
            door.send(get(here.url)).drain()
        assert [asked.headers.get("cookie") for asked in here.asked] == [None, None]


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_an_answer_without_a_body_keeps_the_connection_though_nobody_read_it(method: str) -> None:
    with site(lambda _: Answer(202)) as here:
        door = client()
        for _ in range(3):
            door.send(Request(method, here.url)).close()
        assert here.connections == 1


def test_a_body_that_nobody_read_ends_the_connection() -> None:
    with site(ok) as here:
        door = client()
        for _ in range(2):
            door.send(get(here.url)).close()
        assert here.connections == 2


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password pencil\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    with site(ok) as here:
        client().send(get(here.url)).drain()
        assert here.asked[0].authorization == ""


def test_blocks_go_out_with_their_length_and_never_chunked() -> None:
    class Blocks:
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[bytes]:
            yield b"abc"
            yield b"def"

    with site(ok) as here:
        client().send(Request("PUT", here.url, body=Blocks())).drain()
        assert here.asked[0].body == b"abcdef"
        assert here.asked[0].headers["content-length"] == "6"
        assert "transfer-encoding" not in here.asked[0].headers


def test_a_source_that_fails_while_it_is_sent_keeps_its_own_error() -> None:
    class Broken:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[bytes]:
            yield b"abc"
            raise self.error

    with site(ok) as here:
        for error in (SourceChanged("weights"), OSError("disk")):
            with pytest.raises(type(error)) as raised:
                client().send(Request("PUT", here.url, body=Broken(error)))
            assert raised.value is error


# -- redirects --------------------------------------------------------------------------------------------------


def test_a_redirect_within_the_origin_keeps_the_authorization_and_one_beyond_drops_it() -> None:
    with site(ok) as storage:

        def registry(asked: Asked) -> Answer:
            target = "/there" if asked.path == "/here" else f"{storage.url}/blob?X-Signature=1"
            return Answer(307, {"Location": target})

        with site(registry) as here:
            response = client().send(get(f"{here.url}/here", headers=SECRET))
            assert response.body(10) == b"fine"
            assert [asked.authorization for asked in here.asked] == ["Bearer s3cret"] * 2
            assert [(a.path, a.authorization) for a in storage.asked] == [("/blob?X-Signature=1", "")]


def test_the_authorization_does_not_come_back_when_the_redirects_do() -> None:
    with site(lambda asked: Answer(302, {"Location": asked.path.partition("=")[2]})) as away:

        def home(asked: Asked) -> Answer:
            return Answer(302, {"Location": f"{away.url}/?to={here.url}/end"}) if asked.path == "/" else Answer()

        with site(home) as here:
            client().send(get(here.url + "/", headers=SECRET)).drain()
            assert [(a.path, a.authorization) for a in here.asked] == [("/", "Bearer s3cret"), ("/end", "")]


def test_five_redirects_are_followed_and_a_sixth_is_not() -> None:
    def countdown(asked: Asked) -> Answer:
        left = int(asked.path[1:])
        return Answer(302, {"Location": f"/{left - 1}"}) if left else Answer(body=b"end")

    with site(countdown) as here:
        assert client().send(get(f"{here.url}/5")).body(10) == b"end"
        with pytest.raises(RedirectRefused, match="more than 5"):
            client().send(get(f"{here.url}/6"))


def test_https_never_becomes_http() -> None:
    url = "https://registry.example/v2/"
    with canned() as answers:
        answers.get(url, status=302, headers={"Location": "http://registry.example/v2/?sig=s3cret"})
        with pytest.raises(RedirectRefused, match="plain http") as raised:
            client().send(get(url))
    assert "s3cret" not in str(raised.value)
    assert answers.asked == [url]


@pytest.mark.parametrize(
    "location", ["ftp://a/", "file:///etc/passwd", "https://ann:pencil@a/", "https://", "http://[", "//a:99999/"]
)
def test_a_redirect_to_what_cannot_be_called_is_refused(location: str) -> None:
    with canned() as answers:
        answers.get("https://registry.example/v2/", status=302, headers={"Location": location})
        with pytest.raises(RedirectRefused) as raised:
            client().send(get("https://registry.example/v2/"))
    assert "pencil" not in str(raised.value)


def test_an_upload_is_never_redirected_elsewhere() -> None:
    with site(lambda _: Answer(307, {"Location": "/other"})) as here:
        with pytest.raises(RedirectRefused, match="redirects a PUT"):
            client().send(Request("PUT", here.url, body=b"x"))
        assert len(here.asked) == 1


def test_a_caller_may_want_the_redirect_itself() -> None:
    with site(lambda _: Answer(307, {"Location": "/other"})) as here:
        assert client().send(get(here.url, follow=False)).status == 307


# -- retries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_asked_again_with_growing_waits(status: int) -> None:
    answers = iter([Answer(status), Answer(status), Answer(body=b"fine")])
    time = Time()
    with site(lambda _: next(answers)) as here:
        assert client(time=time).send(get(here.url)).body(10) == b"fine"
    assert len(time.slept) == 2
    assert time.slept[1] == 2 * time.slept[0] > 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 416, 501])
def test_a_lasting_refusal_is_taken_at_once(status: int) -> None:
    time = Time()
    with site(lambda _: Answer(status)) as here:
        assert client(time=time).send(get(here.url)).status == status
        assert len(here.asked) == 1
    assert time.slept == []


def test_what_may_not_be_repeated_is_sent_once() -> None:
    with site(lambda _: Answer(503)) as here:
        assert client().send(Request("POST", here.url, body=b"x")).status == 503
        assert len(here.asked) == 1


def test_a_lost_connection_is_tried_again_and_named_when_it_stays_lost() -> None:
    with site(lambda _: Answer(hang_up=True)) as here:
        with pytest.raises(ConnectionLost) as raised:
            client().send(get(f"{here.url}/?sig=s3cret"))
        assert len(here.asked) == 6
        assert here.address in str(raised.value)
        assert "s3cret" not in str(raised.value)
        assert raised.value.__cause__ is None


def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    date = {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT", "Date": "Fri, 31 Dec 1999 23:59:29 GMT"}

    class Answered:
        def __init__(self, headers: dict[str, str]) -> None:
            self.headers, self.status = headers, 429

    def waits(headers: dict[str, str]) -> float | None:
        return Response(Answered(headers), "http://x", lambda _: TransportError("")).retry_after

    assert waits(date) == 30.0
    assert waits({"Retry-After": "7"}) == 7.0
    assert waits({"Retry-After": "soon"}) is None
    assert waits({}) is None
    answers = iter([Answer(429, {"Retry-After": "7"}), Answer()])
    time = Time()
    with site(lambda _: next(answers)) as here:
        client(time=time).send(get(here.url)).drain()
    assert time.slept == [7.0]


def test_a_wait_beyond_the_deadline_is_not_waited() -> None:
    time = Time()
    with site(lambda _: Answer(429, {"Retry-After": "3600"})) as here:
        response = client(time=time).send(get(here.url))
        assert (response.status, response.retry_after) == (429, 3600.0)
        assert len(here.asked) == 1
    assert time.slept == []


# -- bodies -----------------------------------------------------------------------------------------------------


def test_a_body_that_ends_early_is_a_lost_connection() -> None:
    with site(lambda _: Answer(body=b"x" * 1000, cut=100)) as here, pytest.raises(ConnectionLost):
        client().send(get(here.url)).body(2000)


def test_a_document_larger_than_its_cap_is_refused_without_reading_it_all() -> None:
    with (
        site(lambda _: Answer(body=b"x" * 100_000)) as here,
        pytest.raises(UnexpectedAnswer, match="more than 1000 bytes"),
    ):
        client().send(get(here.url)).body(1000)


def test_bytes_are_never_decoded() -> None:
    import gzip

    squeezed = gzip.compress(b"weights" * 1000)
    with site(lambda _: Answer(headers={"Content-Encoding": "gzip"}, body=squeezed)) as here:
        assert client().send(get(here.url)).body(10_000) == squeezed


def test_connections_are_kept_and_shared_by_threads() -> None:
    with site(ok) as here:
        door = client()
        for _ in range(5):
            assert door.send(get(here.url)).body(10) == b"fine"
        together = [threading.Thread(target=lambda: door.send(get(here.url)).body(10)) for _ in range(8)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        assert len(here.asked) == 13
        door.close()


# -- the network's own failures ---------------------------------------------------------------------------------


def test_offline_means_this_machine_and_no_redirect_out_of_it() -> None:
    door = client(Network(offline=True))
    with canned() as mocked, pytest.raises(Offline, match=r"registry\.example"):
        door.send(get("https://registry.example/v2/"))
    assert mocked.asked == []
    with site(lambda _: Answer(307, {"Location": "http://registry.example/b"})) as here, pytest.raises(Offline):
        door.send(get(here.url))
    with site(ok) as here:
        assert door.send(get(here.url)).body(10) == b"fine"


def test_a_closed_port_is_said_at_once() -> None:
    time = Time()
    with pytest.raises(ConnectionRefused, match="nobody listens"):
        client(time=time).send(get(f"http://127.0.0.1:{free_port()}"))
    assert time.slept == []


def test_an_unknown_host_is_said_at_once() -> None:
    time = Time()
    with pytest.raises(HostUnknown, match=r"nowhere\.invalid"):
        client(time=time).send(get("https://nowhere.invalid/v2/"))
    assert time.slept == []


def test_a_silent_server_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimedOut):
            client(Network(timeout=(0.2, 0.05))).send(get(url))


def test_a_host_that_cannot_be_called_is_a_transport_error() -> None:
    with pytest.raises(TransportError):
        client().send(get("https://a..b/v2/"))


# -- proxies ----------------------------------------------------------------------------------------------------


def test_a_proxy_is_used_but_never_for_what_no_proxy_names() -> None:
    with site(lambda _: Answer(body=b"by proxy")) as proxy:
        through = client(Network(proxies={"http": proxy.address}, no_proxy="direct.invalid"))
        assert through.send(get("http://registry.invalid/v2/")).body(100) == b"by proxy"
        assert proxy.asked[0].path == "http://registry.invalid/v2/"
        with pytest.raises(HostUnknown):
            through.send(get("http://direct.invalid/v2/"))
        assert len(proxy.asked) == 1


def test_a_proxy_that_is_not_there_is_blamed_and_its_password_kept_quiet() -> None:
    network = Network(proxies={"all": f"http://ann:pencil@127.0.0.1:{free_port()}"})
    for scheme in ("http", "https"):
        with pytest.raises(ProxyFailed) as raised:
            client(network).send(get(f"{scheme}://registry.invalid/v2/"))
        assert "registry.invalid" in str(raised.value)
        assert "pencil" not in str(raised.value) + raised.value.hint


def test_a_proxy_that_refuses_the_tunnel_is_blamed() -> None:
    def refuse(port: socket.socket) -> None:
        connection, _ = port.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        thread = threading.Thread(target=refuse, args=(port,))
        thread.start()
        with pytest.raises(ProxyFailed):
            client(Network(proxies={"https": f"http://127.0.0.1:{port.getsockname()[1]}"})).send(
                get("https://r.invalid/")
            )
        thread.join()


# -- TLS --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return issue(make_ca(tmp_path), "127.0.0.1", tmp_path)


def server_side(tls: TLS) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    return context


def test_a_private_authority_is_trusted_for_the_host_that_it_was_named_for_or_for_all(tls: TLS) -> None:
    with site(ok, server_side(tls)) as here:
        with pytest.raises(TLSFailed, match="not trusted") as raised:
            client().send(get(here.url))
        assert "ca" in raised.value.hint
        trusted = HostSettings(ca=str(tls.ca))
        assert client().send(get(here.url, settings=trusted)).body(10) == b"fine"
        assert client(Network(ca_file=str(tls.ca))).send(get(here.url)).body(10) == b"fine"


def test_a_certificate_for_another_name_is_not_trusted(tls: TLS) -> None:
    with site(ok, server_side(tls)) as here, pytest.raises(TLSFailed, match="not trusted"):
        client(Network(ca_file=str(tls.ca))).send(get(here.url.replace("127.0.0.1", "localhost")))


def test_an_authority_is_not_carried_to_another_host_by_a_redirect(tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    ours, theirs = (issue(authority, name, tmp_path) for name in ("127.0.0.1", "localhost"))
    with site(ok, server_side(theirs)) as storage:
        away = storage.url.replace("127.0.0.1", "localhost")
        with site(lambda _: Answer(307, {"Location": away}), server_side(ours)) as here:
            trusted = get(here.url, settings=HostSettings(ca=str(ours.ca)))
            with pytest.raises(TLSFailed, match="localhost"):
                client().send(trusted)
            known = {away.removeprefix("https://"): HostSettings(ca=str(ours.ca))}
            assert client(settings=known).send(trusted).body(10) == b"fine"


def test_https_to_a_plain_server_names_the_flag_that_allows_it() -> None:
    with site(ok) as here, pytest.raises(PlainServer) as raised:
        client().send(get(here.url.replace("http:", "https:")))
    assert "--insecure" in raised.value.hint


def test_a_client_certificate_is_shown_where_it_is_configured(tls: TLS) -> None:
    context = server_side(tls)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tls.ca)
    with site(ok, context) as here:
        mine = HostSettings(ca=str(tls.ca), client_cert=(str(tls.cert), str(tls.key)))
        assert client().send(get(here.url, settings=mine)).body(10) == b"fine"
        with pytest.raises(TransportError):
            client().send(Request("GET", here.url, settings=HostSettings(ca=str(tls.ca)))).body(10)


def test_an_authority_that_is_not_there_is_a_setting_to_repair(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match=r"none\.pem"):
        client(Network(ca_file=str(tmp_path / "none.pem"))).send(get("https://registry.invalid"))
    own = HostSettings(client_cert=(str(tmp_path / "none.pem"), str(tmp_path / "none.pem")))
    with pytest.raises(SettingInvalid, match=r"none\.pem"):
        client().send(get("https://registry.invalid", settings=own))
