"""Bills of materials in CycloneDX: valid by the project's own schema, complete, and the same for the same package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from installml.attesting.cyclonedx import MAX_HASHES, VERSIONS, bom
from installml.attesting.facts import Facts, Metric
from installml.runtime.lock import Pin
from installml.spec.canonical import canonical
from installml.spec.recipe import Base
from tests.unit.attesting.kit import BARE, HASH_A, HASH_B, NOWHERE, bare, cyclonedx_errors, facts

ELSEWHERE = "https://evil.example.com"  # nobody's: RFC 2606

GOLDEN = Path(__file__).parent / "golden" / "cyclonedx.json"
NOW = 1_790_000_000


def made(about: Facts, version: str = "1.6") -> dict[str, Any]:
    return bom(about, tool="0.1.0", timestamp=NOW, spec_version=version)


def values(document: dict[str, Any], name: str) -> list[str]:
    return [p["value"] for p in document["metadata"]["component"]["properties"] if p["name"] == name]


def of_type(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [component for component in document["components"] if component["type"] == kind]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("about", [facts, bare], ids=["full", "bare"])
def test_the_official_schema_accepts_it(about: Any, version: str) -> None:
    assert cyclonedx_errors(made(about(), version), version) == []


def test_the_check_refuses_what_the_schema_does_not_know() -> None:
    document = made(facts())
    document["metadata"]["component"]["modelcard"] = {}
    assert cyclonedx_errors(document)


def test_the_golden_document_is_what_is_made() -> None:
    assert json.dumps(made(facts()), indent=2, ensure_ascii=False) + "\n" == GOLDEN.read_text("utf-8")


def test_the_same_package_gives_the_same_bytes() -> None:
    assert canonical(made(facts())) == canonical(made(facts()))


def test_the_serial_number_is_the_manifests_and_nothing_elses() -> None:
    later = bom(facts(), tool="9.9.9", timestamp=NOW + 1, spec_version="1.7")
    assert later["serialNumber"] == made(facts())["serialNumber"]
    assert bare().digest != facts().digest
    assert made(bare())["serialNumber"] != made(facts())["serialNumber"]


def test_every_file_is_there_with_its_digest() -> None:
    about = facts()
    listed = {file["name"]: file["hashes"][0]["content"] for file in of_type(made(about), "file")}
    assert listed == {file.path: file.descriptor.digest.hex for file in about.files}


def test_the_locks_distributions_are_libraries_with_purl_and_every_hash() -> None:
    numpy, torch = of_type(made(facts()), "library")
    assert numpy["purl"] == "pkg:pypi/numpy@2.1.0"
    assert [h["content"] for h in numpy["externalReferences"][0]["hashes"]] == [HASH_A, HASH_B]
    assert torch["purl"] == "pkg:pypi/torch@2.5.1%2Bcpu"
    assert [h["content"] for h in torch["hashes"]] == [HASH_A]


def test_the_model_card_says_task_architecture_datasets_signature_and_metrics() -> None:
    document = made(facts())
    card = document["metadata"]["component"]["modelCard"]
    parameters = card["modelParameters"]
    assert parameters["task"] == "text-classification"
    assert (parameters["architectureFamily"], parameters["modelArchitecture"]) == ("bert", "transformer")
    assert parameters["inputs"] == [{"format": "x: FP32[-1, 64]"}]
    named = {c["bom-ref"]: c["name"] for c in of_type(document, "data")}
    assert [named[one["ref"]] for one in parameters["datasets"]] == ["https://example.com/imdb", "in-house reviews"]
    assert card["quantitativeAnalysis"]["performanceMetrics"][0] == {
        "type": "accuracy", "value": "0.931", "slice": "IMDB test",
    }  # fmt: skip


def test_the_base_model_is_an_ancestor_with_digest_and_relation() -> None:
    [ancestor] = made(facts())["metadata"]["component"]["pedigree"]["ancestors"]
    assert ancestor["name"] == "acme/base"
    assert ancestor["purl"] == f"pkg:oci/base@sha256:{HASH_B}?repository_url=ghcr.io/acme/base"
    assert {"name": "installml:relation", "value": "finetune"} in ancestor["properties"]


def test_hardware_engine_and_image_are_named() -> None:
    document = made(facts())
    assert values(document, "installml:engine") == ["onnxruntime"]
    assert json.loads(values(document, "installml:hardware")[0])["cpu"] == {"cores": 4}
    assert of_type(document, "container")[0]["version"] == f"sha256:{HASH_A}"


def test_purls_are_what_the_purl_project_makes_of_them() -> None:
    document = made(facts())
    purls = [component["purl"] for component in document["components"] if "purl" in component]
    for purl in (*purls, document["metadata"]["component"]["purl"]):
        assert PackageURL.from_string(purl).to_string() == purl


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apache-2.0", [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]),
        ("MIT OR Apache-2.0", [{"expression": "MIT OR Apache-2.0", "acknowledgement": "declared"}]),
        ("LicenseRef-llama3", [{"expression": "LicenseRef-llama3", "acknowledgement": "declared"}]),
        ("ask <bob@example.com>", [{"license": {"name": "ask <bob@example.com>", "acknowledgement": "declared"}}]),
    ],
)  # fmt: skip
def test_a_licence_is_an_identifier_an_expression_or_a_name(text: str, expected: list[Any]) -> None:
    document = made(replace(bare(), license=text))
    assert document["metadata"]["component"]["licenses"] == expected
    assert cyclonedx_errors(document) == []


def test_without_a_lock_nobody_claims_to_know_all_libraries() -> None:
    document = made(bare())
    assert of_type(document, "library") == []
    assert document["compositions"][1]["aggregate"] == "unknown"


def test_a_lock_that_cannot_be_read_is_incomplete_and_says_so() -> None:
    document = made(facts({**BARE, ".installml/requirements.lock": f"--index-url {ELSEWHERE}\n".encode()}))
    assert document["compositions"][1]["aggregate"] == "incomplete"
    assert "requirements.lock" in document["properties"][0]["value"]
    assert cyclonedx_errors(document) == []


def test_two_tar_layers_of_one_name_have_references_of_their_own() -> None:
    about = facts()
    doubled = replace(about, files=(*about.files, replace(about.files[0], form="tar")))
    references = [component["bom-ref"] for component in made(doubled)["components"]]
    assert len(set(references)) == len(references)


def test_a_library_for_two_markers_is_one_component() -> None:
    pins = (Pin("numpy", "2.1.0", "os_name == 'nt'", (HASH_A,)), Pin("numpy", "2.1.0", "os_name != 'nt'", (HASH_B,)))
    [numpy] = of_type(made(replace(bare(), libraries=pins)), "library")
    assert [p["value"] for p in numpy["properties"]] == ["os_name == 'nt'", "os_name != 'nt'"]


def test_hashes_beyond_the_cap_are_counted_and_not_listed() -> None:
    many = tuple(f"{number:064x}" for number in range(MAX_HASHES))
    pins = (Pin("big", "1.0", "", many), Pin("small", "1.0", "", (HASH_A, HASH_B)))
    document = made(replace(bare(), libraries=pins))
    big, small = of_type(document, "library")
    assert len(big["externalReferences"][0]["hashes"]) == MAX_HASHES
    assert small["properties"] == [{"name": "installml:hashes-left-out", "value": "2"}]


def test_ten_thousand_files_and_libraries_make_a_valid_document() -> None:
    about = bare()
    files = tuple(replace(about.files[0], path=f"weights/{number}") for number in range(10_000))
    pins = tuple(Pin(f"p{number}", "1.0", "", (HASH_A,)) for number in range(10_000))
    document = made(replace(about, files=files, libraries=pins))
    assert (len(of_type(document, "file")), len(of_type(document, "library"))) == (10_000, 10_000)
    assert len(canonical(document)) < 16 << 20


_TEXT = st.text(max_size=40) | st.sampled_from(
    ["javascript:alert(1)", "https://a b", "https://x/%zz", "https://[::1", "http://x#a#b", "urn:cdx:x", "\x1b[31m"]
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_TEXT, min_size=12, max_size=12))
def test_whatever_a_package_says_of_itself_the_document_is_valid(said: list[str]) -> None:
    about = replace(
        bare(), name=said[0] or "x", version=said[1], description=said[2], license=said[3], authors=(said[4],),
        source=said[5], usage=said[6], datasets=(said[7], said[5]), task=said[8], architecture=said[9],
        metrics=(Metric(said[10], said[11]),), base=Base("ghcr.io/acme/base"), gaps=(said[11],), reference=NOWHERE,
        files=(replace(bare().files[0], path=said[0] or "x"),),
    )  # fmt: skip
    assert cyclonedx_errors(made(about)) == []
