"""Licences: restrictions are told, a package may not state less than its base model asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from installml.scanning.content import folder_files
from installml.scanning.licences import check_licence, identifiers, licence_of_base, terms_of
from installml.scanning.package import Context, scan_package
from installml.scanning.scanners import SCANNERS


def told(licence: str, **bases: str) -> list[str]:
    named = {name.replace("__", "/"): value for name, value in bases.items()}
    return [finding.rule.id for finding in check_licence(licence, named, "README.md")]


@pytest.mark.parametrize(
    "licence", ["MIT", "Apache-2.0", "apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "GPL-3.0-only", "MIT OR CC-BY-NC-4.0"]
)
def test_an_open_licence_has_nothing_to_tell(licence: str) -> None:
    assert told(licence) == []


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("CC-BY-NC-4.0", "no commercial use"),
        ("llama3.1", "700 million"),
        ("LicenseRef-gemma", "policy"),
        ("creativeml-openrail-m", "attachment A"),
        ("CC-BY-NC-ND-4.0", "no adapted copies"),
        ("MIT AND CC-BY-NC-4.0", "no commercial use"),
    ],
)
def test_restrictions_of_use_are_told_with_where_they_stand(licence: str, words: str) -> None:
    (finding,) = check_licence(licence, {}, "README.md")
    assert finding.rule.id == "licence-restricted"
    assert words in finding.detail
    assert "(" in finding.detail


def test_a_package_without_a_licence_is_told() -> None:
    assert told("") == ["licence-missing"]


@pytest.mark.parametrize(
    ("licence", "base"),
    [
        ("MIT", "GPL-3.0-only"),
        ("apache-2.0", "llama3"),
        ("MIT", "CC-BY-NC-4.0"),
        ("CC-BY-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0"),
        ("MIT", "gemma"),
    ],
)
def test_less_than_the_base_asks_is_a_conflict(licence: str, base: str) -> None:
    assert "licence-conflict" in told(licence, acme__base=base)


@pytest.mark.parametrize(
    ("licence", "base"),
    [
        ("MIT", "Apache-2.0"),
        ("GPL-3.0-only", "MIT"),
        ("GPL-3.0-or-later", "GPL-3.0-only"),
        ("MIT", ""),
        ("MIT", "nobody-knows-it"),
    ],
)
def test_what_the_base_allows_or_nobody_knows_is_no_conflict(licence: str, base: str) -> None:
    assert "licence-conflict" not in told(licence, acme__base=base)


def test_the_licence_of_a_well_known_base_is_known() -> None:
    assert licence_of_base("meta-llama/Llama-3.1-8B-Instruct") == "LicenseRef-llama3.1"
    assert "licence-conflict" in told("apache-2.0", **{"meta-llama__Llama-3.2-1B": ""})


def test_a_licence_outside_the_table_is_not_guessed() -> None:
    assert terms_of("LicenseRef-nobody") is None


def test_an_expression_is_taken_apart_without_its_exceptions() -> None:
    assert identifiers("(MIT OR GPL-2.0-only WITH Classpath-exception-2.0) AND CC0-1.0") == (
        "MIT",
        "GPL-2.0-only",
        "CC0-1.0",
    )


def package(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return [finding.rule.id for finding in scan_package(folder_files(folder), SCANNERS, Context()).findings]


def test_the_card_of_a_folder_is_read(tmp_path: Path) -> None:
    card = "---\nlicense: mit\nbase_model: meta-llama/Llama-2-7b\n---\n# x\n"
    assert package(tmp_path, README_md=card) == ["licence-conflict"]


def test_the_recipes_licence_counts_before_the_cards(tmp_path: Path) -> None:
    found = package(tmp_path, README_md="---\nlicense: mit\n---\n", installml_yaml="license: CC-BY-NC-4.0\n")
    assert found == ["licence-restricted"]


def test_a_card_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    assert package(tmp_path, README_md="---\nlicense: [\n---\n") == ["licence-missing"]


def test_the_recipes_base_counts(tmp_path: Path) -> None:
    recipe = "license: MIT\nbase:\n  ref: google/gemma-2-2b\n  relation: finetune\n"
    assert package(tmp_path, installml_yaml=recipe) == ["licence-conflict"]
