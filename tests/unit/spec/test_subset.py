"""Which files of a package a wish means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from installml.errors import UsageError
from installml.spec.media import ANNOTATION_CHECKPOINTS
from installml.spec.package import NotAPackage, Package, read_package
from installml.spec.subset import (
    MAX_CHECKPOINTS,
    NothingSelected,
    Wish,
    checkpoint_problems,
    checkpoints_of,
    checkpoints_text,
    select_files,
)
from installml.store.memory import MemoryStore
from installml.store.verified import read_manifest
from installml.testing import package_bytes

FILES = {"config.json": b"{}", "q4/model.bin": b"4" * 40, "q8/model.bin": b"8" * 80, "README.md": b"# it\n"}
CHECKPOINTS = {"q4": ("q4/**",), "q8": ("q8/**",)}


def package(checkpoints: Mapping[str, tuple[str, ...]] = CHECKPOINTS, text: str = "") -> Package:
    place = MemoryStore()
    annotations = {ANNOTATION_CHECKPOINTS: text or checkpoints_text(checkpoints)}
    root = package_bytes(FILES, annotations={k: v for k, v in annotations.items() if v}).push(place)
    return read_package(read_manifest(place, root), "acme/it")


def selected(wish: Wish, of: Package | None = None) -> set[str]:
    return {f.path for f in select_files(of or package(), wish, "acme/it") if not f.path.startswith(".installml/")}


def test_without_a_wish_everything_is_meant() -> None:
    assert selected(Wish()) == set(FILES)


def test_globs_mean_what_any_of_them_fits() -> None:
    assert selected(Wish(("q4/*", "*.md"))) == {"q4/model.bin", "README.md"}


def test_a_checkpoint_is_its_files_and_those_that_are_in_none() -> None:
    assert selected(Wish(checkpoint="q4")) == {"q4/model.bin", "config.json", "README.md"}


def test_a_file_of_two_checkpoints_comes_with_each() -> None:
    both = package({"a": ("q4/*", "config.json"), "b": ("q8/*", "config.json")})
    assert "config.json" in selected(Wish(checkpoint="a"), both) & selected(Wish(checkpoint="b"), both)


def test_our_own_documents_always_come() -> None:
    everything, some = package().files, select_files(package(), Wish(("README.md",)), "acme/it")
    own = [file.path for file in everything if file.path.startswith(".installml/")]
    assert [file.path for file in some if file.path.startswith(".installml/")] == own


def test_files_keep_the_order_of_the_package() -> None:
    order = [file.path for file in package().files]
    chosen = [file.path for file in select_files(package(), Wish(("**",)), "acme/it")]
    assert chosen == order


def test_globs_that_mean_nothing_are_told_with_what_there_is() -> None:
    with pytest.raises(NothingSelected, match=r"is meant by q16/\* or \*\.gguf") as caught:
        selected(Wish(("q16/*", "*.gguf")))
    assert "q4/model.bin" in caught.value.hint
    assert caught.value.exit_code == 2


def test_an_unknown_checkpoint_is_told_with_the_known_ones() -> None:
    with pytest.raises(NothingSelected, match="has no checkpoint 'q16'") as caught:
        selected(Wish(checkpoint="q16"))
    assert caught.value.hint == "It has q4, q8; name one: --checkpoint q4"


def test_a_package_without_checkpoints_says_so_and_how_to_choose() -> None:
    with pytest.raises(NothingSelected) as caught:
        selected(Wish(checkpoint="q4"), package({}))
    assert caught.value.hint.startswith("It names none. Choose files: --only GLOB")


def test_many_files_are_not_all_listed() -> None:
    many = package()
    file = many.files[0]
    many = replace(many, files=tuple(replace(file, path=f"{n}.bin") for n in range(50)))
    with pytest.raises(NothingSelected) as caught:
        selected(Wish(("*.gguf",)), many)
    assert "19.bin and 30 more; all of them: installml info acme/it" in caught.value.hint


def test_globs_and_a_checkpoint_together_are_refused() -> None:
    with pytest.raises(UsageError, match="by glob or by checkpoint, not both"):
        Wish(("*",), "q4")


@pytest.mark.parametrize("text", ["[]", "{", '{"q4":7}', '{"q4":["' + "x" * MAX_CHECKPOINTS + '"]}'])
def test_checkpoints_that_cannot_be_read_are_no_checkpoints(text: str) -> None:
    with pytest.raises(UsageError):
        checkpoints_of(package(text=text))


def test_what_is_wrong_with_checkpoints_is_not_the_package_s_silence() -> None:
    with pytest.raises(NotAPackage, match="is not valid"):
        select_files(package(text='{"q4":7}'), Wish(checkpoint="q4"), "acme/it")


def test_checkpoints_are_read_as_they_were_written() -> None:
    assert checkpoints_of(package()) == CHECKPOINTS


def test_a_checkpoint_without_a_file_is_a_problem_of_the_recipe() -> None:
    assert checkpoint_problems({"q4": ("q4/*",), "q16": ("q16/*",)}, FILES) == [
        "checkpoints['q16']: no file of the package is meant by q16/*"
    ]


def test_a_checkpoint_needs_a_name() -> None:
    assert "needs a name" in checkpoint_problems({"": ("**",)}, FILES)[0]


def test_checkpoints_have_a_limit_that_is_told() -> None:
    globs = ("**", *(f"{n}/**" for n in range(500)))
    assert "use fewer globs" in checkpoint_problems({"a": globs}, FILES)[0]
