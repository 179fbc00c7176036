"""Locked Python packages against advisories of this machine: ranges as OSV and PEP 440 have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.scanning.advisories import by_package, check_pins, cvss3, load, parse, pins_of
from installml.scanning.content import folder_files
from installml.scanning.errors import AdvisoriesInvalid
from installml.scanning.package import Context, scan_package
from installml.scanning.scanners import SCANNERS


def advisory(*events: dict[str, str], name: str = "Acme_Lib", ident: str = "GHSA-1", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "PyPI", "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": list(events)}],
    }
    return {"id": ident, "summary": "It breaks.", "affected": [affected], **more}


def found(version: str, *documents: dict[str, Any], name: str = "acme-lib") -> list[str]:
    known = by_package(one for document in documents for one in parse(json.dumps(document).encode(), "x.json"))
    return [finding.rule.id for finding in check_pins([(name, version)], known, "requirements.lock")]


RANGE = advisory({"introduced": "1.2"}, {"fixed": "1.4.1"}, {"introduced": "2.0rc1"}, {"fixed": "2.0.post3"})


@pytest.mark.parametrize("version", ["1.2", "1.2.0", "1.4.0", "1.4.1rc1", "2.0rc1", "2.0", "2.0.post2"])
def test_a_version_in_a_range_is_affected(version: str) -> None:
    assert found(version, RANGE) == ["advisory-high"]


@pytest.mark.parametrize("version", ["1.1", "1.2rc1", "1.4.1", "1.10", "1.9.9", "2.0a1", "2.0.post3", "3", "0"])
def test_a_version_outside_is_not(version: str) -> None:
    assert found(version, RANGE) == []


def test_the_last_affected_version_is_affected() -> None:
    document = advisory({"introduced": "0"}, {"last_affected": "1.5"})
    assert found("1.5", document)
    assert not found("1.5.1", document)


def test_without_an_end_every_later_version_is_affected() -> None:
    assert found("99", advisory({"introduced": "0"}))


def test_versions_that_are_listed_singly_are_affected_whatever_their_form() -> None:
    document = advisory()
    document["affected"][0]["versions"] = ["2004d", "1.0"]
    assert found("2004d", document)
    assert found("1.0", document)
    assert not found("1.1", document)


def test_names_are_compared_as_python_does() -> None:
    assert found("1", advisory({"introduced": "0"}, name="ACME.lib"))


def test_other_ecosystems_and_withdrawn_advisories_do_not_count() -> None:
    other = advisory({"introduced": "0"})
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert not found("1", other, advisory({"introduced": "0"}, withdrawn="2025-01-01T00:00:00Z"))


def test_one_vulnerability_of_two_names_is_told_once() -> None:
    first = advisory({"introduced": "0"}, ident="GHSA-1", aliases=["CVE-2024-1", "PYSEC-1"])
    second = advisory({"introduced": "0"}, ident="PYSEC-1", aliases=["CVE-2024-1"])
    assert len(found("1", first, second)) == 1


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"database_specific": {"severity": "CRITICAL"}}, "advisory-critical"),
        ({"database_specific": {"severity": "MODERATE"}}, "advisory-medium"),
        (
            {"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]},
            "advisory-critical",
        ),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]}, "advisory-low"),
        ({"severity": [{"type": "CVSS_V3", "score": "nonsense"}]}, "advisory-high"),
        ({}, "advisory-high"),
    ],
)
def test_the_severity_is_what_the_database_or_the_score_says(more: dict[str, Any], rule: str) -> None:
    assert found("1", advisory({"introduced": "0"}, **more)) == [rule]


@pytest.mark.parametrize(
    ("vector", "score"),
    [  # examples of the CVSS v3.1 specification's own documents
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:3.1/AV:X", None),
    ],
)
def test_scores_are_those_of_the_specification(vector: str, score: float | None) -> None:
    assert cvss3(vector) == score


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.lock", "acme-lib==1.3 ; python_version >= '3' \\\n    --hash=sha256:aa\n"),
        ("requirements.txt", "# x\nAcme.Lib[extra]==1.3  # why\nother>=2\n"),
        ("uv.lock", 'version = 1\n[[package]]\nname = "acme-lib"\nversion = "1.3"\n'),
        ("poetry.lock", '[[package]]\nname = "acme_lib"\nversion = "1.3"\n'),
        ("pylock.toml", '[[packages]]\nname = "acme-lib"\nversion = "1.3"\n'),
    ],
)
def test_locks_of_the_usual_tools_are_read(name: str, text: str) -> None:
    assert ("acme-lib", "1.3") in pins_of(name, text.encode())


def test_a_package_is_compared_with_a_folder_of_advisories(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "a.json").write_text(json.dumps(RANGE))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "requirements.lock").write_text("acme-lib==1.3 --hash=sha256:aa\n")
    context = Context(licence="MIT", advisories=load(tmp_path / "db"))
    (finding,) = scan_package(folder_files(tmp_path / "m"), SCANNERS, context).findings
    assert finding.detail == "acme-lib 1.3: GHSA-1: It breaks."


def test_a_lock_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("[[")
    context = Context(licence="MIT", advisories={})
    assert [one.rule.id for one in scan_package(folder_files(tmp_path), SCANNERS, context).findings] == [
        "advisory-lock-unreadable"
    ]


@pytest.mark.parametrize("text", ["{", "[1]", '{"name": "x"}', '[{"id": 3}]'])
def test_what_is_no_advisory_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(AdvisoriesInvalid):
        load(tmp_path / "a.json")
    with pytest.raises(AdvisoriesInvalid):
        load(tmp_path / "nothing")


KEYS = ["id", "affected", "package", "ranges", "events", "versions", "severity", "aliases"]
JSON = st.recursive(
    st.none() | st.text(max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(JSON)
def test_any_document_is_read_or_refused(value: Any) -> None:
    try:
        list(parse(json.dumps(value).encode(), "x.json"))
    except AdvisoriesInvalid:
        pass
