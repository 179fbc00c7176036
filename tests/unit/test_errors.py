"""Every error says whose fault it is."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import installml
from installml import errors
from installml.errors import FormatError, InstallMLError, RecipeInvalid


def tree(root: type[InstallMLError]) -> Iterator[type[InstallMLError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ROOMS = ("digest", "reference", "spec.canonical", "spec.manifest", "spec.package", "spec.units", "transfer.copy")
for _room in ROOMS:
    importlib.import_module(f"installml.{_room}")
EVERY = sorted(
    {kind for kind in tree(InstallMLError) if kind.__module__.startswith("installml.")}, key=lambda kind: kind.__name__
)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_an_error_has_an_identifier_a_sentence_and_the_exit_code_of_its_branch(kind: type[InstallMLError]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.reference)
    assert (kind.__doc__ or "").strip().partition("\n")[0].endswith(".")
    assert kind.exit_code in {1, 2, 3, 4, 5, 6, 7, 130}
    if kind is not InstallMLError:
        assert kind.__base__ is not None
        assert kind.exit_code == kind.__base__.exit_code or kind.__base__ is InstallMLError


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d+)", errors.__doc__ or ""))
    branches = {
        kind.__name__: str(kind.exit_code)
        for kind in InstallMLError.__subclasses__()
        if kind.__module__ == "installml.errors"
    }
    drawn_here = {name: code for name, code in drawn.items() if hasattr(errors, name)}
    assert branches.items() <= drawn_here.items() | {("NotFound", "1")}
    assert all(getattr(errors, name).exit_code == int(code) for name, code in drawn_here.items())


def test_everything_that_is_exported_exists_and_is_sorted() -> None:
    assert errors.__all__ == sorted(errors.__all__)
    assert all(hasattr(errors, name) for name in errors.__all__)


def test_a_hint_of_the_moment_takes_the_place_of_the_classes_own() -> None:
    assert errors.ReferenceInvalid("x").hint.startswith("A reference looks like")
    assert errors.ReferenceInvalid("x", hint="Type y.").hint == "Type y."
    assert errors.NotFound("x").hint == ""


def test_every_violation_of_a_recipe_is_in_its_message() -> None:
    error = RecipeInvalid("installml.yaml", ["one", "two"])
    assert error.violations == ("one", "two")
    assert str(error) == "installml.yaml is not valid:\n  - one\n  - two"
    assert error.subject == "installml.yaml"


def test_a_format_error_names_file_and_offset() -> None:
    assert str(FormatError("m.onnx", "no graph", offset=12)) == "m.onnx: no graph (at byte 12)"


def test_the_lowest_modules_exist() -> None:
    assert {"digest", "errors", "events", "reference"} <= {m.name for m in pkgutil.iter_modules(installml.__path__)}
