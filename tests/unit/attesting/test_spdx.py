"""SPDX 3 documents: what the SPDX project's own model reads, and the rules of the profiles that it does not check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.attesting.facts import Facts, Metric
from installml.attesting.spdx import document
from installml.spec.canonical import canonical
from installml.spec.recipe import Base
from tests.unit.attesting.kit import bare, facts, spdx_error

GOLDEN = Path(__file__).parent / "golden" / "spdx.json"
NO_ASSERTION = "expandedlicensing_NoAssertionLicense"


def made(about: Facts) -> dict[str, Any]:
    return document(about, tool="0.1.0", timestamp=1_790_000_000)


def elements(about: Facts, kind: str) -> list[dict[str, Any]]:
    return [element for element in made(about)["@graph"] if element["type"] == kind]


def related(about: Facts, kind: str) -> list[tuple[str, list[str]]]:
    """Return who is related to whom, by the last part of their names."""
    found = [one for one in elements(about, "Relationship") if one["relationshipType"] == kind]
    return [(one["from"].rpartition("#")[2], [to.rpartition("#")[2] for to in one["to"]]) for one in found]


def profiles(about: Facts) -> list[str]:
    [own] = elements(about, "SpdxDocument")
    return list(own["profileConformance"])


@pytest.mark.parametrize("about", [facts, bare], ids=["full", "bare"])
def test_the_projects_model_reads_it(about: Any) -> None:
    assert spdx_error(made(about())) == ""


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ai_AIPackage", {"software_primaryPurpose": "modell"}),
        ("ai_AIPackage", {"unknown": 1}),
        ("Relationship", {"to": []}),
        ("Relationship", {"to": ["https://example.com/nowhere"]}),
        ("CreationInfo", {"created": "2026"}),
    ],
)
def test_the_check_refuses_a_document_with_a_fault(kind: str, change: Mapping[str, Any]) -> None:
    wrong = made(facts())
    next(element for element in wrong["@graph"] if element["type"] == kind).update(change)
    assert spdx_error(wrong)


def test_the_golden_document_is_what_is_made() -> None:
    assert json.dumps(made(facts()), indent=2, ensure_ascii=False) + "\n" == GOLDEN.read_text("utf-8")


def test_the_same_package_gives_the_same_bytes() -> None:
    assert canonical(made(facts())) == canonical(made(facts()))


def test_every_element_has_a_name_of_its_own() -> None:
    names = [element["spdxId"] for element in made(facts())["@graph"][1:]]
    assert len(set(names)) == len(names)


# SPDX 3.0.1, "AI", "Profile conformance", 1 and 2; the same for "Dataset".
@pytest.mark.parametrize("kind", ["hasDeclaredLicense", "hasConcludedLicense"])
def test_model_and_datasets_have_exactly_one_licence_of_each_kind(kind: str) -> None:
    assert sorted(origin for origin, _ in related(facts(), kind)) == ["dataset-0", "dataset-1", "model"]


def test_nobody_concludes_a_licence_that_was_only_declared() -> None:
    assert related(facts(), "hasDeclaredLicense")[0] == ("model", ["license"])
    assert all(to == [NO_ASSERTION] for _, to in related(facts(), "hasConcludedLicense"))


# SPDX 3.0.1, "AIPackage", "External properties restrictions".
def test_the_ai_profile_is_claimed_where_all_that_it_demands_is_known() -> None:
    [model] = elements(facts(), "ai_AIPackage")
    demanded = {
        "releaseTime", "suppliedBy", "software_downloadLocation", "software_packageVersion", "software_primaryPurpose",
    }  # fmt: skip
    assert demanded <= model.keys()
    assert "ai" in profiles(facts())


@pytest.mark.parametrize("unknown", [{"created": None}, {"authors": ()}, {"version": ""}])
def test_the_ai_profile_is_not_claimed_where_something_is_unknown(unknown: Mapping[str, Any]) -> None:
    assert "ai" not in profiles(replace(facts(), **unknown))


def test_the_ai_profile_is_not_claimed_for_a_package_that_no_registry_has() -> None:
    assert "ai" not in profiles(bare())


def test_the_dataset_profile_is_never_claimed_because_nobody_knows_when_a_dataset_was_built() -> None:
    assert "dataset" not in profiles(facts())


def test_the_model_contains_its_files_needs_its_libraries_and_comes_from_its_base() -> None:
    about = facts()
    [(_, files)] = related(about, "contains")
    assert len(files) == len(about.files)
    assert related(about, "dependsOn") == [("model", ["library-0", "library-1", "image"])]
    assert related(about, "descendantOf") == [("model", ["base"])]
    assert related(about, "trainedOn") == [("model", ["dataset-0", "dataset-1"])]


def test_files_have_their_digests() -> None:
    about = facts()
    hashes = {file["name"]: file["verifiedUsing"][0]["hashValue"] for file in elements(about, "software_File")}
    assert hashes == {file.path: file.descriptor.digest.hex for file in about.files}


def test_a_licence_that_spdx_does_not_know_is_a_reference_with_its_text_beside_it() -> None:
    expressions = elements(replace(bare(), license="ask Bob!"), "simplelicensing_LicenseExpression")
    assert (expressions[0]["simplelicensing_licenseExpression"], expressions[0]["comment"]) == (
        "LicenseRef-ask-Bob", "ask Bob!",
    )  # fmt: skip


_TEXT = st.text(max_size=40) | st.sampled_from(["https://a b", "https://x/%zz", "ftp://x", "\x00\x1b[31m"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_TEXT, min_size=10, max_size=10))
def test_whatever_a_package_says_of_itself_the_document_is_valid(said: list[str]) -> None:
    about = replace(
        bare(), name=said[0] or "x", version=said[1], description=said[2], license=said[3], authors=(said[4] or "x",),
        source=said[5], usage=said[6], datasets=(said[7] or "x", said[5] or "x"), task=said[8],
        metrics=(Metric(said[9] or "x", said[0] or "x"),), base=Base("ghcr.io/acme/base"),
        files=(replace(bare().files[0], path=said[0] or "x"),),
    )  # fmt: skip
    assert spdx_error(made(about)) == ""
