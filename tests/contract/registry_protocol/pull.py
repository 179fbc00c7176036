"""Clauses of distribution-spec 1.1.1, "Pull", with RFC 9110 for ranges, and of "Determining Support"."""

from __future__ import annotations

from tests.contract.registry_protocol.place import (
    IMAGE,
    INDEX,
    Place,
    clause,
    digest_of,
    expect,
    holds,
    index,
    located,
    same,
    with_query,
)

ABSENT = digest_of(b"nobody ever pushed this")
DATA = bytes(range(256)) * 5


@clause("Determining Support", "MUST", "a registry that implements the specification answers 200 at /v2/")
def support_is_announced(place: Place) -> None:
    expect(place.ask("GET", "/v2/"), 200)


@clause("Pulling manifests", "MUST", "an existing manifest is given with 200, by its digest")
def a_manifest_is_pulled_by_digest(place: Place) -> None:
    data = place.tagged("one")
    same(expect(place.read(digest_of(data)), 200).body, data, "the body")


@clause("Pulling manifests", "MUST", "an existing manifest is given with 200, by its tag")
def a_manifest_is_pulled_by_tag(place: Place) -> None:
    data = place.tagged("one")
    same(expect(place.read("one"), 200).body, data, "the body")


@clause("Pulling manifests", "MUST", "a manifest that is not in the repository is answered with 404")
def an_unknown_manifest_is_not_found(place: Place) -> None:
    place.tagged("one")
    for reference in ("two", ABSENT):
        expect(place.read(reference), 404)
        expect(place.read(reference, "HEAD"), 404)


@clause("Pulling manifests", "MUST NOT", "a reference is nothing but a digest or a tag")
def another_form_of_reference_is_refused(place: Place) -> None:
    place.tagged("one")
    for reference in (".one", "-one", "a" * 129, "sha256:short", "one%40two"):
        expect(place.read(reference), 400, 404)


@clause("Pulling manifests", "SHOULD", "Content-Type is what the manifest was pushed with, without parameters")
def the_type_of_a_manifest_is_kept(place: Place) -> None:
    data = place.tagged("one")
    same(place.read("one").headers.get("content-type"), IMAGE, "Content-Type")
    listing = index([{"mediaType": IMAGE, "digest": digest_of(data), "size": len(data)}])
    expect(place.put("all", listing, INDEX), 201)
    same(place.read("all").headers.get("content-type"), INDEX, "Content-Type")


@clause("Pulling manifests", "SHOULD", "the answer carries the digest of the manifest")
def a_pulled_manifest_names_its_digest(place: Place) -> None:
    data = place.tagged("one")
    for reference in ("one", digest_of(data)):
        answer = expect(place.read(reference), 200)
        same(answer.headers.get("docker-content-digest"), digest_of(data), "Docker-Content-Digest")


@clause("Pulling manifests", "SHOULD", "a client says what it accepts; one that does not still gets the manifest")
def no_accept_header_is_needed(place: Place) -> None:
    data = place.tagged("one")
    same(expect(place.ask("GET", "manifests/one"), 200).body, data, "the body")


@clause("Pulling blobs", "MUST", "an existing blob is given with 200")
def a_blob_is_pulled(place: Place) -> None:
    digest = place.blob(DATA)
    same(expect(place.ask("GET", f"blobs/{digest}"), 200).body, DATA, "the body")


@clause("Pulling blobs", "SHOULD", "the answer carries the digest of the blob")
def a_pulled_blob_names_its_digest(place: Place) -> None:
    digest = place.blob(DATA)
    same(place.ask("GET", f"blobs/{digest}").headers.get("docker-content-digest"), digest, "Docker-Content-Digest")


@clause("Pulling blobs", "MUST", "a blob that is not in the repository is answered with 404")
def an_unknown_blob_is_not_found(place: Place) -> None:
    place.blob(DATA)
    expect(place.ask("GET", f"blobs/{ABSENT}"), 404)


@clause("Pulling blobs", "MUST", "a blob that only another repository has is not found")
def a_blob_belongs_to_its_repository(place: Place) -> None:
    digest = place.blob(b"only in one place " + place.name.encode())
    other = place.another()
    other.blob(b"so that the repository exists")
    expect(other.ask("GET", f"blobs/{digest}"), 404)
    expect(other.ask("HEAD", f"blobs/{digest}"), 404)


@clause("Pulling blobs", "MUST", "an empty blob is a blob")
def an_empty_blob_is_pulled(place: Place) -> None:
    digest = place.blob(b"")
    same(expect(place.ask("GET", f"blobs/{digest}"), 200).body, b"", "the body")


def _range(place: Place, wanted: str, first: int, last: int) -> None:
    digest = place.blob(DATA)
    answer = expect(place.ask("GET", f"blobs/{digest}", headers={"Range": f"bytes={wanted}"}), 206)
    same(answer.body, DATA[first : last + 1], "the body")
    same(answer.headers.get("content-range"), f"bytes {first}-{last}/{len(DATA)}", "Content-Range")
    same(answer.headers.get("content-length"), str(last + 1 - first), "Content-Length")


@clause("Pulling blobs", "SHOULD", "Range is supported (RFC 9110, 14.2): first and last byte")
def a_closed_range_is_served(place: Place) -> None:
    _range(place, "100-299", 100, 299)


@clause("Pulling blobs", "SHOULD", "Range is supported (RFC 9110, 14.2): one single byte")
def a_single_byte_is_served(place: Place) -> None:
    _range(place, "0-0", 0, 0)


@clause("Pulling blobs", "SHOULD", "Range is supported (RFC 9110, 14.2): from a byte to the end")
def an_open_range_is_served(place: Place) -> None:
    _range(place, "1000-", 1000, len(DATA) - 1)


@clause("Pulling blobs", "SHOULD", "Range is supported (RFC 9110, 14.2): the last so many bytes")
def a_suffix_range_is_served(place: Place) -> None:
    _range(place, "-10", len(DATA) - 10, len(DATA) - 1)


@clause("RFC 9110, 14.1.2", "HTTP", "a last byte behind the end means the end")
def a_range_beyond_the_end_is_shortened(place: Place) -> None:
    _range(place, "1200-99999", 1200, len(DATA) - 1)


@clause("RFC 9110, 15.5.17", "HTTP", "a range outside of the blob is answered with 416 and the blob's size")
def a_range_outside_is_unsatisfiable(place: Place) -> None:
    digest = place.blob(DATA)
    answer = expect(place.ask("GET", f"blobs/{digest}", headers={"Range": f"bytes={len(DATA)}-"}), 416)
    same(answer.headers.get("content-range"), f"bytes */{len(DATA)}", "Content-Range")


@clause("RFC 9110, 15.5.17", "HTTP", "the Content-Length of a 416 is its own, not the blob's")
def an_unsatisfiable_range_has_its_own_length(place: Place) -> None:
    digest = place.blob(DATA)
    answer = place.ask("GET", f"blobs/{digest}", headers={"Range": f"bytes={len(DATA)}-"})
    same(answer.headers.get("content-length", str(len(answer.body))), str(len(answer.body)), "Content-Length")


@clause("RFC 9110, 14.2", "HTTP", "a Range header that is no range is ignored")
def a_malformed_range_is_ignored(place: Place) -> None:
    digest = place.blob(DATA)
    for wanted in ("bytes=9-1", "lines=0-1", "bytes=a-b", "bytes"):
        same(expect(place.ask("GET", f"blobs/{digest}", headers={"Range": wanted}), 200).body, DATA, wanted)


@clause("RFC 9110, 14.2", "OWN", "several ranges at once are answered with the whole")
def several_ranges_are_the_whole(place: Place) -> None:
    digest = place.blob(DATA)
    answer = expect(place.ask("GET", f"blobs/{digest}", headers={"Range": "bytes=0-1,5-9"}), 200)
    same(answer.body, DATA, "the body")


@clause("RFC 9110, 13.1.5", "HTTP", "If-Range with another ETag makes Range ignored")
def a_changed_etag_gives_the_whole(place: Place) -> None:
    digest = place.blob(DATA)
    headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
    same(expect(place.ask("GET", f"blobs/{digest}", headers=headers), 200).body, DATA, "the body")


@clause("Checking if content exists in the registry", "MUST", "HEAD of an existing blob is 200, of another 404")
def a_blob_is_checked(place: Place) -> None:
    digest = place.blob(DATA)
    same(expect(place.ask("HEAD", f"blobs/{digest}"), 200).body, b"", "the body")
    expect(place.ask("HEAD", f"blobs/{ABSENT}"), 404)


@clause("Checking if content exists in the registry", "MUST", "HEAD of an existing manifest is 200")
def a_manifest_is_checked(place: Place) -> None:
    data = place.tagged("one")
    for reference in ("one", digest_of(data)):
        same(expect(place.read(reference, "HEAD"), 200).body, b"", "the body")


@clause("Checking if content exists in the registry", "SHOULD", "HEAD tells digest and size")
def a_check_tells_digest_and_size(place: Place) -> None:
    digest, data = place.blob(DATA), place.tagged("one")
    blob, manifest = place.ask("HEAD", f"blobs/{digest}"), place.read("one", "HEAD")
    for answer, name, size in ((blob, digest, len(DATA)), (manifest, digest_of(data), len(data))):
        expect(answer, 200)
        same(answer.headers.get("docker-content-digest"), name, "Docker-Content-Digest")
        same(answer.headers.get("content-length"), str(size), "Content-Length")


@clause("RFC 9110, 9.3.2", "HTTP", "HEAD has the headers of GET")
def head_mirrors_get(place: Place) -> None:
    digest = place.blob(DATA)
    place.tagged("one")
    accept = {"Accept": IMAGE}
    for tail in (f"blobs/{digest}", "manifests/one"):
        head, get = (
            {name: value for name, value in place.ask(method, tail, headers=accept).headers.items() if name != "date"}
            for method in ("HEAD", "GET")
        )
        same(head, get, f"the headers of {tail}")


@clause("RFC 9110, 15.5.6", "HTTP", "a method that means nothing there is answered with 405 and what is allowed")
def a_wrong_method_is_refused(place: Place) -> None:
    digest = place.blob(DATA)
    for tail in (f"blobs/{digest}", "tags/list", "manifests/one"):
        answer = expect(place.ask("POST", tail, b""), 405)
        holds("GET" in answer.headers.get("allow", ""), f"Allow is {answer.headers.get('allow')!r}")


@clause("Pulling blobs", "MUST", "what is being uploaded cannot be pulled before it is whole and verified")
def an_unfinished_blob_is_not_found(place: Place) -> None:
    data = b"half and half " + place.name.encode()
    location = place.session()
    location = located(expect(place.patch(location, data), 202))
    expect(place.ask("GET", f"blobs/{digest_of(data)}"), 404)
    expect(place.ask("PUT", with_query(location, digest=digest_of(data)), b""), 201)
    expect(place.ask("GET", f"blobs/{digest_of(data)}"), 200)
