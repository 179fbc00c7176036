"""What is particular to oci-layout folders: other tools read and write them."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from installml.errors import NotFound, StoreUnusable
from installml.spec.canonical import JSONInvalid
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index, ManifestInvalid
from installml.spec.media import IMAGE_INDEX
from installml.store.layout import LayoutStore
from installml.testing import MemoryStore, package_bytes, small_package
from installml.transfer.copy import copy

REF = "org.opencontainers.image.ref.name"


def index(path: Path) -> list[dict[str, object]]:
    return json.loads((path / "index.json").read_bytes())["manifests"]


def test_a_layout_is_what_image_spec_says(tmp_path: Path) -> None:
    descriptor = small_package(LayoutStore(tmp_path / "out"), "1.0.0")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert json.loads((tmp_path / "out" / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert index(tmp_path / "out") == [descriptor.to_json() | {"annotations": {REF: "1.0.0"}}]


def test_a_folder_that_is_no_layout_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_bytes(b"mine")
    with pytest.raises(StoreUnusable, match="not empty"):
        small_package(LayoutStore(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("make", [False, True])
def test_reading_what_is_no_layout_is_not_found(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "out").mkdir()
    with pytest.raises(NotFound, match="not an OCI layout"):
        LayoutStore(tmp_path / "out").resolve("1.0.0")


def test_eight_threads_make_one_new_layout(tmp_path: Path) -> None:
    packed = [package_bytes({"own.bin": bytes([i])}, version=f"1.0.{i}") for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: one.push(LayoutStore(tmp_path / "out"), one.descriptor.digest.short), packed))
    assert LayoutStore(tmp_path / "out").tags() == sorted(one.descriptor.digest.short for one in packed)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_tag_on_top_of_another_keeps_one_entry_for_each(tmp_path: Path) -> None:
    place = LayoutStore(tmp_path)
    one, two = small_package(place, "a", "b"), small_package(place, version="2.0.0")
    place.tag(two, "a")
    entries = {(entry["digest"], entry.get("annotations", {}).get(REF)) for entry in index(tmp_path)}  # type: ignore[attr-defined]
    assert entries == {(str(one.digest), "b"), (str(two.digest), "a")}
    place.untag("b")
    assert place.resolve(str(one.digest)) == one


def test_entries_of_other_tools_stay_and_do_no_harm(tmp_path: Path) -> None:
    place = LayoutStore(tmp_path)
    ours = small_package(place, "1.0.0")
    theirs = [
        Descriptor.of(b"no manifest", "application/vnd.example.other.v1", annotations={"their": "own"}).to_json(),
        package_bytes(version="absent").descriptor.to_json() | {"platform": {"os": "linux", "architecture": "amd64"}},
    ]
    written = json.loads((tmp_path / "index.json").read_bytes())
    written["manifests"] += theirs
    written["unknown"] = {"their": "field"}
    (tmp_path / "index.json").write_text(json.dumps(written))
    assert place.referrers(ours) == []
    place.tag(ours, "2.0.0")
    assert all(entry in index(tmp_path) for entry in theirs)
    assert place.tags() == ["1.0.0", "2.0.0"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"[]", ManifestInvalid),
        (b"{", JSONInvalid),
        (b'{"schemaVersion":2,"manifests":[],"mediaType":[]}', ManifestInvalid),
        (
            b'{"schemaVersion":2,"manifests":[],"mediaType":"application/vnd.oci.image.manifest"}',
            ManifestInvalid,
        ),
        (b'{"schemaVersion":2,"config":{},"layers":[]}', ManifestInvalid),
    ],
)
def test_an_index_that_is_none_is_refused_in_words(tmp_path: Path, data: bytes, error: type[Exception]) -> None:
    small_package(LayoutStore(tmp_path))
    (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(error, match=r"index\.json"):
        LayoutStore(tmp_path).tags()


def test_an_index_without_its_optional_media_type_is_read(tmp_path: Path) -> None:
    place = LayoutStore(tmp_path)
    descriptor = small_package(place, "1.0.0")
    written = json.loads((tmp_path / "index.json").read_bytes())
    del written["mediaType"]
    (tmp_path / "index.json").write_text(json.dumps(written))
    assert place.resolve("1.0.0") == descriptor


def test_an_index_of_packages_comes_out_of_a_layout_as_it_went_in(tmp_path: Path) -> None:
    source, place, back = MemoryStore(), LayoutStore(tmp_path), MemoryStore()
    children = (small_package(source), small_package(source, version="2.0.0"))
    data = Index(children).to_bytes()
    root = Descriptor.of(data, IMAGE_INDEX)
    source.push(root, io.BytesIO(data))
    copy(source, place, root, tags=["all"])
    copy(place, back, place.resolve("all"), tags=["all"])
    assert back._content == source._content


def test_a_deleted_manifest_is_listed_again_when_it_is_copied_again(tmp_path: Path) -> None:
    source, place = MemoryStore(), LayoutStore(tmp_path)
    descriptor = small_package(source)
    for _ in range(2):
        copy(source, place, descriptor)
        assert place.resolve(str(descriptor.digest)) == descriptor
        place.delete(descriptor)
