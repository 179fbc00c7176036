"""Violations: where, what, and did you mean."""

from __future__ import annotations

import pytest

from installml.errors import RecipeInvalid
from installml.spec.node import MAX_VIOLATIONS, Node
from installml.spec.recipe import parse_recipe, tag_of


def recipe_violations(**value: object) -> tuple[str, ...]:
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe({"name": "sentiment", "version": "1.0.0"} | value, "installml.yaml")
    return caught.value.violations


def test_a_recipe_tells_all_violations_at_once() -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe(
            {
                "name": "Bad Name",
                "licence": "MIT",
                "runtime": {"engine": "onnxrumtime", "tolerance": "x"},
                "hardware": [{"accelerator": {"vendor": "nvidia", "memory": "lots"}}, None],
                "files": {"include": ["../up", "ok/**"], "roles": {"*.py": "cod"}},
            },
            "installml.yaml",
        )
    assert caught.value.violations == (
        "unknown key 'licence', did you mean 'license'?",
        "'version' is missing",
        "name: 'Bad Name' is not a name (lowercase letters, digits, . _ - and /)",
        "files.roles['*.py']: 'cod' is not known, did you mean 'code'?",
        "files.include[0]: '../up' has a component '..'",
        "runtime.engine: 'onnxrumtime' is not known, did you mean 'onnxruntime'?",
        "runtime.tolerance: must be a number, not text",
        "hardware[1]: is empty",
        "hardware[0].accelerator.memory: 'lots' is not a size",
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [None, [], "name: x", 3, True])
def test_a_recipe_that_is_no_mapping_is_refused_in_words(value: object) -> None:
    with pytest.raises(RecipeInvalid, match="must be a mapping"):
        parse_recipe(value, "installml.yaml")


@pytest.mark.parametrize(
    ("key", "meant"),
    [("verison", "version"), ("descripton", "description"), ("Name", "name"), ("dataset", "datasets"), ("zzzzzz", "")],
)
def test_did_you_mean(key: str, meant: str) -> None:
    (violation,) = recipe_violations(**{key: "x"})
    assert violation == f"unknown key {key!r}" + (f", did you mean {meant!r}?" if meant else "")


def test_a_number_where_yaml_saw_one_is_told_apart_from_text() -> None:
    assert recipe_violations(version=1.0) == ("version: must be text, not a number",)
    assert recipe_violations(version=True) == ("version: must be text, not true/false",)


def test_keys_that_are_no_text_are_refused() -> None:
    with pytest.raises(RecipeInvalid, match="unknown key '1'"):
        parse_recipe({1: 2, "name": "a", "version": "1.0.0"}, "installml.yaml")
    assert recipe_violations(checkpoints={1: ["x"]}) == ("checkpoints['1']: keys must be text",)


def test_a_wild_document_is_not_listed_to_its_end() -> None:
    found = recipe_violations(**{f"key{i}": i for i in range(200_000)})
    assert len(found) == MAX_VIOLATIONS


def test_long_wrong_texts_are_cut_in_the_sentence() -> None:
    (violation,) = recipe_violations(license="!" * 4000)
    assert len(violation) < 200
    (violation,) = recipe_violations(**{"k" * 10_000: 1})
    assert len(violation) < 200


def test_a_licence_that_would_backtrack_for_ever_is_refused_at_once() -> None:
    assert recipe_violations(license="A AND  " * 400 + "!")
    assert recipe_violations(license="(" * 2000 + "A" + " )" * 1000 + " AND")


def test_nodes_know_where_they_stand() -> None:
    root = Node({"a": [{"b": 1}]})
    node = root.mapping(("a",))["a"].sequence()[0].mapping(("b",))["b"]
    node.fail("is odd")
    assert root.violations == ["a[0].b: is odd"]


@pytest.mark.parametrize(("version", "tag"), [("1.0.0", "1.0.0"), ("1.0.0-rc.1+build.5", "1.0.0-rc.1_build.5")])
def test_a_version_as_a_tag(version: str, tag: str) -> None:
    assert tag_of(version) == tag
