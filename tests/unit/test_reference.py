"""The grammar of names, case by case; round trips are in tests/property."""

from __future__ import annotations

import pytest

from installml.digest import Digest
from installml.errors import ReferenceInvalid
from installml.reference import LOCAL, Location, Reference, check_repository, check_tag, parse_location

DIGEST = Digest.of(b"abc")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("sentiment", Reference("", "sentiment")),
        ("acme/sentiment:1.4.0", Reference("", "acme/sentiment", "1.4.0")),
        ("localhost/x", Reference("localhost", "x")),
        ("localhost:5000/x:y", Reference("localhost:5000", "x", "y")),
        ("localhost:5000", Reference("", "localhost", "5000")),
        ("ghcr.example/a/b/c", Reference("ghcr.example", "a/b/c")),
        ("127.0.0.1:5000/a", Reference("127.0.0.1:5000", "a")),
        ("[::1]:5000/a:b", Reference("[::1]:5000", "a", "b")),
        ("[fe80::1]/a", Reference("[fe80::1]", "a")),
        ("Registry.Example/a", Reference("Registry.Example", "a")),
        ("a.b", Reference("", "a.b")),
        ("a__b/c--d", Reference("", "a__b/c--d")),
        (f"acme/x@{DIGEST}", Reference("", "acme/x", "", DIGEST)),
        (f"h.example/acme/x:1@{DIGEST}", Reference("h.example", "acme/x", "1", DIGEST)),
        ("local/sentiment:1", Reference(LOCAL, "sentiment", "1")),
        ("local", Reference("", "local")),
    ],
)
def test_what_a_reference_means(text: str, reference: Reference) -> None:
    assert Reference.parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a ", " a", "a\n", "a b", "A/b", "acme/Sentiment", "/a", "a/", "a//b", "a:", ":a", "a:b:c", "a/b:c/d",
        "a@", f"a@{DIGEST}x", f"@{DIGEST}", f"a:b@{DIGEST}@{DIGEST}", "a@sha256:abc", "a___b", "a..b", "a._b", "-a",
        "a-", ".a", "a/../b", "h.example:0/a", "h.example:65536/a", "h.example:/a", "h.example:99999999999999999999/a",
        "[::1/a", "::1/a", "h..example/a", "-h.example/a", "a:" + "x" * 129, "a" * 256, "é", "a:é", "user@h.example/a",
        "https://h.example/a", "h.example:80:80/a", "a\x00b", "a\u202eb", "x:" + "9" * 5000 + "/a",
    ],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(ReferenceInvalid) as caught:
        Reference.parse(text)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("tag", ["^1.2", "~1.4", ">=1", "<2", "=1", "*"])
def test_a_range_in_the_tags_place_is_told_apart_from_a_bad_tag(tag: str) -> None:
    with pytest.raises(ReferenceInvalid, match="version range") as caught:
        Reference.parse(f"acme/x:{tag}")
    assert "installml tags" in caught.value.hint


def test_capitals_in_a_name_get_the_name_in_small_letters() -> None:
    with pytest.raises(ReferenceInvalid) as caught:
        check_repository("Acme/Sentiment")
    assert "acme/sentiment" in caught.value.hint


@pytest.mark.parametrize("tag", ["1", "_", "v1.0-rc.1_x", "A" * 128])
def test_tags(tag: str) -> None:
    assert check_tag(tag) == tag


def test_the_digest_decides_what_is_asked_for() -> None:
    assert Reference.parse("a").pointer == "latest"
    assert Reference.parse("a:1").pointer == "1"
    assert Reference.parse(f"a:1@{DIGEST}").pointer == str(DIGEST)


def test_another_tag_drops_the_digest_and_a_digest_keeps_the_tag() -> None:
    pinned = Reference.parse(f"h.example/a/b:1@{DIGEST}")
    assert str(pinned.with_tag("2")) == "h.example/a/b:2"
    assert pinned.with_tag("2").with_digest(DIGEST) == Reference("h.example", "a/b", "2", DIGEST)
    assert pinned.name == "b"


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("oci-layout:out", Location("oci-layout", path="out")),
        ("oci-layout:out:1.0", Location("oci-layout", path="out", tag="1.0")),
        ("oci-layout:/a/b:c/d", Location("oci-layout", path="/a/b:c/d")),
        ("oci-layout:/a/b:c/d:1", Location("oci-layout", path="/a/b:c/d", tag="1")),
        ("dir:model", Location("dir", path="model")),
        ("dir:/a:b", Location("dir", path="/a:b")),
        ("acme/x:1", Location("registry", Reference("", "acme/x", "1"))),
        ("dir", Location("registry", Reference("", "dir"))),
    ],
)
def test_what_a_location_means(text: str, location: Location) -> None:
    assert parse_location(text) == location
    assert str(location) == text


@pytest.mark.parametrize("text", ["oci-layout:", "dir:", "bundle:file/x", "oci-layout:out:-bad", "https://x"])
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(ReferenceInvalid):
        parse_location(text)


@pytest.mark.parametrize("text", ["oci-layout:out:1.0", "dir:model"])
def test_a_place_where_a_name_is_needed_is_told_how_it_gets_one(text: str) -> None:
    with pytest.raises(ReferenceInvalid, match="is a place") as caught:
        Reference.parse(text)
    assert f"installml copy {text} " in caught.value.hint
