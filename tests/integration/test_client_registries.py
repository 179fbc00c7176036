"""Our client against real registries: the whole life of a package, with and without authorisation and TLS."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from installml.digest import CHUNK, VerifyingReader
from installml.errors import DigestMismatch, NotFound, SizeMismatch
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import ConnectionLost, Denied, TLSFailed, Unauthorized
from installml.registry.http import HostSettings, HttpClient, Network
from installml.registry.repository import Registry, Repository
from installml.registry_server.faults import Faults, Flip, Reset, Rule, Status, Truncate
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST, Role, layer_media_type
from installml.testing import RunningRegistry, start
from tests.services.certificates import TLS, issue, make_ca
from tests.services.servers import GUARDED, SERVERS, Server
from tests.services.tokens import TokenAuth, User

pytestmark = pytest.mark.integration

LAYER = b"weights " * (3 * CHUNK // 8) + b"end"


def client(**settings: object) -> HttpClient:
    return HttpClient(Network(), lambda _: HostSettings(**settings))  # type: ignore[arg-type]


def read(place: Repository, descriptor: Descriptor) -> bytes:
    with place.fetch(descriptor) as stream:
        reader = VerifyingReader(stream, descriptor.digest, descriptor.size, "the test")
        return b"".join(iter(lambda: reader.read(CHUNK), b""))


@dataclass(frozen=True)
class Package:
    config: Descriptor
    layer: Descriptor
    root: Descriptor
    bytes_of: dict[Descriptor, bytes]


def package(
    name: str = "sentiment", subject: Descriptor | None = None, annotations: dict[str, str] | None = None
) -> Package:
    config_bytes = b'{"descriptor":{"name":"%s"}}' % name.encode()
    config = Descriptor.of(config_bytes, MODEL_CONFIG)
    layer = Descriptor.of(LAYER, layer_media_type(Role.WEIGHT))
    data = Manifest(config, (layer,), MODEL_MANIFEST, annotations or {}, subject).to_bytes()
    root = Descriptor.of(data, IMAGE_MANIFEST)
    return Package(config, layer, root, {config: config_bytes, layer: LAYER, root: data})


def put(place: Repository, built: Package) -> None:
    for descriptor in (built.layer, built.config, built.root):
        place.push(descriptor, io.BytesIO(built.bytes_of[descriptor]))


@pytest.fixture(params=[*SERVERS, "embedded"])
def server(request: pytest.FixtureRequest) -> Iterator[Server | RunningRegistry]:
    with start() if request.param == "embedded" else SERVERS[request.param]() as running:
        yield running


def methods(server: Server | RunningRegistry) -> list[str]:
    """Return the methods of the requests so far, as the server's own log tells them."""
    return [line.method for line in (server.requests() if isinstance(server, Server) else server.requests)]


@pytest.fixture
def place(server: Server | RunningRegistry) -> Repository:
    return Registry(server.address, client()).repository("acme/sentiment")


def test_a_package_goes_up_and_comes_back_whole(place: Repository) -> None:
    built = package()
    put(place, built)
    place.tag(built.root, "1.0.0")
    assert place.resolve("1.0.0").bare() == built.root
    assert place.resolve(str(built.root.digest)).bare() == built.root
    assert {d: read(place, d) for d in built.bytes_of} == built.bytes_of


def test_what_is_not_there_is_not_found(place: Repository) -> None:
    built = package()
    for descriptor in (built.root, built.layer):
        assert not place.exists(descriptor)
        with pytest.raises(NotFound), place.fetch(descriptor):
            pass
    for pointer in ("1.0.0", str(built.root.digest)):
        with pytest.raises(NotFound):
            place.resolve(pointer)
    with pytest.raises(NotFound):
        place.tags()


def test_pushing_twice_sends_the_bytes_once(server: Server | RunningRegistry, place: Repository) -> None:
    built = package()
    put(place, built)
    before = len(methods(server))
    put(place, built)
    assert set(methods(server)[before:]) == {"HEAD"}


def test_an_empty_blob_goes_up(place: Repository) -> None:
    empty = Descriptor.of(b"", layer_media_type(Role.DOC))
    place.push(empty, io.BytesIO())
    assert read(place, empty) == b""


@pytest.mark.parametrize("damaged", [LAYER[:-1], LAYER + b"x", LAYER[:-1] + b"?"])
def test_wrong_bytes_are_refused_and_nothing_is_kept(place: Repository, damaged: bytes) -> None:
    built = package()
    with pytest.raises((DigestMismatch, SizeMismatch)):
        place.push(built.layer, io.BytesIO(damaged))
    assert not place.exists(built.layer)


def test_tags_are_listed_in_order_across_pages_and_moved_and_removed_with_their_manifest(place: Repository) -> None:
    built, newer = package(), package("newer")
    put(place, built)
    put(place, newer)
    for tag in ("b", "a", "C"):
        place.tag(built.root, tag)
    assert place.tags() == ["C", "a", "b"]
    place.tag(newer.root, "a")
    assert place.resolve("a").digest == newer.root.digest
    place.delete(newer.root)
    assert not place.exists(newer.root)


def test_tagging_a_manifest_that_is_not_there_is_not_found(place: Repository) -> None:
    with pytest.raises(NotFound):
        place.tag(package().root, "1.0.0")


def test_a_blob_is_mounted_from_a_neighbour_or_the_session_that_comes_instead_is_used(
    server: Server | RunningRegistry,
) -> None:
    registry = Registry(server.address, client())
    source, target = registry.repository("acme/base"), registry.repository("acme/tuned")
    built = package()
    put(source, built)
    missing = Descriptor.of(b"nobody has this", layer_media_type(Role.DOC))
    mounted = target.mount(built.layer, source)
    if not mounted:
        target.push(built.layer, io.BytesIO(LAYER))
    assert read(target, built.layer) == LAYER
    assert not target.mount(missing, source)
    target.push(missing, io.BytesIO(b"nobody has this"))
    assert read(target, missing) == b"nobody has this"


def test_referrers_are_found_with_and_without_the_api_and_vanish_with_their_manifest(place: Repository) -> None:
    built = package()
    put(place, built)
    assert list(place.referrers(built.root)) == []
    about = {"org.example.says": "good"}
    first, second = (package(n, subject=built.root, annotations=about) for n in ("first", "second"))
    for referrer in (first, second):
        put(place, referrer)
    listed = place.referrers(built.root)
    assert {d.digest for d in listed} == {first.root.digest, second.root.digest}
    assert {d.artifact_type for d in listed} == {MODEL_MANIFEST}
    assert [dict(d.annotations) for d in listed] == [about, about]
    assert list(place.referrers(built.root, "application/vnd.example.other")) == []
    place.delete(first.root)
    assert [d.digest for d in place.referrers(built.root)] == [second.root.digest]


def test_one_repository_serves_many_threads(place: Repository) -> None:
    blobs = {
        Descriptor.of(data, layer_media_type(Role.DATASET)): data for data in (b"%d" % n * 70_000 for n in range(16))
    }
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda d: place.push(d, io.BytesIO(blobs[d])), blobs))
        assert dict(zip(blobs, pool.map(lambda d: read(place, d), blobs), strict=True)) == blobs


def test_the_catalog_names_every_repository(server: Server | RunningRegistry) -> None:
    registry = Registry(server.address, client())
    for name in ("zoo/lion", "acme/sentiment"):
        put(registry.repository(name), package())
    assert registry.catalog() == ["acme/sentiment", "zoo/lion"]


# -- with authorisation and TLS ---------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> TLS:
    return issue(make_ca(tmp_path), "127.0.0.1", tmp_path)


@pytest.fixture
def tokens() -> Iterator[TokenAuth]:
    with TokenAuth({"ann": User("pencil"), "bob": User("rubber", frozenset({"pull"}))}) as auth:
        yield auth


@pytest.mark.parametrize("kind", list(GUARDED))
def test_a_token_registry_lets_the_right_people_do_the_right_things(kind: str, tokens: TokenAuth) -> None:
    with GUARDED[kind](auth=tokens) as server:

        def as_(user: str, password: str) -> Registry:
            return Registry(server.address, client(), Fixed(Credentials(user, password)))

        built = package()
        ann = as_("ann", "pencil").repository("acme/sentiment")
        put(ann, built)
        ann.tag(built.root, "1.0.0")
        bob = as_("bob", "rubber").repository("acme/sentiment")
        assert read(bob, bob.resolve("1.0.0")) == built.bytes_of[built.root]
        with pytest.raises((Unauthorized, Denied)):
            put(bob, package("bob's"))
        with pytest.raises(Unauthorized) as wrong:
            as_("ann", "pen").ping()
        assert "pen" not in str(wrong.value).split()
        with pytest.raises(Unauthorized):
            Registry(server.address, client()).repository("acme/sentiment").resolve("1.0.0")
        ann.delete(built.root)
        assert not ann.exists(built.root)


@pytest.mark.parametrize("kind", list(GUARDED))
def test_an_identity_token_is_exchanged_by_post(kind: str, tokens: TokenAuth) -> None:
    with GUARDED[kind](auth=tokens) as server:
        identity = tokens.identity_token("ann")
        place = Registry(server.address, client(), Fixed(Credentials(identity_token=identity))).repository("acme/x")
        built = package()
        put(place, built)
        assert place.exists(built.root)
        asked = [request for request in tokens.requests if request.method == "POST"]
        assert asked
        assert all(request.authorization is None for request in asked)


@pytest.mark.parametrize("kind", list(GUARDED))
def test_https_with_a_private_authority_works_once_it_is_named_and_never_before(kind: str, tls: TLS) -> None:
    with GUARDED[kind](tls=tls) as server:
        built = package()
        place = Registry(server.address, client(ca=str(tls.ca))).repository("acme/sentiment")
        put(place, built)
        assert read(place, built.layer) == LAYER
        with pytest.raises(TLSFailed, match="not trusted"):
            Registry(server.address, client()).repository("acme/sentiment").resolve("1.0.0")


CAT = "cat:$2y$05$installmlinstallmltes.S2b9TSJmV04zka9ljokmgTi92Mk7Og6\n"  # the password is "open sesame"


@pytest.mark.parametrize("kind", [*GUARDED, "embedded"])
def test_a_basic_only_registry_takes_the_password_over_https(kind: str, tls: TLS, tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(CAT)
    door = client(ca=str(tls.ca))
    with (
        start(htpasswd=passwords, tls=(tls.cert, tls.key))
        if kind == "embedded"
        else GUARDED[kind](htpasswd=passwords, tls=tls)
    ) as server:
        registry = Registry(server.address, door, Fixed(Credentials("cat", "open sesame")))
        registry.ping()
        built = package()
        put(registry.repository("acme/sentiment"), built)
        assert read(registry.repository("acme/sentiment"), built.layer) == LAYER
        for nobody in (Fixed(), Fixed(Credentials("cat", "close sesame"))):
            with pytest.raises(Unauthorized):
                Registry(server.address, door, nobody).ping()


def test_the_embedded_registrys_tokens_let_us_in_and_mount_across_repositories(tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(CAT)
    with start(htpasswd=passwords, token=True) as server:
        registry = Registry(server.address, client(), Fixed(Credentials("cat", "open sesame")))
        built, source, target = package(), registry.repository("acme/base"), registry.repository("acme/tuned")
        put(source, built)
        assert target.mount(built.layer, source)
        put(target, built)
        target.tag(built.root, "1.0.0")
        assert target.tags() == ["1.0.0"]
        target.delete(built.root)
        with pytest.raises(Unauthorized):
            Registry(server.address, client()).repository("acme/base").resolve("1.0.0")


@pytest.mark.parametrize("kind", [*GUARDED, "embedded"])
def test_a_registry_on_this_machine_that_speaks_https_is_found_without_being_told(kind: str, tls: TLS) -> None:
    with start(tls=(tls.cert, tls.key)) if kind == "embedded" else GUARDED[kind](tls=tls) as server:
        place = Registry(server.address, HttpClient(Network(ca_file=str(tls.ca)))).repository("acme/sentiment")
        put(place, package())
        assert read(place, package().layer) == LAYER


def test_a_flipped_byte_and_a_cut_blob_are_never_taken() -> None:
    built = package()
    for fault, error in ((Flip(offset=7), DigestMismatch), (Truncate(after=1000), ConnectionLost)):
        with start(faults=Faults(Rule(fault, "GET", "/blobs/"))) as server:
            place = Registry(server.address, client()).repository("acme/sentiment")
            put(place, built)
            with pytest.raises(error):
                read(place, built.layer)


def test_a_registry_that_stumbles_is_asked_again() -> None:
    built = package()
    stumbles = [Rule(Status(503), method, times=2) for method in ("GET", "HEAD", "POST")]
    with start(faults=Faults(*stumbles, Rule(Reset(after=1000, of="request"), "PUT", "/blobs/", times=1))) as server:
        place = Registry(server.address, HttpClient(Network(), sleep=lambda _: None)).repository("acme/sentiment")
        put(place, built)
        assert read(place, built.layer) == LAYER
