"""Provenance: the keys of SLSA v1 and in-toto's ResourceDescriptor, and no claim that nobody can make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import resource_descriptor_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor

from installml.attesting.facts import Facts
from installml.attesting.slsa import BUILD_TYPE, LOCAL_BUILDER, Run, provenance
from tests.unit.attesting.kit import HASH_A, HASH_B, bare, facts

GOLDEN = Path(__file__).parent / "golden" / "slsa.json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
RUN = Run("0.1.0", invocation="run-7", started=1_790_000_000, finished=1_790_000_060)


def made(about: Facts, run: Run = RUN) -> dict[str, Any]:
    return provenance(about, run)


def dependencies(about: Facts, run: Run = RUN) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in made(about, run)["buildDefinition"]["resolvedDependencies"]}


def test_the_golden_document_is_what_is_made() -> None:
    assert json.dumps(made(facts()), indent=2, ensure_ascii=False) + "\n" == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize("about", [facts, bare], ids=["full", "bare"])
def test_the_official_message_takes_every_key(about: Any) -> None:
    json_format.Parse(json.dumps(made(about())), provenance_pb2.Provenance())


def test_the_check_refuses_a_key_that_the_specification_does_not_know() -> None:
    with pytest.raises(json_format.ParseError):
        json_format.Parse(json.dumps({**made(facts()), "builder": {}}), provenance_pb2.Provenance())


def test_every_dependency_is_valid_by_in_totos_own_rules() -> None:
    for one in dependencies(facts()).values():
        message = json_format.Parse(json.dumps(one), resource_descriptor_pb2.ResourceDescriptor())
        ResourceDescriptor.copy_from_pb(message).validate()


# slsa.dev/spec/v1.0/provenance, "Schema": what is REQUIRED, and nothing that the specification does not know.
def test_the_required_keys_are_there_and_no_others() -> None:
    for document in (made(facts()), made(bare())):
        assert set(document) == {"buildDefinition", "runDetails"}
        definition, details = document["buildDefinition"], document["runDetails"]
        known = {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
        assert {"buildType", "externalParameters"} <= set(definition) <= known
        assert {"builder"} <= set(details) <= {"builder", "metadata", "byproducts"}
        assert set(details.get("metadata", {})) <= {"invocationId", "startedOn", "finishedOn"}
        assert definition["buildType"] == BUILD_TYPE


def test_recipe_lock_base_image_and_commit_are_pinned() -> None:
    about = facts()
    found = dependencies(about)
    assert found["recipe"]["digest"] == {"sha256": about.recipe.hex if about.recipe else ""}
    assert found["lock"]["digest"] == {"sha256": about.locked.hex if about.locked else ""}
    assert found["base"]["digest"] == {"sha256": HASH_B}
    assert found["image"]["digest"] == {"sha256": HASH_A}
    assert found["source"]["uri"] == f"git+https://git.example.com/acme/sentiment@{COMMIT}"
    assert found["source"]["digest"] == {"gitCommit": COMMIT}


def test_a_commit_that_the_builder_saw_wins_over_what_the_recipe_says() -> None:
    seen = "f" * 40
    assert dependencies(facts(), replace(RUN, commit=seen))["source"]["digest"] == {"gitCommit": seen}


def test_a_revision_that_is_no_commit_is_not_passed_off_as_one() -> None:
    assert "source" not in dependencies(replace(facts(), revision="main"))


def test_a_source_that_is_no_address_leaves_the_commit_alone() -> None:
    assert "uri" not in dependencies(replace(facts(), source="my laptop"))["source"]


def test_that_the_folder_may_have_been_changed_is_said() -> None:
    assert dependencies(facts())["source"]["annotations"] == {"worktree": "not compared"}


def test_a_build_without_a_service_names_no_service() -> None:
    assert made(facts())["runDetails"]["builder"]["id"] == LOCAL_BUILDER


def test_times_that_nobody_knows_are_left_out() -> None:
    assert "metadata" not in made(facts(), Run("0.1.0"))["runDetails"]
