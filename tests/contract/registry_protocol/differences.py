"""What other registries are known to do otherwise, clause by clause, and the table of it for people.

The integration test puts each registry to every clause and demands exactly these differences: one that is gone, or a
new one, is a change in somebody's registry (or in a clause) that our client may have to hear of.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path

from tests.contract.registry_protocol.clauses import TABLE
from tests.contract.registry_protocol.place import ClauseBroken, Place, Wire

__all__ = ["BEGIN", "END", "KNOWN", "observe", "section"]

BEGIN = "<!-- registry differences: begin (written by tests/contract/registry_protocol/differences.py) -->"
END = "<!-- registry differences: end -->"

REFERRERS = (
    "referrers_are_listed",
    "no_referrers_are_an_empty_list",
    "referrers_of_nonsense_are_refused",
    "referrers_have_a_type",
    "an_index_refers",
    "referrers_bring_their_annotations",
    "referrers_are_filtered",
    "an_early_referrer_is_listed",
    "a_deleted_referrer_is_not_listed",
    "referrers_belong_to_their_repository",
    "many_referrers_are_paged",
)
_NO_REFERRERS = {
    **dict.fromkeys(REFERRERS, "404: no referrers API"),
    "a_subject_is_acknowledged": "no OCI-Subject, since there is no referrers API",
}
_DISTRIBUTION = {
    **_NO_REFERRERS,
    "no_accept_header_is_needed": "404 unless Accept names the OCI type",
    "several_ranges_are_the_whole": "206 multipart/byteranges",
    "a_manifest_over_the_limit_is_refused": "400 MANIFEST_INVALID",
    "layers_from_elsewhere_are_not_asked_for": "500 unless the configuration allows the layer's URLs",
    "a_sha512_manifest_is_pushed_and_pulled": "400: manifests by sha256 only",
    "tags_are_given_as_parameters": "the parameters are ignored",
    "a_repository_without_tags_is_listed": "404 NAME_UNKNOWN until there is a first tag",
    "a_malformed_name_is_refused": "202 for a first component in capitals, as if it were a host's name",
    "a_malformed_name_has_its_code": "NAME_UNKNOWN, or a plain 404",
}

KNOWN: Mapping[str, Mapping[str, str]] = {
    "distribution2": {
        **_DISTRIBUTION,
        "another_form_of_reference_is_refused": "500 when the tag is too long for a file name",
        "a_range_outside_is_unsatisfiable": "416 that promises the blob's Content-Length and breaks off",
        "an_unsatisfiable_range_has_its_own_length": "416 that promises the blob's Content-Length and breaks off",
        "a_malformed_range_is_ignored": "416 that promises the blob's Content-Length and breaks off",
        "a_chunk_that_skips_is_refused": "202: the order of chunks is not checked",
        "a_first_chunk_that_skips_is_refused": "202: the order of chunks is not checked",
        "a_repeated_chunk_is_refused": "202: the order of chunks is not checked",
        "a_closing_chunk_that_skips_is_refused": "201: the order of chunks is not checked",
        "a_push_goes_on_after_a_refused_chunk": "202: the order of chunks is not checked",
        "a_malformed_chunk_range_is_refused": "202: Content-Range is not read",
        "a_chunk_of_another_length_is_refused": "202: Content-Range is not read",
        "an_unknown_tag_cannot_be_deleted": "400: tags cannot be deleted",
        "tags_are_in_order": "the order of the file system",
        "tags_are_limited": "n is ignored",
        "no_tags_are_asked_for": "n is ignored",
        "tags_after_one_are_listed": "n and last are ignored",
        "pages_of_tags_are_linked": "one page always",
        "errors_have_the_right_code": "BLOB_UPLOAD_INVALID for an unknown session",
    },
    "distribution3": {
        **_DISTRIBUTION,
        "a_malformed_range_is_ignored": "416",
        "a_malformed_chunk_range_is_refused": "500",
        "pages_of_tags_are_linked": "a Link behind a page that happens to be the last",
    },
    "ggcr": {
        **_NO_REFERRERS,
        "a_blob_belongs_to_its_repository": "200: one pool of blobs for all repositories",
        "a_mounted_blob_outlives_its_source": "404: one pool of blobs, deleting takes it from all",
        "an_open_range_is_served": "416: first and last byte must both be given",
        "a_suffix_range_is_served": "416: first and last byte must both be given",
        "a_range_beyond_the_end_is_shortened": "416",
        "a_range_outside_is_unsatisfiable": "416 without Content-Range",
        "a_malformed_range_is_ignored": "206 of something",
        "several_ranges_are_the_whole": "206 of the first range",
        "a_changed_etag_gives_the_whole": "206: If-Range is not read",
        "head_mirrors_get": "HEAD has other headers than GET",
        "a_wrong_method_is_refused": "400 METHOD_UNKNOWN",
        "a_session_has_a_uuid": "session ids are numbers",
        "a_pushed_blob_has_a_location": "201 without Location",
        "a_pushed_manifest_has_a_location": "201 without Location",
        "a_sha512_blob_is_pushed_and_pulled": "201, then 404",
        "the_algorithm_is_named_beforehand": "201, then 404",
        "a_closing_chunk_that_skips_is_refused": "201: the order is checked for PATCH only",
        "a_chunk_of_another_length_is_refused": "202",
        "a_push_goes_on_after_a_refused_chunk": "400: no state of a session",
        "a_session_tells_its_state": "400: no state of a session",
        "an_unknown_session_is_not_found": "400: no state of a session",
        "a_session_of_another_repository_is_not_found": "400: no state of a session",
        "a_session_is_cancelled": "400",
        "a_blob_is_mounted": "202 always",
        "a_manifest_of_another_digest_is_refused": "201: the digest of a manifest is not checked",
        "parameters_of_the_type_are_ignored": "they come back in Content-Type",
        "a_manifest_over_the_limit_is_refused": "201: no limit",
        "a_manifest_with_missing_blobs_is_refused": "201: not checked",
        "an_index_with_missing_manifests_is_refused": "code MANIFEST_UNKNOWN",
        "nonsense_is_no_manifest": "201: not checked",
        "a_manifest_of_another_type_is_refused": "201: not checked",
        "a_malformed_tag_is_refused": "201: not checked",
        "a_sha512_manifest_is_pushed_and_pulled": "Docker-Content-Digest is the sha256",
        "tags_are_given_as_parameters": "the parameters are ignored",
        "a_manifest_is_deleted": "its tags stay",
        "an_unknown_blob_cannot_be_deleted": "500",
        "pages_of_tags_are_linked": "no Link: page with last",
        "errors_have_the_right_code": "nonsense is accepted as a manifest",
        "a_malformed_name_is_refused": "names are not checked",
        "a_malformed_name_has_its_code": "names are not checked",
    },
}
_TITLES = {"distribution2": "distribution 2.8", "distribution3": "distribution 3", "ggcr": "go-containerregistry"}


def observe(wire: Wire) -> dict[str, str]:
    """Put a registry to every clause; what it broke, with how it showed."""
    broken = {}
    for clause in TABLE:
        try:
            clause.check(Place.fresh(wire))
        except (ClauseBroken, http.client.HTTPException) as error:
            broken[clause.id] = f"{type(error).__name__}: {error}"
    return broken


def section() -> str:
    """The table for docs/registries.md, markers included."""
    lines = [f"| clause | level | {' | '.join(_TITLES.values())} |", "|---" * (2 + len(_TITLES)) + "|"]
    for clause in TABLE:
        cells = [KNOWN[kind].get(clause.id, "") for kind in _TITLES]
        if any(cells):
            lines.append(f"| {clause.section}: {clause.sentence} | {clause.level} | {' | '.join(cells)} |")
    kept = len(TABLE) - (len(lines) - 2)
    counts = ", ".join(f"{title} {len(TABLE) - len(KNOWN[kind])}" for kind, title in _TITLES.items())
    summary = (
        f"Of {len(TABLE)} clauses the embedded registry keeps {len(TABLE)}, {counts}. "
        f"The {kept} that all of them keep are left out; an empty cell is a clause that is kept."
    )
    return "\n".join([BEGIN, "", summary, "", *lines, "", END])


def _write() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "registries.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + section() + rest.partition(END)[2])


if __name__ == "__main__":
    _write()
