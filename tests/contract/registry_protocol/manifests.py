"""Clauses of distribution-spec 1.1.1, "Pushing Manifests" and "Content Management"."""

from __future__ import annotations

from tests.contract.registry_protocol.place import (
    CONFIG,
    IMAGE,
    INDEX,
    LAYER,
    Place,
    clause,
    descriptor,
    digest_of,
    expect,
    index,
    located,
    manifest,
    same,
)

LIMIT = 4 << 20
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@clause("Pushing Manifests", "MUST", "a manifest is accepted by tag with 201, and pulled by tag and by digest")
def a_manifest_is_pushed_by_tag(place: Place) -> None:
    data = place.tagged("one")
    for reference in ("one", digest_of(data)):
        same(expect(place.read(reference), 200).body, data, "the body")


@clause("Pushing Manifests", "MUST", "a manifest is accepted by digest with 201")
def a_manifest_is_pushed_by_digest(place: Place) -> None:
    data = place.image()
    expect(place.put(digest_of(data), data), 201)
    same(expect(place.read(digest_of(data)), 200).body, data, "the body")


@clause("Pushing Manifests", "MUST", "the answer has a Location that the manifest is pulled from")
def a_pushed_manifest_has_a_location(place: Place) -> None:
    data = place.image()
    location = located(expect(place.put("one", data), 201))
    same(expect(place.ask("GET", location, headers={"Accept": IMAGE}), 200).body, data, "the body")


@clause("Pushing Manifests", "MUST", "exactly the bytes that came are kept")
def the_bytes_of_a_manifest_are_kept(place: Place) -> None:
    data = b"\n " + place.image() + b" \n\n"
    expect(place.put("one", data), 201)
    same(expect(place.read("one"), 200).body, data, "the body")


@clause("Pushing Manifests", "MUST", "the digest in the answer is the one that the client named")
def a_pushed_manifest_names_its_digest(place: Place) -> None:
    data = place.image()
    answer = expect(place.put(digest_of(data), data), 201)
    same(answer.headers.get("docker-content-digest"), digest_of(data), "Docker-Content-Digest")


@clause("Pushing Manifests", "MUST", "a manifest that does not match its digest is refused with 400")
def a_manifest_of_another_digest_is_refused(place: Place) -> None:
    data = place.image()
    expect(place.put(digest_of(b"another"), data), 400)


@clause("Pushing Manifests", "SHOULD", "parameters of Content-Type are ignored")
def parameters_of_the_type_are_ignored(place: Place) -> None:
    data = place.image()
    expect(place.put("one", data, f"{IMAGE}; charset=utf-8"), 201)
    same(place.read("one").headers.get("content-type"), IMAGE, "Content-Type")


@clause("Pushing Manifests", "MAY", "the list of blobs is empty")
def a_manifest_without_layers_is_accepted(place: Place) -> None:
    place.blob(b"{}")
    expect(place.put("one", manifest(descriptor(b"{}", CONFIG), [])), 201)


@clause("Pushing Manifests", "SHOULD", "a manifest of four megabytes is accepted")
def a_large_manifest_is_accepted(place: Place) -> None:
    place.blob(b"{}")
    config = descriptor(b"{}", CONFIG)
    empty = len(manifest(config, [], annotations={"pad": ""}))
    parts = {f"k{i}": "x" * 500_000 for i in range(7)}
    data = manifest(config, [], annotations=parts)
    data += b" " * (4_000_000 - len(data))
    same(len(data) > empty, True, "the padding")
    expect(place.put("one", data), 201)
    same(expect(place.read("one"), 200).body, data, "the body")


@clause("Pushing Manifests", "SHOULD", "a manifest over the registry's limit is answered with 413")
def a_manifest_over_the_limit_is_refused(place: Place) -> None:
    data = place.image()
    expect(place.put("one", data + b" " * (LIMIT + 1 - len(data))), 413)


@clause("Pushing Manifests", "MUST", "an index of manifests that are there is accepted")
def an_index_is_pushed(place: Place) -> None:
    data = place.tagged("one")
    listing = index([descriptor(data, IMAGE)])
    expect(place.put("all", listing, INDEX), 201)
    same(expect(place.read("all"), 200).body, listing, "the body")


@clause("Push", "MAY", "a manifest whose blobs are not there is refused; then with the code for it")
def a_manifest_with_missing_blobs_is_refused(place: Place) -> None:
    place.blob(b"{}")
    answer = place.put("one", manifest(descriptor(b"{}", CONFIG), [descriptor(b"never pushed", LAYER)]))
    same(expect(answer, 400, 404).codes(), ["MANIFEST_BLOB_UNKNOWN"], "the codes")


@clause("Push", "MAY", "an index whose manifests are not there is refused; then with the code for it")
def an_index_with_missing_manifests_is_refused(place: Place) -> None:
    answer = place.put("all", index([descriptor(b"never pushed", IMAGE)]), INDEX)
    same(expect(answer, 400, 404).codes(), ["MANIFEST_BLOB_UNKNOWN"], "the codes")


@clause("image-spec, Non-Distributable Layers", "SHOULD", "layers that live elsewhere need not be pushed")
def layers_from_elsewhere_are_not_asked_for(place: Place) -> None:
    place.blob(b"{}")
    layer = {**descriptor(b"from elsewhere", FOREIGN), "urls": ["https://example.com/layer"]}
    expect(place.put("one", manifest(descriptor(b"{}", CONFIG), [layer])), 201)


@clause("Pushing Manifests", "MUST", "what is no manifest is refused with 400")
def nonsense_is_no_manifest(place: Place) -> None:
    for data in (b"", b"nonsense", b"[]", b'{"schemaVersion":2}'):
        expect(place.put("one", data), 400)


@clause("Pushing Manifests", "MUST", "Content-Type is the mediaType that the manifest declares")
def a_manifest_of_another_type_is_refused(place: Place) -> None:
    expect(place.put("one", place.image(), INDEX), 400)


@clause("Pulling manifests", "MUST", "a tag is of the grammar; nothing is pushed under another name")
def a_malformed_tag_is_refused(place: Place) -> None:
    data = place.image()
    for tag in (".one", "-one", "a" * 129, "a%20b"):
        expect(place.put(tag, data), 400, 404)


@clause("Pulling manifests", "MUST", "a tag of 128 characters, and one with capitals, is a tag")
def unusual_tags_are_kept_apart(place: Place) -> None:
    first, second = place.image(annotations={"n": "1"}), place.image(annotations={"n": "2"})
    for tag, data in (("v1-rc", first), ("V1-RC", second), ("A" * 128, first), ("_" * 128, second)):
        expect(place.put(tag, data), 201)
    for tag, data in (("v1-rc", first), ("V1-RC", second), ("A" * 128, first), ("_" * 128, second)):
        same(expect(place.read(tag), 200).body, data, f"what {tag[:5]} names")


@clause("Definitions", "MUST", "a tag that is pushed again points to the new manifest, and the old one stays")
def a_tag_moves(place: Place) -> None:
    first, second = place.image(annotations={"n": "1"}), place.image(annotations={"n": "2"})
    expect(place.put("one", first), 201)
    expect(place.put("one", second), 201)
    same(expect(place.read("one"), 200).body, second, "the body")
    expect(place.read(digest_of(first)), 200)


@clause("Pushing Manifests", "MUST", "a manifest may be named by sha512 as well")
def a_sha512_manifest_is_pushed_and_pulled(place: Place) -> None:
    data = place.image()
    digest = digest_of(data, "sha512")
    expect(place.put(digest, data), 201)
    answer = expect(place.read(digest), 200)
    same(answer.body, data, "the body")
    same(answer.headers.get("docker-content-digest"), digest, "Docker-Content-Digest")


@clause("Pushing Manifests", "NEXT", "tags given beside the digest are all set and named in OCI-Tag")
def tags_are_given_as_parameters(place: Place) -> None:
    data = place.image()
    answer = expect(place.put(f"{digest_of(data)}?tag=1.2.3&tag=1.2&tag=latest", data), 201)
    same(answer.headers.get("oci-tag", "").replace(" ", "").split(","), ["1.2.3", "1.2", "latest"], "OCI-Tag")
    for tag in ("1.2.3", "1.2", "latest"):
        same(expect(place.read(tag), 200).body, data, "the body")


@clause("Push", "MUST", "a manifest with a subject that is not there is accepted")
def a_manifest_may_come_before_its_subject(place: Place) -> None:
    expect(place.put("one", place.image(subject=descriptor(b"not yet", IMAGE))), 201)


# --- Content Management ---


@clause("Deleting tags", "MUST", "a tag is deleted with 202 and gone, or deletion is disabled with 400 or 405")
def a_tag_is_deleted(place: Place) -> None:
    data = place.tagged("one", "two")
    if expect(place.ask("DELETE", "manifests/one"), 202, 400, 405).status == 202:
        expect(place.read("one"), 404)
        for reference in ("two", digest_of(data)):
            expect(place.read(reference), 200)


@clause("Deleting tags", "OWN", "a tag that does not exist is answered with 404")
def an_unknown_tag_cannot_be_deleted(place: Place) -> None:
    place.tagged("one")
    expect(place.ask("DELETE", "manifests/two"), 404)


@clause("Deleting Manifests", "MUST", "a manifest is deleted with 202, and every tag that points to it is gone")
def a_manifest_is_deleted(place: Place) -> None:
    data = place.tagged("one", "two")
    if expect(place.ask("DELETE", f"manifests/{digest_of(data)}"), 202, 400, 405).status == 202:
        for reference in ("one", "two", digest_of(data)):
            expect(place.read(reference), 404)


@clause("Deleting Manifests", "MUST", "a manifest of a repository that does not exist is answered with 404")
def nothing_is_deleted_from_no_repository(place: Place) -> None:
    expect(place.ask("DELETE", f"manifests/{digest_of(b'nothing')}"), 404)


@clause("Deleting Blobs", "MUST", "a blob is deleted with 202 and gone, or deletion is disabled with 400 or 405")
def a_blob_is_deleted(place: Place) -> None:
    digest = place.blob(b"for a while")
    if expect(place.ask("DELETE", f"blobs/{digest}"), 202, 400, 405).status == 202:
        expect(place.ask("GET", f"blobs/{digest}"), 404)


@clause("Deleting Blobs", "MUST", "a blob that is not there is answered with 404")
def an_unknown_blob_cannot_be_deleted(place: Place) -> None:
    place.blob(b"another")
    expect(place.ask("DELETE", f"blobs/{digest_of(b'nothing')}"), 404)


@clause("Deleting Blobs", "MUST", "a deleted blob can be pushed again")
def a_deleted_blob_comes_back(place: Place) -> None:
    digest = place.blob(b"for a while")
    place.ask("DELETE", f"blobs/{digest}")
    place.blob(b"for a while")
    expect(place.ask("GET", f"blobs/{digest}"), 200)
