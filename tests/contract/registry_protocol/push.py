"""Clauses of distribution-spec 1.1.1, "Push": blobs whole and in chunks, and mounted."""

from __future__ import annotations

import re

from tests.contract.registry_protocol.place import (
    Answer,
    Place,
    clause,
    digest_of,
    expect,
    holds,
    located,
    same,
    with_query,
)

UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


def stored(place: Place, answer: Answer, data: bytes, algorithm: str = "sha256") -> None:
    """The push was accepted, and the blob can be pulled."""
    expect(answer, 201)
    same(expect(place.ask("GET", f"blobs/{digest_of(data, algorithm)}"), 200).body, data, "the body")


# --- whole ---


@clause("POST then PUT", "MUST", "a session is opened with 202 and a Location")
def a_session_is_opened(place: Place) -> None:
    located(expect(place.ask("POST", "blobs/uploads/", b""), 202))


@clause("POST then PUT", "MUST", "the Location contains a UUID, unique to the session")
def a_session_has_a_uuid(place: Place) -> None:
    found = [UUID.findall(place.session().replace(place.name, "")) for _ in range(2)]
    holds(all(found), "there is no UUID in the Location")
    holds(found[0] != found[1], "two sessions have the same id")


@clause("POST then PUT", "MUST", "the upload ends with 201, and the blob can be pulled")
def a_whole_blob_is_pushed(place: Place) -> None:
    data = b"whole " * 1000
    stored(place, place.close(place.session(), digest_of(data), data), data)


@clause("POST then PUT", "MUST", "the answer to the last request has a Location that the blob is pulled from")
def a_pushed_blob_has_a_location(place: Place) -> None:
    data = b"whole " * 1000
    answer = expect(place.close(place.session(), digest_of(data), data), 201)
    same(expect(place.ask("GET", located(answer)), 200).body, data, "the body")


@clause("POST then PUT", "MUST", "content that does not match the digest is refused with 400 and stays unknown")
def a_wrong_digest_is_refused(place: Place) -> None:
    claimed = digest_of(b"what was promised " + place.name.encode())
    expect(place.close(place.session(), claimed, b"what came"), 400)
    expect(place.ask("HEAD", f"blobs/{claimed}"), 404)


@clause("Pushing a blob in chunks", "MUST", "the closing request names the digest of the whole blob")
def a_close_without_digest_is_refused(place: Place) -> None:
    expect(place.ask("PUT", place.session(), b"bytes"), 400)


@clause("POST then PUT", "MUST", "a digest of another form is refused with 400")
def a_malformed_digest_is_refused(place: Place) -> None:
    for digest in ("sha256:short", "md5:d41d8cd98f00b204e9800998ecf8427e", "nonsense"):
        expect(place.close(place.session(), digest, b"bytes"), 400)


@clause("Single POST", "MUST", "one request pushes a blob (201), or opens a session (202)")
def a_blob_is_pushed_in_one_request(place: Place) -> None:
    data = b"at once " + place.name.encode()
    query = f"?digest={digest_of(data)}"
    answer = expect(place.ask("POST", f"blobs/uploads/{query}", data), 201, 202)
    if answer.status == 202:
        answer = expect(place.close(located(answer), digest_of(data), data), 201)
    stored(place, answer, data)


@clause("Single POST", "MUST", "content that does not match the digest is not accepted in one request")
def a_wrong_digest_is_refused_in_one_request(place: Place) -> None:
    claimed = digest_of(b"what was promised " + place.name.encode())
    expect(place.ask("POST", f"blobs/uploads/?digest={claimed}", b"what came"), 400, 202)
    expect(place.ask("HEAD", f"blobs/{claimed}"), 404)


@clause("Push", "MUST", "the same blob pushed again is accepted")
def a_blob_is_pushed_twice(place: Place) -> None:
    same(place.blob(b"twice"), place.blob(b"twice"), "the digest")


@clause("Pulling blobs", "MUST", "a blob may be named by sha512 as well")
def a_sha512_blob_is_pushed_and_pulled(place: Place) -> None:
    data = b"long digest"
    digest = place.blob(data, "sha512")
    same(expect(place.ask("GET", f"blobs/{digest}"), 200).body, data, "the body")


# --- in chunks ---


@clause("Pushing a blob in chunks", "MUST", "each chunk is answered with 202, Location, and Range of all received")
def chunks_are_accepted(place: Place) -> None:
    parts, location, offset = [b"a" * 1000, b"b" * 1000, b"c" * 7], place.session(), 0
    for part in parts:
        answer = expect(place.patch(location, part, offset), 202)
        offset += len(part)
        same(answer.headers.get("range"), f"0-{offset - 1}", "Range")
        location = located(answer)
    data = b"".join(parts)
    stored(place, place.close(location, digest_of(data)), data)


@clause("Pushing a blob in chunks", "MAY", "the last chunk comes with the closing request")
def the_last_chunk_closes(place: Place) -> None:
    first, last = b"a" * 1000, b"b" * 10
    location = located(expect(place.patch(place.session(), first, 0), 202))
    data, span = first + last, {"Content-Range": "1000-1009"}
    stored(place, place.close(location, digest_of(data), last, span), data)


@clause("Pushing a blob in chunks", "MUST", "a chunk that skips bytes is answered with 416")
def a_chunk_that_skips_is_refused(place: Place) -> None:
    location = located(expect(place.patch(place.session(), b"a" * 100, 0), 202))
    expect(place.patch(location, b"b" * 100, 200), 416)


@clause("Pushing a blob in chunks", "MUST", "the first chunk begins at 0")
def a_first_chunk_that_skips_is_refused(place: Place) -> None:
    expect(place.patch(place.session(), b"b" * 100, 100), 416)


@clause("Pushing a blob in chunks", "MUST", "a chunk that comes again is answered with 416")
def a_repeated_chunk_is_refused(place: Place) -> None:
    location = located(expect(place.patch(place.session(), b"a" * 100, 0), 202))
    expect(place.patch(location, b"a" * 100, 0), 416)


@clause("Pushing a blob in chunks", "NEXT", "a last chunk out of order is answered with 416")
def a_closing_chunk_that_skips_is_refused(place: Place) -> None:
    location = located(expect(place.patch(place.session(), b"a" * 100, 0), 202))
    data = b"a" * 100 + b"b" * 100
    expect(place.close(location, digest_of(data), b"b" * 100, {"Content-Range": "200-299"}), 416)


@clause("Pushing a blob in chunks", "MUST", "Content-Range is START-END; another form is refused")
def a_malformed_chunk_range_is_refused(place: Place) -> None:
    for wanted in ("bytes", "5", "9-1", "a-b"):
        expect(place.ask("PATCH", place.session(), b"12345", {"Content-Range": wanted}), 400, 416)


@clause("Pushing a blob in chunks", "OWN", "a chunk of another length than its Content-Range says leaves no bytes")
def a_chunk_of_another_length_is_refused(place: Place) -> None:
    location = place.session()
    answer = place.ask("PATCH", location, b"12345", {"Content-Range": "0-9"})
    same(expect(answer, 400).codes(), ["SIZE_INVALID"], "the codes")
    stored(place, place.close(location, digest_of(b"whole"), b"whole"), b"whole")


@clause("Pushing a blob in chunks", "MUST", "after a 416, GET tells Location and Range with 204, and the push goes on")
def a_push_goes_on_after_a_refused_chunk(place: Place) -> None:
    location = located(expect(place.patch(place.session(), b"a" * 100, 0), 202))
    expect(place.patch(location, b"b" * 100, 500), 416)
    answer = expect(place.ask("GET", location), 204)
    same(answer.headers.get("range"), "0-99", "Range")
    answer = expect(place.patch(located(answer), b"b" * 100, 100), 202)
    data = b"a" * 100 + b"b" * 100
    stored(place, place.close(located(answer), digest_of(data)), data)


@clause("Pushing a blob in chunks", "MUST", "the state of a session is told with 204, Location and Range")
def a_session_tells_its_state(place: Place) -> None:
    location = located(expect(place.patch(place.session(), b"a" * 100, 0), 202))
    answer = expect(place.ask("GET", location), 204)
    located(answer)
    same(answer.headers.get("range"), "0-99", "Range")


@clause("Pushing a blob in chunks", "MAY", "one PATCH without Content-Range streams a blob of unknown length")
def a_stream_is_accepted(place: Place) -> None:
    parts = [b"x" * 70_000] * 30
    location = located(expect(place.patch(place.session(), iter(parts)), 202))
    data = b"".join(parts)
    stored(place, place.close(location, digest_of(data)), data)


@clause("Endpoints", "MUST", "an unknown session is answered with 404 (end-5, end-6, end-13)")
def an_unknown_session_is_not_found(place: Place) -> None:
    location = place.session()
    place.close(location, digest_of(b"over"), b"over")
    expect(place.ask("GET", location), 404)
    expect(place.patch(location, b"more", 0), 404)
    expect(place.close(location, digest_of(b"more"), b"more"), 404)


@clause("Endpoints", "MUST", "a session belongs to the repository it was opened in")
def a_session_of_another_repository_is_not_found(place: Place) -> None:
    location, other = place.session(), place.another()
    other.blob(b"so that it exists")
    expect(place.ask("GET", location.replace(place.name, other.name)), 404)


@clause("Cancel a blob upload", "NEXT", "a session is given up with DELETE and 204")
def a_session_is_cancelled(place: Place) -> None:
    location = located(expect(place.patch(place.session(), b"a" * 100, 0), 202))
    expect(place.ask("DELETE", location), 204)
    expect(place.ask("GET", location), 404)


@clause("Pushing a blob in chunks", "NEXT", "the algorithm can be named when the session is opened")
def the_algorithm_is_named_beforehand(place: Place) -> None:
    data = b"sha512 from the first byte"
    location = place.session("?digest-algorithm=sha512")
    location = located(expect(place.patch(location, data, 0), 202))
    stored(place, place.close(location, digest_of(data, "sha512")), data, "sha512")


# --- mounted ---


@clause("Mounting a blob from another repository", "MUST", "a mount is answered with 201 and a Location to pull from")
def a_blob_is_mounted(place: Place) -> None:
    data, other = b"shared " + place.name.encode(), place.another()
    digest = place.blob(data)
    answer = other.ask("POST", f"blobs/uploads/?mount={digest}&from={place.name}", b"")
    same(expect(other.ask("GET", located(expect(answer, 201))), 200).body, data, "the body")
    stored(other, answer, data)


@clause("Mounting a blob from another repository", "SHOULD", "what cannot be mounted opens a session with 202")
def a_mount_of_nothing_opens_a_session(place: Place) -> None:
    data, other = b"never pushed there " + place.name.encode(), place.another()
    other.blob(b"so that it exists")
    answer = place.ask("POST", f"blobs/uploads/?mount={digest_of(data)}&from={other.name}", b"")
    stored(place, place.close(located(expect(answer, 202)), digest_of(data), data), data)


@clause("Mounting a blob from another repository", "MAY", "a mount from nowhere in particular is 201 or 202")
def a_mount_without_source_is_answered(place: Place) -> None:
    digest, other = place.blob(b"somewhere"), place.another()
    located(expect(other.ask("POST", f"blobs/uploads/?mount={digest}", b""), 201, 202))


@clause("Mounting a blob from another repository", "MUST", "deleting a mounted blob leaves the other repository's")
def a_mounted_blob_outlives_its_source(place: Place) -> None:
    data, other = b"two owners " + place.name.encode(), place.another()
    digest = place.blob(data)
    answer = other.ask("POST", f"blobs/uploads/?mount={digest}&from={place.name}", b"")
    if answer.status == 202:
        expect(other.ask("PUT", with_query(located(answer), digest=digest), data), 201)
    expect(place.ask("DELETE", f"blobs/{digest}"), 202, 400, 405)
    same(expect(other.ask("GET", f"blobs/{digest}"), 200).body, data, "the body")
