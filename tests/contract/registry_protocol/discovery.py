"""Clauses of distribution-spec 1.1.1, "Content Discovery", "Error Codes" and "Warnings"."""

from __future__ import annotations

import re
from typing import Any

from tests.contract.registry_protocol.place import (
    CONFIG,
    IMAGE,
    INDEX,
    Answer,
    Place,
    clause,
    descriptor,
    digest_of,
    expect,
    holds,
    index,
    manifest,
    next_page,
    same,
)

TAGS = ("v1", "latest", "2.0", "beta", "10", "rc", "stable", "next", "old", "m", "d", "z")
KNOWN = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip
SBOM = "application/vnd.example.sbom.v1"


def tags(answer: Answer) -> list[str]:
    return expect(answer, 200).json()["tags"] or []


@clause("Listing Tags", "MUST", "tags are listed with 200 as JSON with the repository's name")
def tags_are_listed(place: Place) -> None:
    place.tagged("one", "two")
    answer = place.ask("GET", "tags/list")
    same(sorted(tags(answer)), ["one", "two"], "the list")
    same(answer.json()["name"], place.name, "the name")


@clause("Listing Tags", "MUST", "tags are in lexical order")
def tags_are_in_order(place: Place) -> None:
    place.tagged(*TAGS)
    same(tags(place.ask("GET", "tags/list")), sorted(TAGS), "the list")


@clause("Listing Tags", "MUST", "n limits the number of tags")
def tags_are_limited(place: Place) -> None:
    place.tagged("a", "b", "c")
    same(tags(place.ask("GET", "tags/list?n=2")), ["a", "b"], "the list")
    same(tags(place.ask("GET", "tags/list?n=9")), ["a", "b", "c"], "the list")


@clause("Listing Tags", "MUST", "n of zero gives an empty list without a Link")
def no_tags_are_asked_for(place: Place) -> None:
    place.tagged("a", "b")
    answer = place.ask("GET", "tags/list?n=0")
    same(tags(answer), [], "the list")
    holds("link" not in answer.headers, "there is a Link header")


@clause("Listing Tags", "MUST", "last gives the tags after it, with n or without")
def tags_after_one_are_listed(place: Place) -> None:
    place.tagged("a", "b", "c", "d")
    same(tags(place.ask("GET", "tags/list?n=2&last=a")), ["b", "c"], "the list")
    same(tags(place.ask("GET", "tags/list?last=b")), ["c", "d"], "the list")


@clause("Listing Tags", "MUST", "Link, if there is one, leads to the next page; the pages give every tag once")
def pages_give_every_tag_once(place: Place) -> None:
    place.tagged("a", "b", "c", "d", "e")
    found: list[str] = []
    page: str | None = "tags/list?n=2"
    while page and len(found) < 9:
        answer = place.ask("GET", page)
        more = tags(answer)
        found += more
        page = next_page(answer) or (f"tags/list?n=2&last={more[-1]}" if len(more) == 2 else None)
    same(sorted(found), ["a", "b", "c", "d", "e"], "all pages together")


@clause("Listing Tags", "MAY", "a Link leads to the next page")
def pages_of_tags_are_linked(place: Place) -> None:
    place.tagged("a", "b", "c")
    holds(next_page(place.ask("GET", "tags/list?n=2")), "there is no Link header")
    holds("link" not in place.ask("GET", "tags/list?n=3").headers, "a Link leads behind the last page")


@clause("Pushing Manifests", "MUST", "a repository that does not exist is answered with 404")
def the_tags_of_no_repository_are_not_found(place: Place) -> None:
    expect(place.ask("GET", "tags/list"), 404)


@clause("Listing Tags", "MAY", "a repository without tags has an empty list")
def a_repository_without_tags_is_listed(place: Place) -> None:
    data = place.image()
    expect(place.put(digest_of(data), data), 201)
    same(tags(place.ask("GET", "tags/list")), [], "the list")


@clause("Deleting tags", "MUST", "a deleted tag is not listed any more")
def a_deleted_tag_is_not_listed(place: Place) -> None:
    place.tagged("one", "two")
    if place.ask("DELETE", "manifests/one").status == 202:
        same(tags(place.ask("GET", "tags/list")), ["two"], "the list")


# --- referrers ---


def referrer(place: Place, subject: dict[str, Any], **more: Any) -> bytes:
    place.blob(b"{}")
    data = manifest(descriptor(b"{}", CONFIG), [], subject=subject, **more)
    expect(place.put(digest_of(data), data), 201)
    return data


def listed(answer: Answer) -> list[dict[str, Any]]:
    value = expect(answer, 200).json()
    same((value.get("schemaVersion"), value.get("mediaType")), (2, INDEX), "the index")
    return value["manifests"] or []


@clause("Pushing Manifests with Subject", "MUST", "OCI-Subject tells that the subject was processed")
def a_subject_is_acknowledged(place: Place) -> None:
    subject = descriptor(place.image(), IMAGE)
    answer = place.put("one", place.image(subject=subject))
    same(expect(answer, 201).headers.get("oci-subject"), subject["digest"], "OCI-Subject")


@clause("Listing Referrers", "MUST", "referrers are listed with 200 as an index of that type")
def referrers_are_listed(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    data = referrer(place, subject, artifactType=SBOM)
    answer = place.ask("GET", f"referrers/{subject['digest']}")
    found = listed(answer)
    same(answer.headers.get("content-type"), INDEX, "Content-Type")
    same([(one["digest"], one["size"], one["mediaType"]) for one in found], [(digest_of(data), len(data), IMAGE)], "it")


@clause("Listing Referrers", "MUST", "without referrers the list is empty, never 404")
def no_referrers_are_an_empty_list(place: Place) -> None:
    subject = digest_of(place.tagged("one"))
    same(listed(place.ask("GET", f"referrers/{subject}")), [], "the list")
    same(listed(place.ask("GET", f"referrers/{digest_of(b'unknown')}")), [], "the list")


@clause("Listing Referrers", "MUST", "a malformed digest is answered with 400")
def referrers_of_nonsense_are_refused(place: Place) -> None:
    place.tagged("one")
    expect(place.ask("GET", "referrers/sha256:short"), 400)


@clause("Listing Referrers", "MUST", "the type is the manifest's artifactType, or its config's media type")
def referrers_have_a_type(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    for more, wanted in (({"artifactType": SBOM}, SBOM), ({}, CONFIG)):
        data = referrer(place, subject, **more)
        types = {one["digest"]: one.get("artifactType") for one in listed(place.ask("GET", _of(subject)))}
        same(types.get(digest_of(data)), wanted, "artifactType")


@clause("Listing Referrers", "MUST", "an index refers as well; its type is its own or omitted")
def an_index_refers(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    typed, untyped = index([], subject=subject, artifactType=SBOM), index([], subject=subject)
    for data in (typed, untyped):
        expect(place.put(digest_of(data), data, INDEX), 201)
    types = {one["digest"]: one.get("artifactType") for one in listed(place.ask("GET", _of(subject)))}
    same(types, {digest_of(typed): SBOM, digest_of(untyped): None}, "the types")


@clause("Listing Referrers", "MUST", "annotations of the manifest are in the list")
def referrers_bring_their_annotations(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    referrer(place, subject, annotations={"org.example.by": "ann"})
    same([one.get("annotations") for one in listed(place.ask("GET", _of(subject)))], [{"org.example.by": "ann"}], "it")


@clause("Listing Referrers", "SHOULD", "artifactType filters, and then OCI-Filters-Applied MUST say so")
def referrers_are_filtered(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    wanted = referrer(place, subject, artifactType=SBOM)
    referrer(place, subject, artifactType="application/vnd.example.other.v1")
    answer = place.ask("GET", f"{_of(subject)}?artifactType={SBOM}")
    same([one["digest"] for one in listed(answer)], [digest_of(wanted)], "the list")
    same(answer.headers.get("oci-filters-applied"), "artifactType", "OCI-Filters-Applied")


@clause("Listing Referrers", "MUST", "a manifest pushed before its subject is listed too")
def an_early_referrer_is_listed(place: Place) -> None:
    image = place.image()
    data = referrer(place, descriptor(image, IMAGE))
    expect(place.put("one", image), 201)
    same([one["digest"] for one in listed(place.ask("GET", f"referrers/{digest_of(image)}"))], [digest_of(data)], "it")


@clause("Listing Referrers", "MUST", "a deleted manifest refers to nothing")
def a_deleted_referrer_is_not_listed(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    data = referrer(place, subject)
    if place.ask("DELETE", f"manifests/{digest_of(data)}").status == 202:
        same(listed(place.ask("GET", _of(subject))), [], "the list")


@clause("Listing Referrers", "MUST", "the list is that of the repository")
def referrers_belong_to_their_repository(place: Place) -> None:
    image = place.tagged("one")
    referrer(place, descriptor(image, IMAGE))
    other = place.another()
    other.tagged("one")
    same(listed(other.ask("GET", f"referrers/{digest_of(image)}")), [], "the list")


@clause("Listing Referrers", "MUST", "a list that fits no manifest continues behind a Link, each descriptor once")
def many_referrers_are_paged(place: Place) -> None:
    subject = descriptor(place.tagged("one"), IMAGE)
    pushed = {digest_of(referrer(place, subject, annotations={"n": str(n), "pad": "x" * 900_000})) for n in range(6)}
    found, page = [], _of(subject)
    for _ in range(6):
        answer = place.ask("GET", page)
        holds(len(answer.body) <= 4 << 20, "one page is larger than a manifest may be")
        found += [one["digest"] for one in listed(answer)]
        following = next_page(answer)
        if following is None:
            break
        page = following
    same(sorted(found), sorted(pushed), "all pages together")


def _of(subject: dict[str, Any]) -> str:
    return f"referrers/{subject['digest']}"


# --- errors and warnings ---


def refusals(place: Place) -> dict[str, Answer]:
    place.tagged("one")
    absent = digest_of(b"absent")
    return {
        "BLOB_UNKNOWN": place.ask("GET", f"blobs/{absent}"),
        "MANIFEST_UNKNOWN": place.ask("GET", f"manifests/{absent}"),
        "NAME_UNKNOWN": place.another().ask("GET", "tags/list"),
        "MANIFEST_INVALID": place.put("two", b"nonsense"),
        "DIGEST_INVALID": place.close(place.session(), absent, b"other"),
        "BLOB_UPLOAD_UNKNOWN": place.ask("GET", "blobs/uploads/7d0ae4a2-5b0e-4f86-9c0b-0f7a4ddcd9f3"),
    }


@clause("Error Codes", "MUST", "a JSON error has the specified form and one of the specified codes")
def errors_have_the_specified_form(place: Place) -> None:
    for code, answer in refusals(place).items():
        if "json" in answer.headers.get("content-type", ""):
            holds(answer.codes(), f"{code}: the body has another form: {answer.body[:100]!r}")
            holds(set(answer.codes()) <= KNOWN, f"{code}: {answer.codes()} is not among the specified codes")


@clause("Error Codes", "SHOULD", "the code is the one that describes the condition")
def errors_have_the_right_code(place: Place) -> None:
    for code, answer in refusals(place).items():
        same(answer.codes(), [code], "the code")


MALFORMED = ("UPPER/case", "-a", "a..b", "a/_b")


@clause("Pulling manifests", "MUST", "a name of another form is refused")
def a_malformed_name_is_refused(place: Place) -> None:
    for name in MALFORMED:
        expect(place.ask("GET", f"/v2/{name}/tags/list"), 400, 404)
        expect(place.ask("POST", f"/v2/{name}/blobs/uploads/", b""), 400, 404)


@clause("Error Codes", "SHOULD", "the code for a name of another form is NAME_INVALID")
def a_malformed_name_has_its_code(place: Place) -> None:
    for name in MALFORMED:
        same(place.ask("GET", f"/v2/{name}/tags/list").codes(), ["NAME_INVALID"], f"the code for {name[:20]!r}")


@clause("Pulling manifests", "OWN", "no form of path leads out of a repository")
def a_path_leads_nowhere_else(place: Place) -> None:
    for tail in (
        "..%2f..%2fetc/tags/list",
        "..%2f/manifests/one",
        "a%00b/tags/list",
        "a/blobs/..%2f..%2fregistry.json",
    ):
        expect(place.ask("GET", f"/v2/{tail}"), 301, 400, 404)


@clause("Warnings", "MUST", "a Warning has code 299 and agent -, without a date")
def warnings_have_the_specified_form(place: Place) -> None:
    for answer in refusals(place).values():
        text = answer.headers.get("warning", '299 - "none"')
        holds(re.fullmatch(r'299 - "(?:[^"\\]|\\.)*"', text), f"Warning is {text!r}")
