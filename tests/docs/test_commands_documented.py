"""The reference is what the code says: every verb, flag, error, variable and field."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from installml.cli.app import command
from installml.env import VARIABLES
from installml.errors import InstallMLError

ROOT = Path(__file__).resolve().parents[2]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load()


@pytest.mark.parametrize("page", GENERATE.PAGES)
def test_the_page_is_what_the_code_says(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == GENERATE.PAGES[page](), "run: python docs/generate.py"


def test_every_verb_has_a_heading_and_every_flag_is_under_it() -> None:
    sections = dict(
        re.findall(r"^### installml ([a-z ]+)\n(.*?)(?=^##|\Z)", GENERATE.commands(), re.MULTILINE | re.DOTALL)
    )
    common = {field.name for field in dataclasses.fields(GENERATE.Common)}
    for name, verb in command().commands.items():
        below = getattr(verb, "commands", None)
        for full, found in {f"{name} {sub}": v for sub, v in below.items()}.items() if below else [(name, verb)]:
            for parameter in found.params:
                for flag in parameter.opts if parameter.name not in common else ():
                    shown = flag if flag.startswith("-") else parameter.metavar
                    assert f"`{shown}`" in sections[full]


def test_every_variable_is_on_the_page() -> None:
    assert all(f"`{variable.name}`" in GENERATE.environment() for variable in VARIABLES)


def test_every_setting_of_the_environment_has_a_meaning() -> None:
    assert "|  |" not in GENERATE.environment().partition("## Other")[0].replace("| --- ", "")


@pytest.mark.parametrize("error", GENERATE.error_classes())
def test_every_error_has_an_identifier_and_a_documented_exit_code(error: type[InstallMLError]) -> None:
    assert error.exit_code in GENERATE.EXIT_CODES
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", error.reference)


def test_an_identifier_is_shared_only_by_an_error_and_what_it_is_a_kind_of() -> None:
    by_reference: dict[str, type[InstallMLError]] = {}
    for error in GENERATE.error_classes():
        other = by_reference.setdefault(error.reference, error)
        assert issubclass(error, other) or issubclass(other, error), error.reference


def test_every_field_of_every_document_has_a_meaning() -> None:
    assert not re.findall(r"^\| `(\w+)` \| [^|]+ \|  \|$", GENERATE.json_forms(), re.MULTILINE)


def test_every_command_that_an_error_names_exists() -> None:
    verbs = command().commands
    hints = [(error.__name__, error.default_hint) for error in GENERATE.error_classes()]
    named = [(kind, words) for kind, hint in hints for words in re.findall(r"installml ([a-z]+)(?: ([a-z]+))?", hint)]
    assert ("KeyInvalid", ("keys", "generate")) in named
    for kind, (verb, sub) in named:
        assert verb in verbs, kind
        below = getattr(verbs[verb], "commands", None)
        assert below is None or sub in below, kind
