"""Our client against a simulated registry of each family: a package of several MiB goes up and comes back."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

from installml.errors import InstallMLError
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import NameUnknown, RateLimited, Refused, RegistryError, TooLarge, Unsupported
from installml.registry.http import HostSettings, HttpClient, Network
from installml.registry.quirks import Family, Overrides
from installml.registry.repository import Registry, Repository
from installml.registry_server.faults import Faults, Reset, Rule
from installml.spec.descriptor import Descriptor
from installml.spec.media import MODEL_CONFIG, Role, layer_media_type
from installml.testing import MemoryStore, package_bytes
from installml.testing.quirky import QuirkyRegistry, body_cap, quirky
from installml.transfer import copy
from tests.unit.registry.serving import Time

NAME = "acme/sentiment"
WEIGHTS = bytes(range(256)) * (5 << 12) + b"and a bit"  # 5 MiB and a bit: above GHCR's cap and S3's floor
PACKAGE = package_bytes({"model.bin": WEIGHTS, "README.md": b"# sentiment\n"})
REFERRER = package_bytes({"note.txt": b"signed"}, name="note", subject=PACKAGE.descriptor)
TAKES = {"repositories": (NAME, "acme/other"), "types": (MODEL_CONFIG,)}

WHOLE_LIFE = [family for family in Family]


def client(time: Time | None = None, overrides: Overrides | None = None) -> HttpClient:
    time = time or Time()
    settings = HostSettings(overrides=overrides or Overrides())
    return HttpClient(Network(timeout=(5.0, 20.0)), lambda _: settings, clock=time, sleep=time.sleep)


def place(server: QuirkyRegistry, time: Time | None = None, overrides: Overrides | None = None) -> Repository:
    credentials = Fixed(Credentials("ann", "pencil"))
    return Registry(server.address, client(time, overrides), credentials).repository(NAME)


def memory() -> MemoryStore:
    store = MemoryStore()
    PACKAGE.push(store, "1.0.0")
    return store


def push(target: Repository, tags: tuple[str, ...] = ("1.0.0",)) -> None:
    copy(memory(), target, PACKAGE.descriptor, tags=tags)


def pull(source: Repository) -> MemoryStore:
    store = MemoryStore()
    copy(source, store, source.resolve("1.0.0"), tags=["1.0.0"])
    return store


def weights(store: MemoryStore) -> bytes:
    layer = next(blob for blob in PACKAGE.manifest.layers if blob.size == len(WEIGHTS))
    with store.fetch(layer) as stream:
        return stream.read()


@pytest.mark.parametrize("family", WHOLE_LIFE)
def test_a_package_goes_up_and_comes_back(family: Family) -> None:
    with quirky(family, **TAKES) as server:  # type: ignore[arg-type]
        push(place(server))
        assert weights(pull(place(server))) == WEIGHTS


@pytest.mark.parametrize("family", WHOLE_LIFE)
def test_the_family_is_known_after_a_push(family: Family) -> None:
    with quirky(family, **TAKES) as server:  # type: ignore[arg-type]
        target = place(server)
        push(target)
        assert target._at.registry.quirks.family is family


@pytest.mark.parametrize("family", WHOLE_LIFE)
def test_what_refers_to_a_package_is_found_again(family: Family) -> None:
    with quirky(family, **TAKES) as server:  # type: ignore[arg-type]
        push(place(server))
        REFERRER.push(place(server))
        (found,) = place(server).referrers(PACKAGE.descriptor)
        assert found.digest == REFERRER.descriptor.digest


@pytest.mark.parametrize("family", [Family.GAR, Family.ECR, Family.UNKNOWN])
def test_where_chunks_do_not_work_each_blob_is_one_put(family: Family) -> None:
    with quirky(family, **TAKES) as server:  # type: ignore[arg-type]
        push(place(server))
        asked = Counter(r.method for r in server.registry.requests if "/blobs/uploads/" in r.path and r.status < 400)
        assert (asked["POST"], asked["PUT"], asked["PATCH"]) == (3, 3, 0)


@pytest.mark.parametrize("family", [Family.ECR, Family.GHCR])
def test_a_blob_is_fetched_from_where_it_is_redirected_to_and_credentials_stay_behind(family: Family) -> None:
    with quirky(family, **TAKES) as server:  # type: ignore[arg-type]
        push(place(server))
        pull(place(server))
        assert server.storage is not None
        asked = server.storage.requests
        assert {r.method for r in asked} == {"GET"}
        assert not any(r.has_authorization for r in asked)
        assert {r.status for r in asked} <= {200, 206}


def test_a_signed_address_that_has_ended_is_not_used_again() -> None:
    with quirky(Family.GHCR) as server:
        push(place(server))
        source = place(server)
        pull(source)
        server.clock.advance(301)
        assert weights(pull(source)) == WEIGHTS


def test_a_repository_that_must_be_made_first_is_told_with_the_command() -> None:
    with quirky(Family.ECR) as server, pytest.raises(NameUnknown) as refused:
        push(place(server))
    assert "aws ecr create-repository" in refused.value.hint


@pytest.mark.parametrize(
    ("family", "setting"),
    [(Family.QUAY, "IGNORE_UNKNOWN_MEDIATYPES"), (Family.GITLAB, "GitLab takes only media types")],
)
def test_a_config_type_that_is_refused_is_told_with_the_setting(family: Family, setting: str) -> None:
    with quirky(family) as server, pytest.raises(Refused) as refused:
        push(place(server))
    assert setting in refused.value.hint


def test_a_full_quota_is_told_with_who_can_raise_it_and_the_blobs_are_there_for_the_next_try() -> None:
    with quirky(Family.HARBOR, quota=1 << 20) as server:
        with pytest.raises(RegistryError, match="configured upper limit") as refused:
            push(place(server))
        assert "administrator" in refused.value.hint
        assert all(place(server).exists(blob) for blob in PACKAGE.manifest.blobs)


@pytest.mark.parametrize(("family", "seconds"), [(Family.DOCKER_HUB, 30), (Family.ACR, 5)])
def test_a_registry_that_asks_to_wait_is_asked_again_after_so_long(family: Family, seconds: int) -> None:
    time = Time()
    with quirky(family, busy=2) as server:
        push(place(server))
        assert weights(pull(place(server, time))) == WEIGHTS
    assert [wait for wait in time.slept if wait >= seconds]


def test_an_identity_token_is_exchanged() -> None:
    with quirky(Family.ACR) as server:
        known = Fixed(Credentials(identity_token="identity"))
        target = Registry(server.address, client(), known).repository(NAME)
        push(target)
        assert "POST" in {r.method for r in server.registry.requests if r.path == "/oauth2/token"}


def test_a_token_that_ends_between_the_requests_of_a_push_is_replaced() -> None:
    with quirky(Family.HARBOR) as server:
        target = place(server)
        for descriptor, data in PACKAGE.content:
            target.push(descriptor, io.BytesIO(data))
            server.clock.advance(1801)
        target.tag(PACKAGE.descriptor, "1.0.0")
        assert weights(pull(place(server))) == WEIGHTS


@pytest.mark.parametrize("family", [Family.HARBOR, Family.ECR, Family.GHCR, Family.DOCKER_HUB, Family.UNKNOWN])
def test_a_registry_that_lists_no_repositories_says_so_and_nothing_breaks(family: Family) -> None:
    with quirky(family) as server, pytest.raises(InstallMLError):
        Registry(server.address, client(), Fixed(Credentials("ann", "pencil"))).catalog()


def test_lists_that_ignore_the_page_s_size_are_taken_whole() -> None:
    with quirky(Family.DISTRIBUTION2) as server:
        tags = tuple(f"v{n}" for n in range(30))
        push(place(server), ("1.0.0", *tags))
        assert set(place(server).tags()) == {"1.0.0", *tags}


@pytest.mark.parametrize("family", [Family.DISTRIBUTION2, Family.UNKNOWN])
def test_a_tag_that_cannot_be_removed_alone_is_told(family: Family) -> None:
    with quirky(family) as server:
        push(place(server))
        with pytest.raises(Unsupported):
            place(server).untag("1.0.0")


def test_what_is_mounted_is_not_sent_and_an_offered_upload_is_used() -> None:
    for family, puts in ((Family.ZOT, 0), (Family.GGCR, 3)):
        with quirky(family) as server:
            here = Registry(server.address, client())
            push(here.repository(NAME))
            before = len(server.registry.requests)
            copy(here.repository(NAME), here.repository("acme/other"), PACKAGE.descriptor)
            sent = [r for r in server.registry.requests[before:] if r.method == "PUT" and "/uploads/" in r.path]
            assert len(sent) == puts


def test_a_registry_that_never_stops_asking_to_wait_is_an_error_that_says_how_long() -> None:
    with quirky(Family.ACR, busy=1000) as server:
        push(place(server))
        with pytest.raises(RateLimited) as refused:
            pull(place(server))
    assert refused.value.retry_after == 5


LARGE = bytes(range(256)) * (13 << 12)  # 13 MiB
LARGE_BLOB = Descriptor.of(LARGE, layer_media_type(Role.WEIGHT))


def send_file(target: Repository, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(LARGE)
    with path.open("rb", buffering=0) as file:
        target.push_file(LARGE_BLOB, file, lambda _: None)


def bodies(server: QuirkyRegistry, method: str) -> list[int]:
    return [
        r.bytes_in for r in server.registry.requests if r.method == method and r.status in {201, 202} and r.bytes_in
    ]


def stored(target: Repository) -> bytes:
    with target.fetch(LARGE_BLOB) as stream:
        return stream.read()


@pytest.mark.parametrize("family", [Family.DISTRIBUTION2, Family.DISTRIBUTION3, Family.ZOT, Family.GHCR, Family.OURS])
def test_behind_a_proxy_that_caps_bodies_a_file_goes_up_in_chunks_below_every_cap(
    family: Family, tmp_path: Path
) -> None:
    with quirky(family, body_cap(6 << 20)) as server:
        target = place(server)
        send_file(target, tmp_path)
        assert stored(place(server)) == LARGE
        sent = bodies(server, "PATCH")
        assert sum(sent) == len(LARGE)
        assert max(sent) <= (4 << 20 if family is Family.GHCR else 6 << 20)


def test_chunks_that_ecr_answers_with_201_and_a_range_that_stands_still_all_arrive(tmp_path: Path) -> None:
    with quirky(Family.ECR, body_cap(6 << 20), repositories=(NAME,)) as server:
        send_file(place(server, overrides=Overrides(monolithic=False, chunk_max=6 << 20)), tmp_path)
        assert stored(place(server)) == LARGE
        assert min(bodies(server, "PATCH")[:-1]) >= 5 << 20


def test_where_chunks_do_not_work_a_cap_is_an_error_that_says_so(tmp_path: Path) -> None:
    with quirky(Family.GAR, body_cap(6 << 20)) as server, pytest.raises(TooLarge) as refused:
        send_file(place(server), tmp_path)
    assert "raise the limit" in refused.value.hint


def test_an_upload_to_ghcr_that_was_cut_goes_on_in_chunks_below_its_cap(tmp_path: Path) -> None:
    cut = Faults(Rule(Reset(after=5 << 20, of="request"), "PUT", "/blobs/uploads/", times=1))
    with quirky(Family.GHCR, cut) as server:
        send_file(place(server), tmp_path)
        assert stored(place(server)) == LARGE
        assert all(size <= 4 << 20 for size in bodies(server, "PATCH"))


def test_a_chunk_size_of_the_configuration_is_kept(tmp_path: Path) -> None:
    with quirky(Family.DISTRIBUTION3, body_cap(6 << 20)) as server:
        send_file(place(server, overrides=Overrides(chunk_max=1 << 20)), tmp_path)
        assert set(bodies(server, "PATCH")) == {1 << 20}
        assert stored(place(server)) == LARGE
