"""Reading and drafting installml.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from installml.api.init import RecipeExists, init
from installml.errors import NotFound, RecipeInvalid
from installml.packing.recipe import load_recipe, load_yaml


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name: a\nname: b\n", "'name' stands twice"),
        ("a: &x [1]\nb: *x\n", "alias"),
        ("a: [1\n", "not acceptable YAML"),
        ("!!python/object/apply:os.system ['true']", "not acceptable YAML"),
        ("a: " + "[" * 5000, "not acceptable YAML"),
        ("a: " + "x" * (300 << 10), "at most"),
    ],
)
def test_yaml_that_could_hurt_its_reader_is_refused(text: str, part: str) -> None:
    with pytest.raises(RecipeInvalid, match=part):
        load_yaml(text.encode(), "installml.yaml")


def test_bytes_that_are_no_text_are_refused_with_their_place() -> None:
    with pytest.raises(RecipeInvalid, match="byte 6"):
        load_yaml(b"name: \xff", "installml.yaml")


def test_a_missing_folder_a_file_and_a_missing_recipe_get_different_answers(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, part in (("nothing", "does not exist"), ("file", "is a file"), (".", "has no installml.yaml")):
        with pytest.raises(NotFound, match=part):
            load_recipe(tmp_path / name)


def test_a_number_in_the_versions_place_says_what_it_must_be(tmp_path: Path) -> None:
    (tmp_path / "installml.yaml").write_text("name: a\nversion: 1.10\n")
    with pytest.raises(RecipeInvalid, match="version: must be text, not a number"):
        load_recipe(tmp_path)


def test_init_writes_a_recipe_that_build_accepts_and_does_not_overwrite_it(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "class Model:\n    @classmethod\n    def load(cls, path): return cls()\n"
        "    def predict(self, inputs): return inputs\n"
    )
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nAn echo.\n")
    result = init(tmp_path, name="acme/echo", version="2.0.0")
    recipe = load_recipe(tmp_path)
    assert (recipe.name, recipe.version, recipe.license) == ("acme/echo", "2.0.0", "MIT")
    assert (recipe.runtime.engine, recipe.runtime.entrypoint) == ("python", "model.py:Model")
    assert result.recipe == (tmp_path / "installml.yaml").read_text()
    assert (tmp_path / ".installml/recipe.schema.json").stat().st_size > 100
    with pytest.raises(RecipeExists) as caught:
        init(tmp_path)
    assert caught.value.exit_code == 2


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"?")
    result = init(tmp_path, dry_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]
    assert result.written == ()
    assert any("no known model format" in notice for notice in result.notices)


def test_a_name_outside_the_grammar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"?")
    with pytest.raises(RecipeInvalid, match="name: 'Not A Name'"):
        init(tmp_path, name="Not A Name")
    assert not (tmp_path / "installml.yaml").exists()
