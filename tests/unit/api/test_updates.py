"""Updates fetch what differs, mending fetches what is damaged; bytes are counted in the registry's log."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from installml.api.cache import CacheDamaged, cache_gc, cache_verify
from installml.api.index import index
from installml.api.info import info
from installml.api.install import install
from installml.api.pull import pull
from installml.api.push import push
from installml.api.repair import cache_repair
from installml.api.session import Session
from installml.api.tags import remove
from installml.digest import Digest
from installml.registry_server import RequestRecord, RunningRegistry
from installml.spec.chunks import ANNOTATION_BLOB, CHUNK_INDEX, CHUNK_INDEX_LAYER, ChunkIndex
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import EMPTY, IMAGE_MANIFEST
from installml.testing import package_bytes
from tests.unit.api.kit import Asked, Heard
from tests.unit.transfer.weights import MIB, layers, safetensors, write

BASE = layers(8)
MODEL = "model.safetensors"


class Place:
    """A registry, the machine that pushes and the one that pulls."""

    def __init__(self, registry: RunningRegistry, open_session: Callable[..., Session], folder: Path) -> None:
        self.registry = registry
        self.heard = Heard()
        self.ours = open_session("ours")
        self.theirs = open_session("theirs", on_event=self.heard)
        self._folder = folder

    def ref(self, version: str) -> str:
        return f"{self.registry.address}/acme/large:{version}"

    def push(self, version: str, files: Mapping[str, bytes]) -> None:
        push(write(self._folder / version, files, version), self.ref(version), session=self.ours)

    def pull(self, version: str) -> list[RequestRecord]:
        with Asked(self.registry) as asked:
            pull(self.ref(version), session=self.theirs)
        return asked.requests

    def blob(self, digest: Digest) -> Path:
        return self.theirs.store.blobs.path(digest)

    def weights(self, version: str) -> Descriptor:
        files = info(self.ref(version), session=self.theirs).files
        found = max(files, key=lambda file: file.size)
        return Descriptor("application/octet-stream", found.digest, found.size)


@pytest.fixture
def place(registry: RunningRegistry, open_session: Callable[..., Session], tmp_path: Path) -> Place:
    return Place(registry, open_session, tmp_path)


def sent(requests: list[RequestRecord]) -> int:
    return sum(request.bytes_out for request in requests)


def indexes_asked(requests: list[RequestRecord]) -> list[str]:
    return [request.path for request in requests if "/referrers/" in request.path]


def test_an_edited_header_costs_a_thousandth(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    edited = safetensors(BASE, note="another licence", format="pt")
    place.push("2.0.0", {MODEL: edited})
    assert sent(place.pull("2.0.0")) <= len(edited) / 1000
    assert place.blob(place.weights("2.0.0").digest).read_bytes() == edited


def test_a_merged_adapter_costs_little_more_than_the_tensors_that_it_changed(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    changed = {f"{n}.{name}": 1 for n in (2, 5) for name in "qv"}
    place.push("2.0.0", {MODEL: safetensors(layers(8, changed))})
    assert sent(place.pull("2.0.0")) <= 1.25 * sum(len(BASE[name]) for name in changed)


def test_trained_last_layers_cost_little_more_than_they_have(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    changed = {name: 1 for name in BASE if name[0] in "67"}
    place.push("2.0.0", {MODEL: safetensors(layers(8, changed))})
    assert sent(place.pull("2.0.0")) <= 1.25 * sum(len(BASE[name]) for name in changed)


def test_of_many_files_only_the_changed_one_is_fetched(place: Place) -> None:
    files = {f"{n}.txt": f"{n}".encode() * 1000 for n in range(50)}
    place.push("1.0.0", files)
    place.pull("1.0.0")
    place.push("2.0.0", {**files, "7.txt": b"changed"})
    read = [request.path for request in place.pull("2.0.0") if "/blobs/" in request.path]
    assert any(str(Digest.of(b"changed")) in path for path in read)
    assert len(read) == 3  # and the recipe and the config, which tell the version


def test_a_first_pull_asks_for_no_index(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    assert indexes_asked(place.pull("1.0.0")) == []


def test_pushing_again_sends_nothing_and_asks_three_questions(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    with Asked(place.registry) as asked:
        push(place.ref("1.0.0"), session=place.theirs)
    assert sum(request.bytes_in for request in asked.requests) == 0
    assert len(asked.requests) <= 3


def test_an_update_says_before_what_it_fetches(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    changed = {"2.q": 1, "5.q": 1}
    place.push("2.0.0", {MODEL: safetensors(layers(8, changed))})
    update = info(place.ref("2.0.0"), from_="1.0.0", session=place.theirs).update
    assert update is not None
    assert 2 * MIB <= update.size <= 2.2 * MIB
    assert update.files == 2  # the weights, and the recipe with its version
    place.pull("1.0.0")
    planned = install(place.ref("2.0.0"), dry_run=True, runtime=False, session=place.theirs)
    assert planned.moved == update.size
    before = [request for request in place.pull("2.0.0") if "/blobs/" in request.path and request.bytes_out > 5000]
    assert sum(request.bytes_out for request in before) <= planned.moved


def test_a_lying_index_costs_bytes_and_never_a_wrong_one(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    weights = place.weights("1.0.0")
    honest = place.ours.store.chunks.read(weights.digest, weights.size)
    assert honest is not None
    data = random.Random(5).randbytes(honest.size)
    packed = package_bytes({MODEL: data}, version="2.0.0")
    packed.push(place.ours.remote(place.theirs.qualify(place.ref("2.0.0"))), "2.0.0")
    lie = ChunkIndex(Digest.of(data), honest.bounds, honest.digests)
    _publish(place, packed.descriptor, lie.to_bytes(), Digest.of(data))
    place.pull("2.0.0")
    assert place.blob(Digest.of(data)).read_bytes() == data


def _publish(place: Place, subject: Descriptor, data: bytes, blob: Digest) -> None:
    layer = Descriptor.of(data, CHUNK_INDEX_LAYER, annotations={ANNOTATION_BLOB: str(blob)})
    manifest = Manifest(Descriptor.of(b"{}", EMPTY), (layer,), CHUNK_INDEX, subject=subject.bare()).to_bytes()
    remote = place.ours.remote(place.theirs.qualify(place.ref("2.0.0")))
    for descriptor, content in (
        (layer, data),
        (Descriptor.of(b"{}", EMPTY), b"{}"),
        (Descriptor.of(manifest, IMAGE_MANIFEST), manifest),
    ):
        remote.push(descriptor, io.BytesIO(content))


def test_an_index_is_made_for_what_another_tool_pushed_and_is_the_one_that_push_makes(place: Place) -> None:
    data = safetensors(BASE)
    packed = package_bytes({MODEL: data}, version="1.0.0")
    packed.push(place.ours.remote(place.ours.qualify(place.ref("1.0.0"))), "1.0.0")
    made = index(place.ref("1.0.0"), session=place.ours)
    assert (made.files, made.unchanged) == (1, False)
    assert made.size <= 50 * len(data) / MIB
    again = index(place.ref("1.0.0"), session=place.theirs)
    assert (again.unchanged, again.chunks_digest) == (True, made.chunks_digest)


def test_a_collection_removes_the_index_of_what_is_gone(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    weights = place.weights("1.0.0")
    index(place.ref("1.0.0"), session=place.theirs)
    assert place.theirs.store.chunks.path(weights.digest).exists()
    remove(place.ref("1.0.0"), local=True, session=place.theirs)
    cache_gc(session=place.theirs)
    assert not place.theirs.store.chunks.path(weights.digest).exists()


# -- other tools' caches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["hub", "ollama"])
def test_what_another_tool_has_is_not_fetched_and_its_cache_stays_as_it_was(
    owner: str, place: Place, open_session: Callable[..., Session], tmp_path: Path
) -> None:
    data = safetensors(BASE)
    place.push("1.0.0", {MODEL: data})
    hex_ = Digest.of(data).hex
    names = {"hub": f"models--acme--large/blobs/{hex_}", "ollama": f"blobs/sha256-{hex_}"}
    cached = tmp_path / "cache" / names[owner]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(data)
    cached.chmod(0o644)
    variable = {"hub": "HF_HUB_CACHE", "ollama": "OLLAMA_MODELS"}[owner]
    session = open_session("cached", environ={variable: str(tmp_path / "cache")})
    with Asked(place.registry) as asked:
        result = pull(place.ref("1.0.0"), session=session)
    assert result.seeded == len(data)
    assert sent(asked.requests) < 20_000
    status = cached.stat()
    assert (status.st_mode & 0o777, status.st_nlink, cached.read_bytes() == data) == (0o644, 1, True)


def test_a_damaged_cache_of_another_tool_is_told_and_not_used(
    place: Place, open_session: Callable[..., Session], tmp_path: Path
) -> None:
    data = safetensors(BASE)
    place.push("1.0.0", {MODEL: data})
    cached = tmp_path / "cache" / "blobs" / f"sha256-{Digest.of(data).hex}"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"\0" + data[1:])
    heard = Heard()
    session = open_session("cached", ollama_caches=(tmp_path / "cache",), on_event=heard)
    assert pull(place.ref("1.0.0"), session=session).seeded == 0
    assert any("is not what its name says" in notice for notice in heard.notices)
    assert session.store.blobs.path(Digest.of(data)).read_bytes() == data


# -- repair -----------------------------------------------------------------------------------------------------------


def damage(path: Path, *offsets: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))
    path.chmod(0o444)


def test_only_the_chunks_that_are_wrong_are_fetched(place: Place) -> None:
    data = safetensors(BASE)
    place.push("1.0.0", {MODEL: data})
    place.pull("1.0.0")
    path = place.blob(Digest.of(data))
    damage(path, 5 * MIB, 5 * MIB + 1, 20 * MIB)
    with Asked(place.registry) as asked:
        result = cache_repair(session=place.theirs)
    assert sent(asked.requests) <= 4 * MIB
    assert [(blob.digest, blob.fetched <= 4 * MIB) for blob in result.mended] == [(Digest.of(data), True)]
    assert path.read_bytes() == data
    assert cache_verify(session=place.theirs).damaged == ()


@pytest.mark.parametrize("cut", [0, 12 * MIB])
def test_a_blob_that_is_short_is_fetched_again(cut: int, place: Place) -> None:
    data = safetensors(BASE)
    place.push("1.0.0", {MODEL: data})
    place.pull("1.0.0")
    path = place.blob(Digest.of(data))
    path.chmod(0o644)
    path.write_bytes(data[:cut])
    cache_repair(place.ref("1.0.0"), session=place.theirs)
    assert path.read_bytes() == data


def test_without_an_index_the_blob_is_fetched_whole(place: Place) -> None:
    data = random.Random(2).randbytes(9 * MIB)
    packed = package_bytes({"model.bin": data}, version="1.0.0")
    packed.push(place.ours.remote(place.ours.qualify(place.ref("1.0.0"))), "1.0.0")
    place.pull("1.0.0")
    damage(place.blob(Digest.of(data)), 100)
    assert cache_repair(session=place.theirs).moved == len(data)
    assert place.blob(Digest.of(data)).read_bytes() == data


def test_a_small_blob_and_a_manifest_are_mended(place: Place) -> None:
    place.push("1.0.0", {"weights.bin": b"w" * 5000})
    place.pull("1.0.0")
    damage(place.blob(Digest.of(b"w" * 5000)), 7)
    manifest = info(place.ref("1.0.0"), session=place.theirs).digest
    damage(place.blob(manifest), 7)
    cache_repair(session=place.theirs)
    cache_repair(session=place.theirs)  # what a damaged manifest names is looked at when it is sound again
    assert cache_verify(session=place.theirs).damaged == ()


def test_installed_files_that_share_the_damage_are_mended_with_it(place: Place) -> None:
    data = safetensors(BASE)
    place.push("1.0.0", {MODEL: data})
    installed = install(place.ref("1.0.0"), runtime=False, session=place.theirs)
    file = Path(installed.path) / MODEL
    damage(file, 3 * MIB)
    cache_repair(session=place.theirs)
    assert file.read_bytes() == data
    assert place.blob(Digest.of(data)).read_bytes() == data
    assert oct(file.stat().st_mode & 0o777) == "0o444"
    assert oct(file.parent.stat().st_mode & 0o777) == "0o555"


def test_what_cannot_be_mended_is_told_with_the_reason(place: Place) -> None:
    place.push("1.0.0", {MODEL: safetensors(BASE)})
    place.pull("1.0.0")
    damage(place.blob(place.weights("1.0.0").digest), 5)
    place.registry.stop()
    with pytest.raises(CacheDamaged, match="could not be mended"):
        cache_repair(session=place.theirs)
