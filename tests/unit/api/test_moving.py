"""build, push, pull, copy, export, tags, tag, remove: what moves, what does not, and what is left where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.copy import copy, export
from installml.api.info import info, list_
from installml.api.places import open_place
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.tags import remove, tag, tags
from installml.digest import Digest
from installml.errors import NotFound, RecipeInvalid, ReferenceInvalid, StoreUnusable, UsageError
from installml.registry.errors import ManifestUnknown, NameUnknown, Offline
from installml.registry_server import RunningRegistry
from installml.testing import small_package
from tests.unit.api.kit import Asked, Heard, make_model, snapshot

OTHER = f"sha256:{'0' * 64}"


@pytest.fixture
def there(registry: RunningRegistry) -> str:
    """Return the repository that the tests use."""
    return f"{registry.address}/acme/sentiment"


def stored(home: Path) -> dict[str, tuple[str, bytes]]:
    """Return what a home holds besides what is remembered: of files that were hashed, of packages that were made."""
    remembered = ("state/digests/", "state/made/")
    return {name: held for name, held in snapshot(home).items() if not name.startswith(remembered)}


@pytest.fixture
def fresh(open_session: Callable[..., Session]) -> Session:
    """Return a session on another, empty machine."""
    return open_session("fresh")


# -- build ----------------------------------------------------------------------------------------------------------


def test_a_package_is_built_under_its_recipe_s_name_and_version(session: Session, model: Path) -> None:
    built = build(model, session=session)
    assert str(built.reference) == f"local/acme/sentiment:1.0.0@{built.digest}"
    assert (built.name, built.version, built.files) == ("acme/sentiment", "1.0.0", 4)
    assert built.size == info("acme/sentiment:1.0.0", session=session).size
    assert Path(built.destination) == session.home


def test_a_plus_in_a_version_is_an_underscore_in_its_tag(session: Session, write_model: Callable[..., Path]) -> None:
    built = build(write_model(version="1.0.0+cpu"), session=session)
    assert (built.version, built.reference.tag) == ("1.0.0+cpu", "1.0.0_cpu")


def test_a_package_is_built_under_the_name_that_was_asked_for(session: Session, model: Path) -> None:
    assert str(build(model, tag="ghcr.io/me/x", session=session).reference).startswith("ghcr.io/me/x:1.0.0@")
    assert str(build(model, tag="ghcr.io/me/x:new", session=session).reference).startswith("ghcr.io/me/x:new@")


def test_building_twice_gives_the_same_digest_and_one_package(session: Session, model: Path) -> None:
    first, before = build(model, session=session), stored(session.home)
    assert build(model, session=session) == first
    assert stored(session.home) == before


@pytest.mark.parametrize("reference", ["Not/Valid", "x:tag with spaces", f"x@{OTHER}", "x:^1"])
def test_a_wrong_name_is_told_before_anything_is_read_or_written(reference: str, session: Session, model: Path) -> None:
    with pytest.raises(UsageError):
        build(model, tag=reference, session=session)
    assert not session.home.exists()


def test_a_folder_without_a_recipe_leaves_no_trace(session: Session, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound) as caught:
        build(tmp_path / "empty", session=session)
    assert "installml init" in caught.value.hint
    assert not session.home.exists()


def test_files_that_the_recipe_names_must_be_there(session: Session, write_model: Callable[..., Path]) -> None:
    more = "runtime:\n  engine: none\n  model: gone.bin\n  example: gone.json\n  expected: weights.bin\n"
    with pytest.raises(RecipeInvalid) as caught:
        build(write_model(more=more), session=session)
    assert [line.partition(":")[0] for line in caught.value.violations] == ["runtime.model", "runtime.example"]


def test_building_to_a_registry_leaves_nothing_in_the_store(
    session: Session, fresh: Session, model: Path, there: str
) -> None:
    built = build(model, to=there, session=session)
    assert str(built.reference) == f"{there}:1.0.0@{built.digest}"
    assert built.destination == built.reference.registry
    assert stored(session.home) == {}
    assert pull(there + ":1.0.0", session=fresh).digest == built.digest


def test_a_built_and_a_pushed_folder_are_the_same_package(session: Session, model: Path, there: str) -> None:
    assert push(model, tag=there, session=session).digest == build(model, session=session).digest


# -- push -----------------------------------------------------------------------------------------------------------


def test_a_pushed_package_can_be_pulled_whole_elsewhere(
    session: Session, fresh: Session, model: Path, there: str
) -> None:
    built = build(model, session=session)
    sent = push("acme/sentiment:1.0.0", there, session=session)
    assert (sent.digest, sent.name, sent.version, sent.size) == (built.digest, built.name, built.version, built.size)
    assert str(sent.reference) == f"{there}:1.0.0@{built.digest}"
    got = pull(f"{there}:1.0.0", session=fresh)
    assert (got.digest, got.moved) == (sent.digest, sent.moved)
    blobs = {name: held for name, held in snapshot(fresh.home).items() if name.startswith("blobs/")}
    assert blobs == {name: held for name, held in snapshot(session.home).items() if name.startswith("blobs/")}


def test_a_second_push_moves_nothing_and_asks_at_most_three_times(
    session: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    build(model, session=session)
    push("acme/sentiment:1.0.0", there, session=session)
    with Asked(registry) as asked:
        again = push("acme/sentiment:1.0.0", there, session=session)
    assert (again.moved, set(again.blobs)) == (0, {"exists"})
    assert len(asked.requests) <= 3
    assert {request.method for request in asked.requests} == {"HEAD"}


def test_pushing_a_folder_writes_nothing_into_the_store(session: Session, model: Path, there: str) -> None:
    before = snapshot(model)
    push(model, tag=there, session=session)
    assert stored(session.home) == {}
    assert snapshot(model) == before


def test_pushing_a_folder_again_moves_nothing(
    session: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    push(model, tag=there, session=session)
    with Asked(registry) as asked:
        assert push(model, tag=there, session=session).moved == 0
    assert len(asked.requests) <= 3


def test_a_home_that_cannot_be_written_is_no_obstacle_to_what_stores_nothing(
    open_session: Callable[..., Session], model: Path, there: str, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    for home in ("taken", "taken/home"):
        sent = push(model, tag=there, session=open_session(home))
        assert build(model, to=there, session=open_session(home)).digest == sent.digest
        assert info(f"{there}:1.0.0", session=open_session(home)).digest == sent.digest
        assert list_(session=open_session(home)).packages == ()


def test_a_build_into_a_home_that_cannot_be_written_says_which(
    open_session: Callable[..., Session], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(StoreUnusable, match="taken"):
        build(model, session=open_session("taken"))


def test_a_package_is_pushed_from_a_store_that_takes_no_lease(session: Session, model: Path, there: str) -> None:
    """As from a disk that is read-only or full: a file lies where leases are written, which stops root as well."""
    built = build(model, session=session)
    (session.home / "ingest").rmdir()
    (session.home / "ingest").write_bytes(b"")
    assert push("acme/sentiment:1.0.0", there, session=session).digest == built.digest


def test_a_folder_is_recognised_without_a_tag(session: Session, model: Path, there: str) -> None:
    assert push(f"dir:{model}", there, session=session).digest == push(str(model), there, session=session).digest


def test_a_folder_pushed_to_no_registry_is_told_before_it_is_read(
    open_session: Callable[..., Session], model: Path, heard: Heard
) -> None:
    with pytest.raises(ReferenceInvalid, match="names no registry"):
        push(model, session=open_session(on_event=heard))
    assert heard.events == []


def test_a_folder_has_one_destination(session: Session, model: Path, there: str) -> None:
    with pytest.raises(UsageError, match="to one place"):
        push(model, there, tag=there, session=session)


def test_what_is_not_in_the_local_store_is_told_with_how_to_make_it(session: Session, there: str) -> None:
    with pytest.raises(NotFound, match="is not in the local store") as caught:
        push(f"{there}:1.0.0", session=session)
    assert f"installml build DIR -t {there}:1.0.0" in caught.value.hint


def test_a_push_by_digest_moves_no_tag(session: Session, model: Path, there: str) -> None:
    built = build(model, session=session)
    sent = push(f"acme/sentiment@{built.digest}", there, session=session)
    assert (sent.reference.tag, sent.digest) == ("", built.digest)
    assert tags(there, session=session).tags == ()


def test_a_push_to_another_digest_is_refused_before_anything_moves(
    session: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    build(model, session=session)
    with Asked(registry) as asked, pytest.raises(UsageError, match="not what"):
        push("acme/sentiment:1.0.0", f"{there}@{OTHER}", session=session)
    assert asked.requests == []


# -- pull -----------------------------------------------------------------------------------------------------------


def test_a_second_pull_asks_the_registry_once_what_the_tag_names(
    session: Session, fresh: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    push(model, tag=there, session=session)
    pull(f"{there}:1.0.0", session=fresh)
    with Asked(registry) as asked:
        pull(f"{there}:1.0.0", session=fresh)
    assert [(request.method, request.path) for request in asked.requests] == [
        ("HEAD", "/v2/acme/sentiment/manifests/1.0.0")
    ]


def test_a_second_pull_moves_nothing(session: Session, fresh: Session, model: Path, there: str) -> None:
    push(model, tag=there, session=session)
    assert pull(f"{there}:1.0.0", session=fresh).moved > 0
    again = pull(f"{there}:1.0.0", session=fresh)
    assert (again.moved, set(again.blobs)) == (0, {"exists"})


def test_a_pull_fetches_only_what_is_new(
    session: Session, fresh: Session, write_model: Callable[..., Path], registry: RunningRegistry, there: str
) -> None:
    push(write_model(), tag=there, session=session)
    pull(f"{there}:1.0.0", session=fresh)
    push(write_model(version="1.1.0"), tag=there, session=session)
    with Asked(registry) as asked:
        pull(f"{there}:1.1.0", session=fresh)
    weights = Digest.of((fresh.home.parent / "model" / "weights.bin").read_bytes())
    assert asked.blobs
    assert str(weights) not in asked.blobs


def test_a_pull_by_digest_keeps_it_without_a_tag(session: Session, fresh: Session, model: Path, there: str) -> None:
    sent = push(model, tag=there, session=session)
    pull(f"{there}@{sent.digest}", session=fresh)
    [entry] = list_(session=fresh).packages
    assert str(entry.reference) == f"{there}@{sent.digest}"


# -- copy and export ------------------------------------------------------------------------------------------------


def test_a_copy_within_a_registry_mounts_and_moves_only_the_manifest(
    session: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    sent = push(model, tag=there, session=session)
    done = copy(f"{there}:1.0.0", f"{registry.address}/other/name", session=session)
    assert done.digest == sent.digest
    assert done.blobs["mounted"] == len(info(there + ":1.0.0", session=session).files) + 1
    assert tags(f"{registry.address}/other/name", session=session).tags == ("1.0.0",)


def test_a_copy_between_registries_needs_no_home(
    session: Session, fresh: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    push(model, tag=there, session=session)
    copy(f"{there}:1.0.0", f"{registry.address}/other:new", session=fresh)
    assert not fresh.home.exists()


def test_a_package_travels_through_a_layout_folder_unchanged(
    session: Session, fresh: Session, model: Path, registry: RunningRegistry, there: str, tmp_path: Path
) -> None:
    sent = push(model, tag=there, session=session)
    layout = f"oci-layout:{tmp_path / 'layout'}"
    assert copy(f"{there}:1.0.0", layout, session=session).digest == sent.digest
    back = copy(f"{layout}:1.0.0", f"{registry.address}/back", session=fresh)
    assert back.digest == sent.digest
    assert copy(layout, f"{registry.address}/back", session=fresh).moved == 0  # its only tag is meant


def test_a_copy_to_the_local_store_is_a_package_there(
    session: Session, fresh: Session, model: Path, there: str
) -> None:
    push(model, tag=there, session=session)
    copy(f"{there}:1.0.0", "local/mine:kept", session=fresh)
    assert info("mine:kept", session=fresh).name == "acme/sentiment"


def test_a_folder_is_copied_by_building_it(session: Session, model: Path, there: str) -> None:
    done = copy(f"dir:{model}", there, session=session)
    assert copy(str(model), there, session=session).digest == done.digest
    assert done.digest == push(model, tag=there, session=session).digest
    assert tags(there, session=session).tags == ("1.0.0",)


def test_a_copy_by_digest_needs_no_tag(
    session: Session, fresh: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    sent = push(model, tag=there, session=session)
    done = copy(f"{there}@{sent.digest}", f"{registry.address}/other", session=fresh)
    assert done.digest == sent.digest
    assert tags(f"{registry.address}/other", session=fresh).tags == ()


def test_a_copy_into_a_folder_of_files_is_refused_with_the_verb_that_does_it(session: Session, there: str) -> None:
    with pytest.raises(UsageError) as caught:
        copy(f"{there}:1.0.0", "dir:/tmp/x", session=session)
    assert caught.value.hint == f"installml install {there}:1.0.0"


def test_a_layout_with_several_tags_is_not_guessed(session: Session, model: Path, there: str, tmp_path: Path) -> None:
    push(model, tag=there, session=session)
    layout = f"oci-layout:{tmp_path / 'layout'}"
    for name in ("one", "two"):
        copy(f"{there}:1.0.0", f"{layout}:{name}", session=session)
    with pytest.raises(UsageError, match="one, two"):
        copy(layout, there, session=session)


def test_a_layout_that_is_not_there_is_told(session: Session, there: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not an OCI layout folder"):
        copy(f"oci-layout:{tmp_path / 'none'}", there, session=session)


def test_an_export_is_a_layout_with_the_tag(session: Session, model: Path, tmp_path: Path) -> None:
    built = build(model, session=session)
    done = export("acme/sentiment:1.0.0", str(tmp_path / "out"), session=session)
    assert done.digest == built.digest
    place, _, _ = open_place(f"oci-layout:{tmp_path / 'out'}", session)
    assert place.resolve("1.0.0").digest == built.digest


def test_an_export_into_a_folder_that_holds_something_else_is_refused(
    session: Session, model: Path, tmp_path: Path
) -> None:
    build(model, session=session)
    before = snapshot(model)
    with pytest.raises(Exception, match="is not empty"):
        export("acme/sentiment:1.0.0", str(model), session=session)
    assert snapshot(model) == before


# -- tags, tag, remove ----------------------------------------------------------------------------------------------


def test_tags_are_listed_there_and_here(session: Session, fresh: Session, model: Path, there: str) -> None:
    push(model, tag=there, session=session)
    tag(f"{there}:1.0.0", "stable", session=session)
    assert tags(there, session=session).tags == ("1.0.0", "stable")
    pull(f"{there}:stable", session=fresh)
    assert tags(there, local=True, session=fresh).tags == ("stable",)
    assert tags(there, session=replace(fresh, offline=True)).tags == ("stable",)


def test_a_repository_that_is_not_there_is_told(session: Session, registry: RunningRegistry) -> None:
    with pytest.raises(NameUnknown):
        tags(f"{registry.address}/none", session=session)


def test_a_tag_moves_nothing_but_the_name(session: Session, model: Path, registry: RunningRegistry, there: str) -> None:
    sent = push(model, tag=there, session=session)
    with Asked(registry) as asked:
        result = tag(f"{there}:1.0.0", "stable", session=session)
    assert (str(result.reference), result.digest) == (f"{there}:stable", sent.digest)
    assert asked.blobs == []


def test_a_tag_outside_the_grammar_is_refused_before_anybody_is_asked(
    session: Session, registry: RunningRegistry, there: str
) -> None:
    with Asked(registry) as asked, pytest.raises(ReferenceInvalid):
        tag(f"{there}:1.0.0", "-x", session=session)
    assert asked.requests == []


def test_removing_a_tag_leaves_the_package_under_its_others(session: Session, model: Path, there: str) -> None:
    push(model, tag=there, session=session)
    tag(f"{there}:1.0.0", "stable", session=session)
    result = remove(f"{there}:1.0.0", session=session)
    assert result.place == result.reference.registry
    assert tags(there, session=session).tags == ("stable",)


def test_removing_a_digest_removes_every_tag_on_it(session: Session, model: Path, there: str) -> None:
    sent = push(model, tag=there, session=session)
    tag(f"{there}:1.0.0", "stable", session=session)
    remove(f"{there}@{sent.digest}", session=session)
    with pytest.raises(ManifestUnknown):
        tag(f"{there}:stable", "x", session=session)


def test_removing_here_leaves_the_registry_alone(session: Session, fresh: Session, model: Path, there: str) -> None:
    push(model, tag=there, session=session)
    pull(f"{there}:1.0.0", session=fresh)
    assert remove(f"{there}:1.0.0", local=True, session=fresh).place == "local store"
    assert list_(session=fresh).packages == ()
    assert tags(there, session=fresh).tags == ("1.0.0",)


def test_removing_offline_does_not_turn_to_the_local_copy(open_session: Callable[..., Session], model: Path) -> None:
    session = open_session(flags={"offline": True})
    build(model, tag="registry.example/x:1", session=session)
    before = snapshot(session.home)
    with pytest.raises(Offline):
        remove("registry.example/x:1", session=session)
    with pytest.raises(Offline):
        tag("registry.example/x:1", "2", session=session)
    assert snapshot(session.home) == before


def test_a_dry_run_removes_nothing_and_notices_what_is_not_there(session: Session, model: Path, there: str) -> None:
    push(model, tag=there, session=session)
    remove(f"{there}:1.0.0", dry_run=True, session=session)
    assert tags(there, session=session).tags == ("1.0.0",)
    with pytest.raises(NotFound):
        remove(f"{there}:2.0.0", dry_run=True, session=session)


def test_removing_a_whole_repository_is_not_guessed_from_its_name(session: Session, there: str) -> None:
    with pytest.raises(UsageError, match="names no tag") as caught:
        remove(there, session=session)
    assert f"installml tags {there}" in caught.value.hint


# -- info and list --------------------------------------------------------------------------------------------------


def test_info_reads_no_blob_and_makes_nothing(
    session: Session, fresh: Session, model: Path, registry: RunningRegistry, there: str
) -> None:
    sent = push(model, tag=there, session=session)
    with Asked(registry) as asked:
        result = info(f"{there}:1.0.0", session=fresh)
    assert asked.blobs == []
    assert (result.digest, result.size, result.license) == (sent.digest, sent.size, "Apache-2.0")
    assert result.place == registry.address
    sizes = {file.path: file.size for file in result.files}
    assert sizes["weights.bin"] == (model / "weights.bin").stat().st_size
    assert not fresh.home.exists()


def test_list_tells_packages_in_their_order_and_what_else_is_there_by_its_name(
    session: Session, tmp_path: Path
) -> None:
    for name in ("b/two", "a/one"):
        build(make_model(tmp_path / "m", name), session=session)
    index = session.store.repository("ghcr.io", "tool/image")
    small_package(index, "1", artifact_type="application/vnd.other.tool")
    assert [(str(p.reference), p.name, p.installed) for p in list_(session=session).packages] == [
        ("ghcr.io/tool/image:1", "sentiment", False),
        ("local/a/one:1.0.0", "a/one", False),
        ("local/b/two:1.0.0", "b/two", False),
    ]


def test_list_of_an_empty_home_is_empty_and_makes_nothing(session: Session) -> None:
    assert list_(session=session).packages == ()
    assert not session.home.exists()
