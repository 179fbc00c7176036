"""OpenSSF Model Signing: a statement about every file of a model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from installml.digest import Digest
from installml.trust.bundle import parse_bundle
from installml.trust.errors import EvidenceInvalid
from installml.trust.oms import ModelFiles, build, read
from installml.trust.statement import OMS, Statement, Subject, parse_statement, statement_of

VECTORS = Path(__file__).parent / "vectors"
TEXTS = {"README.md": "4", "a/b.txt": "1", "a-b/c": "3", "a.txt": "2", ".gitattributes": "x"}
FILES = {path: Digest.of(text.encode()) for path, text in TEXTS.items()}


def signed() -> ModelFiles:
    return read(build("model", FILES.items()), "here")


def test_what_model_signing_signed_is_read() -> None:
    bundle = parse_bundle((VECTORS / "model-signing-ecdsa-p384.json").read_bytes(), "here")
    model = read(statement_of(bundle.envelope, "here"), "here")
    assert model.name == "model"
    assert model.differences(FILES) == []


def test_the_same_files_in_the_same_order_with_the_same_root_as_by_model_signing() -> None:
    bundle = parse_bundle((VECTORS / "model-signing-ecdsa-p384.json").read_bytes(), "here")
    theirs = statement_of(bundle.envelope, "here")
    ours = build("model", FILES.items())
    assert ours.subjects == theirs.subjects
    assert ours.predicate["resources"] == theirs.predicate["resources"]
    assert [each["name"] for each in ours.predicate["resources"]] == ["README.md", "a/b.txt", "a-b/c", "a.txt"]
    assert set(ours.predicate["serialization"]["ignore_paths"]) == set(
        theirs.predicate["serialization"]["ignore_paths"]
    )


def test_what_is_built_is_read() -> None:
    statement = parse_statement(build("model", FILES.items()).to_bytes(), "here")
    assert dict(read(statement, "here").files) == {path: FILES[path] for path in FILES if path != ".gitattributes"}


def test_each_kind_of_difference_is_named() -> None:
    found = {**FILES, "a.txt": Digest.of(b"9"), "new.py": Digest.of(b"")}
    del found["README.md"]
    assert signed().differences(found) == ["a.txt was changed", "README.md is missing", "new.py was not signed"]


def test_missing_files_are_no_difference_where_a_part_was_installed() -> None:
    assert signed().differences({"a.txt": FILES["a.txt"]}, subset=True) == []
    assert signed().differences({"a.txt": Digest.of(b"9")}, subset=True) == ["a.txt was changed"]


def test_files_of_git_and_the_signature_itself_are_not_covered() -> None:
    found = {**FILES, ".git/config": Digest.of(b""), "model.sig": Digest.of(b"")}
    assert signed().differences(found) == []


def test_a_signature_file_further_down_is_a_file_like_others() -> None:
    assert signed().differences({**FILES, "a/model.sig": Digest.of(b"")}) == ["a/model.sig was not signed"]


def test_a_name_that_begins_like_an_ignored_one_is_covered() -> None:
    assert signed().differences({**FILES, ".gitx": Digest.of(b"")}) == [".gitx was not signed"]


def test_an_ignored_file_that_is_listed_all_the_same_is_compared() -> None:
    statement = Statement(
        (Subject("m", (Digest("sha256", hashlib.sha256(bytes.fromhex(FILES["a.txt"].hex)).hexdigest()),)),),
        OMS,
        {
            "serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": ["a.txt"]},
            "resources": [{"name": "a.txt", "algorithm": "sha256", "digest": FILES["a.txt"].hex}],
        },
    )
    assert read(statement, "here").differences({"a.txt": Digest.of(b"9")}) == ["a.txt was changed"]


def test_files_without_a_sha256_are_refused_by_name() -> None:
    with pytest.raises(EvidenceInvalid, match=r"a\.txt has no sha256 digest"):
        build("model", [("a.txt", Digest.of(b"", "sha512"))])


@pytest.mark.parametrize("files", [[], [(".gitignore", FILES["a.txt"])], [("a", FILES["a.txt"])] * 2])
def test_nothing_and_twice_the_same_are_not_signed(files: list[tuple[str, Digest]]) -> None:
    with pytest.raises(EvidenceInvalid, match="needs files, each once"):
        build("model", files)


def changed(**change: Any) -> Statement:
    good = build("model", FILES.items())
    return Statement(
        change.get("subjects", good.subjects),
        change.get("kind", good.predicate_type),
        {
            "serialization": {**good.predicate["serialization"], **change.get("serialization", {})},
            "resources": change.get("resources", good.predicate["resources"]),
        },
    )


LISTED = build("model", FILES.items()).predicate["resources"]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another predicate": ({"kind": "https://model_signing/Digests/v0.1"}, "the predicate is"),
    "two subjects": ({"subjects": build("m", FILES.items()).subjects * 2}, "root digest"),
    "another root": ({"subjects": (Subject("model", (FILES["a.txt"],)),)}, "root digest"),
    "a file less": ({"resources": LISTED[1:]}, "root digest"),
    "no file": ({"resources": []}, "no file is named"),
    "a file twice": ({"resources": [*LISTED, LISTED[0]]}, "one twice"),
    "a digest that is none": ({"resources": [{**LISTED[0], "digest": "../x"}]}, "is not a sha256"),
    "another algorithm": ({"resources": [{**LISTED[0], "algorithm": "blake3"}]}, "algorithm"),
    "shards": ({"serialization": {"method": "shards"}}, "method"),
    "another hash": ({"serialization": {"hash_type": "blake2b"}}, "hash_type"),
    "symbolic links followed": ({"serialization": {"allow_symlinks": True}}, "symbolic links"),
    "everything ignored": ({"serialization": {"ignore_paths": ["."]}}, "leaves out the whole model"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_model_signature_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(EvidenceInvalid, match=reason):
        read(changed(**change), "here")
