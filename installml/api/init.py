"""``init``: look at a model folder and write its recipe."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import NotFound, RecipeInvalid, UsageError
from ..packing.draft import draft, package_name
from ..packing.formats import read_card, recognise
from ..packing.recipe import load_yaml, recipe_text, write_recipe
from ..spec.media import OWN_FOLDER, RECIPE_NAME
from ..spec.recipe import parse_recipe
from ..store.files import disk_errors, write_whole
from .results import InitResult

__all__ = ["RecipeExists", "init"]

SCHEMA_FILE = "recipe.schema.json"
SCHEMA_NAME = f"{OWN_FOLDER}/{SCHEMA_FILE}"


class RecipeExists(UsageError):
    """There is a recipe already, and people edit recipes."""

    reference = "recipe-exists"


def init(
    folder: str | Path, *, name: str = "", version: str = "", force: bool = False, dry_run: bool = False
) -> InitResult:
    """Write ``installml.yaml`` for a model folder, filled in with what its files say.

    Args:
        folder: The model folder.
        name: Package name; the folder's own when left out.
        version: SemVer version; the model's own or 0.1.0 when left out.
        force: Replace a recipe that is there.
        dry_run: Only return what would be written.

    Returns:
        The recipe's text and what was recognised.

    Raises:
        NotFound: There is no such folder.
        RecipeExists: There is a recipe and ``force`` was not given.
        FormatError: A file claims a format and breaks it.
        RecipeInvalid: ``name`` or ``version`` is not of the grammar.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotFound(f"{folder} is not a folder", hint="Name the folder that holds the model's files.")
    path = folder / RECIPE_NAME
    if path.exists() and not force:
        raise RecipeExists(
            f"{path} exists already", hint=f"Edit it, or start anew with: installml init {folder} --force"
        )
    findings = recognise(folder)
    best = findings[0] if findings else None
    first = draft(
        findings,
        read_card(folder),
        name=name or package_name((best.name if best else "") or folder.resolve().name),
        version=version or (best.version if best and best.version else "0.1.0"),
        requirements_file=_existing(folder, "requirements.txt"),
        example_file=_existing(folder, "example.json"),
        expected_file=_existing(folder, "expected.json"),
    )
    recipe, notices = _fit(first.recipe, str(path), [*first.notices])
    written = [RECIPE_NAME]
    extra: dict[str, bytes] = {}
    if first.requirements:
        extra["requirements.txt"] = ("\n".join(first.requirements) + "\n").encode()
    if first.example is not None:
        extra["example.json"] = (json.dumps(first.example) + "\n").encode()
    if not dry_run:
        for file, data in extra.items():
            write_whole(folder / file, data)
        write_whole(
            folder / SCHEMA_NAME, resources.files("installml.spec").joinpath("schemas", SCHEMA_FILE).read_bytes()
        )
        write_recipe(path, recipe, SCHEMA_NAME)
    with disk_errors(path):
        text = path.read_text("utf-8") if path.exists() and not dry_run else recipe_text(recipe)
    return InitResult(
        path=str(path),
        recipe=text,
        format=best.format if best else "",
        engine=str(recipe.get("runtime", {}).get("engine", "none")),
        written=() if dry_run else (*written, *extra),
        notices=tuple(notices),
    )


def _existing(folder: Path, name: str) -> str:
    return name if (folder / name).is_file() else ""


def _fit(recipe: dict[str, Any], origin: str, notices: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the recipe without what the grammar refuses: a model's own words are not always ours."""
    data = recipe_text(recipe).encode()
    try:
        parse_recipe(load_yaml(data, origin), origin)
    except RecipeInvalid as error:
        bad = {violation.partition(":")[0].partition(".")[0].partition("[")[0] for violation in error.violations}
        removable = bad - {"name", "version", "runtime"}
        if not removable or not bad <= set(recipe):
            raise
        notices.append(f"left out what is not acceptable: {'; '.join(error.violations)}")
        return _fit({key: value for key, value in recipe.items() if key not in removable}, origin, notices)
    return recipe, notices
