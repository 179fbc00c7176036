"""Mirrors give content and are never believed: what they cannot give, or give wrongly, comes from the registry."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from installml.api.pull import pull
from installml.config import load
from installml.digest import Digest
from installml.errors import NotFound, SettingInvalid
from installml.events import Event, Notice
from installml.reference import Reference
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import ConnectionLost, TransportError
from installml.registry.http import HostSettings, HttpClient, Network
from installml.registry.lines import Line
from installml.registry.mirrors import MirrorAddress, Mirrored, Mirrors, MirrorSettings
from installml.registry.quirks import Family
from installml.registry.repository import Registry
from installml.registry_server.faults import Fault, Faults, Flip, Rule, Status, Truncate
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.spec.media import Role, layer_media_type
from installml.testing import MemoryStore, RunningRegistry, package_bytes, start
from installml.testing.quirky import quirky
from installml.transfer import copy
from tests.unit.registry.serving import Time
from tests.unsigned import UNSIGNED

NAME = "acme/sentiment"
WEIGHTS = bytes(range(256)) * (3 << 12)
PACKAGE = package_bytes({"model.bin": WEIGHTS})
(LAYER,) = (layer for layer in PACKAGE.manifest.layers if layer.size == len(WEIGHTS))


def client() -> HttpClient:
    time = Time()
    return HttpClient(Network(timeout=(5.0, 20.0)), lambda _: HostSettings(), clock=time, sleep=time.sleep)


def put(server: RunningRegistry, name: str = NAME, tag: str = "1.0.0") -> None:
    target = Registry(server.address, client()).repository(name)
    for descriptor, data in PACKAGE.content:
        target.push(descriptor, io.BytesIO(data))
    if tag:
        target.tag(PACKAGE.descriptor, tag)
    server.requests.clear()


@dataclass
class Ground:
    """A registry that has the package, and what was told."""

    origin: RunningRegistry
    told: list[str]

    def place(self, *mirrors: str, resolve_tags: bool = False, credentials: Fixed | None = None) -> Mirrored:
        settings = MirrorSettings(tuple(map(MirrorAddress.parse, mirrors)), resolve_tags)
        shared = client()
        around = Mirrors(
            self.origin.address, settings, lambda host: Registry(host, shared, credentials), tell=self.told.append
        )
        return around.around(Registry(self.origin.address, shared).repository(NAME))


@pytest.fixture
def ground() -> Iterator[Ground]:
    with start() as origin:
        put(origin)
        yield Ground(origin, [])


def blobs(server: RunningRegistry) -> list[str]:
    return [f"{r.method} {r.range}".strip() for r in server.requests if "/blobs/" in r.path]


def whole(place: Mirrored, descriptor: Descriptor = LAYER) -> bytes:
    with place.fetch(descriptor) as stream:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))


def pulled(place: Mirrored) -> bytes:
    store = MemoryStore()
    copy(place, store, place.resolve("1.0.0"), tags=["1.0.0"])
    with store.fetch(LAYER) as stream:
        return stream.read()


def test_content_comes_from_the_mirror_and_the_tag_from_the_registry(ground: Ground) -> None:
    with start() as mirror:
        put(mirror)
        assert pulled(ground.place(mirror.address)) == WEIGHTS
        assert {r.path.rpartition("/")[2] for r in ground.origin.requests} == {"1.0.0"}
        assert blobs(mirror)
        assert ground.told == []


def test_a_mirror_below_a_prefix_is_asked_for_the_name_below_it(ground: Ground) -> None:
    with start() as mirror:
        put(mirror, f"hub-proxy/{NAME}")
        assert pulled(ground.place(f"http://{mirror.address}/hub-proxy/")) == WEIGHTS
        assert blobs(ground.origin) == []


def test_what_a_mirror_does_not_have_comes_from_the_registry_and_nobody_is_told(ground: Ground) -> None:
    with start() as mirror:
        assert pulled(ground.place(mirror.address)) == WEIGHTS
        assert ground.told == []


def test_mirrors_are_asked_in_their_order(ground: Ground) -> None:
    with start() as empty, start() as full:
        put(full)
        assert whole(ground.place(empty.address, full.address)) == WEIGHTS
        assert (blobs(empty), blobs(full), blobs(ground.origin)) == (["GET"], ["GET"], [])


def test_a_mirror_that_is_not_there_is_told_once_and_left_alone(ground: Ground) -> None:
    with start() as gone:
        pass
    place = ground.place(gone.address)
    assert (pulled(place), whole(place)) == (WEIGHTS, WEIGHTS)
    (told,) = ground.told
    assert f"the mirror {gone.address} was of no use" in told
    assert f"{ground.origin.address} is asked instead" in told


def test_wrong_bytes_of_a_mirror_are_fetched_again_from_the_registry(ground: Ground) -> None:
    with start(faults=Faults(Rule(Flip(70_000), "GET", "/blobs/"))) as mirror:
        put(mirror)
        assert pulled(ground.place(mirror.address)) == WEIGHTS
        (told,) = ground.told
        assert "wrong bytes" in told


def test_a_wrong_manifest_of_a_mirror_is_read_from_the_registry(ground: Ground) -> None:
    with start(faults=Faults(Rule(Flip(20), "GET", "/manifests/"))) as mirror:
        put(mirror, tag="")
        place = ground.place(mirror.address)
        assert place.resolve(str(PACKAGE.descriptor.digest)).digest == PACKAGE.descriptor.digest
        assert whole(place, PACKAGE.descriptor) == PACKAGE.content[-1][1]


def test_when_a_mirror_breaks_off_the_registry_gives_the_rest(ground: Ground) -> None:
    with start(faults=Faults(Rule(Truncate(1_500_000), "GET", "/blobs/"))) as mirror:
        put(mirror)
        assert whole(ground.place(mirror.address)) == WEIGHTS
        (asked,) = blobs(ground.origin)
        assert asked.startswith("GET bytes=")
        assert asked.endswith(f"-{len(WEIGHTS) - 1}")
        assert len(ground.told) == 1


def part(place: Mirrored, extent: Extent) -> bytes:
    with place.fetch_range(LAYER, extent) as span:
        return span.read()


def test_a_part_comes_from_the_mirror(ground: Ground) -> None:
    with start() as mirror:
        put(mirror)
        assert part(ground.place(mirror.address), Extent(1000, 5000)) == WEIGHTS[1000:5000]
        assert (blobs(mirror), blobs(ground.origin)) == (["GET bytes=1000-4999"], [])


def test_a_part_that_breaks_off_is_asked_for_again_at_the_registry_in_the_end(ground: Ground) -> None:
    with start(faults=Faults(Rule(Truncate(100), "GET", "/blobs/"))) as mirror:
        put(mirror)
        place = ground.place(mirror.address)
        for _ in range(3):  # its strikes
            with pytest.raises(ConnectionLost):
                part(place, Extent(1000, 5000))
        assert part(place, Extent(1000, 5000)) == WEIGHTS[1000:5000]
        assert blobs(ground.origin) == ["GET bytes=1000-4999"]


@pytest.mark.parametrize("late", [True, False])
def test_a_mirror_that_is_cut_off_is_blamed_only_when_it_was_late(late: bool, ground: Ground) -> None:
    line = Line()
    line.cut(late=late)
    with start() as mirror:
        put(mirror)
        place = ground.place(mirror.address)
        with line.held(), pytest.raises(TransportError):
            part(place, Extent(1000, 5000))
        assert len(ground.told) == late
        assert blobs(ground.origin) == []


def test_a_mirror_without_ranges_gives_no_parts_and_the_registry_does(ground: Ground) -> None:
    with start(faults=Faults(Rule(Status(416), "GET", "/blobs/"))) as mirror:
        put(mirror)
        assert part(ground.place(mirror.address), Extent(1000, 5000)) == WEIGHTS[1000:5000]


def test_whoever_finds_a_blob_wrong_gets_it_from_elsewhere_the_next_time(ground: Ground) -> None:
    with start() as mirror:
        put(mirror)
        place = ground.place(mirror.address)
        part(place, Extent(0, 5000))
        assert place.doubt(LAYER)
        part(place, Extent(0, 5000))
        assert blobs(ground.origin) == ["GET bytes=0-4999"]
        assert not place.doubt(LAYER)


def test_tags_come_from_a_mirror_only_where_that_is_allowed(ground: Ground) -> None:
    with start() as mirror:
        put(mirror)
        Registry(mirror.address, client()).repository(NAME).tag(PACKAGE.descriptor, "2.0.0")
        with pytest.raises(NotFound):
            ground.place(mirror.address).resolve("2.0.0")
        allowed = ground.place(mirror.address, resolve_tags=True)
        assert allowed.resolve("2.0.0").digest == PACKAGE.descriptor.digest


def test_who_refers_to_a_package_is_told_by_the_registry(ground: Ground) -> None:
    note = package_bytes({"note.txt": b"signed"}, name="note", subject=PACKAGE.descriptor)
    note.push(Registry(ground.origin.address, client()).repository(NAME))
    with start() as mirror:
        put(mirror)
        assert [r.digest for r in ground.place(mirror.address).referrers(PACKAGE.descriptor)] == [
            note.descriptor.digest
        ]


def test_nothing_is_pushed_to_a_mirror(ground: Ground) -> None:
    data = b"new weights"
    with start() as mirror:
        place = ground.place(mirror.address)
        place.push(Descriptor.of(data, layer_media_type(Role.WEIGHT)), io.BytesIO(data))
        place.tag(PACKAGE.descriptor, "1.0.1")
        assert {r.method for r in mirror.requests} <= {"GET", "HEAD"}
        assert "PUT" in {r.method for r in ground.origin.requests}


def test_a_mirror_gets_its_own_credentials_and_the_registry_s_stay_with_it(ground: Ground) -> None:
    with quirky(Family.GHCR) as guarded:
        credentials = Fixed(Credentials("ann", "pencil"))
        target = Registry(guarded.address, client(), credentials).repository(NAME)
        PACKAGE.push(target, "1.0.0")
        assert whole(ground.place(guarded.address, credentials=credentials)) == WEIGHTS
        assert not any(r.has_authorization for r in ground.origin.requests)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mirror.example.com", MirrorAddress("mirror.example.com")),
        ("https://Mirror.example.com:8443/a/b/", MirrorAddress("mirror.example.com:8443", "a/b")),
        ("http://127.0.0.1:4001", MirrorAddress("127.0.0.1:4001", plain=True)),
        ("[::1]:5000/proxy", MirrorAddress("[::1]:5000", "proxy")),
    ],
)
def test_a_mirror_is_written_as_a_host_or_an_address(text: str, address: MirrorAddress) -> None:
    assert MirrorAddress.parse(text) == address


@pytest.mark.parametrize(
    "text", ["", "ftp://a.example.com", "https://me:secret@a.example.com", "a.example.com:port", "a b"]
)
def test_what_is_no_mirror_is_refused_without_repeating_it(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mirror such as") as refused:
        MirrorAddress.parse(text)
    assert "secret" not in str(refused.value)


def configured(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return {
        "HOME": str(tmp_path),
        "INSTALLML_POLICY": UNSIGNED,
        "INSTALLML_HOME": str(tmp_path / "home"),
        "INSTALLML_CONFIG": str(file),
    }


def test_the_mirrors_of_the_configuration_are_used_by_a_session(ground: Ground, tmp_path: Path) -> None:
    events: list[Event] = []
    with ExitStack() as stack:
        gone, mirror = stack.enter_context(start()), stack.enter_context(start())
        gone.stop()
        put(mirror, f"proxy/{NAME}")
        text = f"""
[registries."{ground.origin.address}"]
mirrors = ["{gone.address}", "http://{mirror.address}/proxy"]
"""
        session = load(environ=configured(tmp_path, text), folder=tmp_path).session(events.append)
        place = session.remote(Reference.parse(f"{ground.origin.address}/{NAME}"))
        assert isinstance(place, Mirrored)
        assert whole(place) == WEIGHTS
        assert blobs(mirror) == ["GET"]
        assert [gone.address in event.message for event in events if isinstance(event, Notice)] == [True]


@pytest.mark.parametrize(
    "line",
    ['mirrors = ["https://a:b@c.example.com"]', 'family = "nobody"', 'chunk_max = "many"', "mirrors_resolve_tags = 3"],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_place(line: str, tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match=r"registry\.example\.com"):
        load(environ=configured(tmp_path, f'[registries."registry.example.com"]\n{line}\n'), folder=tmp_path)


def test_what_is_known_better_of_a_registry_reaches_its_settings(tmp_path: Path) -> None:
    text = '[registries."registry.example.com"]\nfamily = "ghcr"\nchunk_max = "2MiB"\nmonolithic = true\n'
    settings = load(environ=configured(tmp_path, text), folder=tmp_path).host_settings("registry.example.com")
    assert (settings.overrides.family, settings.overrides.chunk_max, settings.overrides.monolithic) == (
        Family.GHCR,
        2 << 20,
        True,
    )


BIG = package_bytes({"model.bin": bytes(range(256)) * (24 << 12)})  # 24 MiB: in parts


@pytest.mark.parametrize("fault", [None, Flip(7_000_000), Truncate(2_000_000), Status(404)], ids=str)
def test_a_package_in_parts_is_pulled_whole_whatever_the_mirror_does(fault: Fault | None, tmp_path: Path) -> None:
    rules = [Rule(fault, "GET", "/blobs/")] if fault else []
    with start() as origin, start(faults=Faults(*rules)) as mirror:
        BIG.push(Registry(origin.address, client()).repository(NAME), "1.0.0")
        BIG.push(Registry(mirror.address, client()).repository(NAME), "1.0.0")
        mirror.requests.clear()
        text = f'[registries."{origin.address}"]\nmirrors = ["{mirror.address}"]\n'
        session = load(environ=configured(tmp_path, text), folder=tmp_path).session()
        pulled = pull(f"{origin.address}/{NAME}:1.0.0", session=session)
        assert pulled.digest == BIG.descriptor.digest
        assert blobs(mirror)
        for blob in BIG.manifest.blobs:
            with session.local(Reference.parse(f"{origin.address}/{NAME}")).fetch(blob) as stream:
                assert Digest.of(stream.read()) == blob.digest
