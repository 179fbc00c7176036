"""Packages of which only a part is fetched: what is asked for, what is here, and what needs the rest.

What was asked for is counted in the registry's log.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api import serve as serving
from installml.api.cache import CacheDamaged, cache_gc, cache_verify
from installml.api.copy import copy, export
from installml.api.index import index
from installml.api.info import info, list_
from installml.api.install import find_installed, install, uninstall
from installml.api.pull import pull
from installml.api.push import push
from installml.api.repair import cache_repair
from installml.api.results import PartialFiles
from installml.api.session import Session
from installml.api.subset import PackagePartial, require_whole
from installml.api.tags import remove, tag
from installml.digest import Digest
from installml.errors import InstallMLError, ModelError, RecipeInvalid, UsageError
from installml.registry.errors import RegistryError
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Faults, Rule, Status
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index
from installml.spec.media import ANNOTATION_CHECKPOINTS, IMAGE_INDEX
from installml.spec.package import NotAPackage
from installml.spec.runtime import RuntimeManifest
from installml.spec.subset import NothingSelected
from installml.testing import package_bytes
from tests.unit.api.kit import Asked, make_model
from tests.unit.transfer.weights import layers, safetensors, write

OpenSession = Callable[..., Session]

CONFIG, Q4, Q8 = b'{"layers": 2}', b"4" * 40_000, b"8" * 80_000
FILES = {"config.json": CONFIG, "q4/model.bin": Q4, "q8/model.bin": Q8}
CHECKPOINTS = 'checkpoints:\n  q4: ["q4/**"]\n  q8: ["q8/**"]\n'


def name_of(data: bytes) -> str:
    return str(Digest.of(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model", "acme/chat", more=CHECKPOINTS, files=FILES)


@pytest.fixture
def there(registry: RunningRegistry, folder: Path, open_session: OpenSession) -> str:
    """Return the reference of a package that only the registry has."""
    reference = f"{registry.address}/acme/chat:1.0.0"
    push(folder, tag=reference, session=open_session("elsewhere"))
    return reference


def offline(session: Session) -> Session:
    return replace(session, offline=True)


def weights(asked: Asked) -> set[str]:
    """Return which weights were asked for."""
    names = {name_of(Q4): "q4", name_of(Q8): "q8"}
    return {names[digest] for digest in asked.blobs if digest in names}


def own(part: PartialFiles | None) -> list[str]:
    """Return the paths of a part without our own documents; nothing was left out when it is None."""
    assert part is not None
    return [path for path in part.files if not path.startswith(".installml/")]


def tree(path: str | Path) -> set[str]:
    found = {file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file()}
    return {name for name in found if not name.startswith(".installml/")}


# pull


def test_only_what_is_wanted_is_asked_for(there: str, registry: RunningRegistry, session: Session) -> None:
    with Asked(registry) as asked:
        result = pull(there, only="q4/*", session=session)
    assert weights(asked) == {"q4"}
    assert sum(request.bytes_out for request in asked.requests) < len(Q8)
    assert own(result.partial) == ["q4/model.bin"]


def test_the_checkpoints_that_are_whole_are_named(there: str, session: Session) -> None:
    first = pull(there, only="q4/*", session=session).partial
    second = pull(there, only=["*.json", "*.yaml"], session=session).partial
    assert first is not None
    assert second is not None
    assert (first.checkpoints, second.checkpoints) == ((), ("q4",))


def test_the_result_says_how_much_of_the_package_is_here(there: str, session: Session) -> None:
    files = info(there, session=session).files
    part = pull(there, only=["q4/*", "config.json"], session=session).partial
    assert part is not None
    assert part.of == len(files)
    assert part.size == sum(file.size for file in files if file.path in part.files)


def test_a_checkpoint_comes_with_what_belongs_to_all(there: str, registry: RunningRegistry, session: Session) -> None:
    with Asked(registry) as asked:
        result = pull(there, checkpoint="q8", session=session)
    assert weights(asked) == {"q8"}
    assert set(own(result.partial)) == {"config.json", "q8/model.bin", "installml.yaml"}


def test_a_later_pull_fetches_only_the_rest(there: str, registry: RunningRegistry, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    with Asked(registry) as asked:
        result = pull(there, session=session)
    assert weights(asked) == {"q8"}
    assert result.partial is None
    assert not list((session.home / "state" / "partial").iterdir())


def test_another_part_is_added(there: str, registry: RunningRegistry, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    with Asked(registry) as asked:
        result = pull(there, only="q8/*", session=session)
    assert weights(asked) == {"q8"}
    assert own(result.partial) == ["q4/model.bin", "q8/model.bin"]


def test_the_same_part_again_moves_nothing(there: str, registry: RunningRegistry, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    with Asked(registry) as asked:
        assert pull(there, only="q4/*", session=session).moved == 0
    assert asked.blobs == []


def test_parts_that_add_up_are_the_whole(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    assert pull(there, only=["q8/*", "*.json", "*.yaml", ".installml/*"], session=session).partial is None
    assert push(there, session=session).moved == 0


def test_a_part_of_what_is_here_whole_takes_nothing_away(there: str, session: Session) -> None:
    pull(there, session=session)
    result = pull(there, only="q4/*", session=session)
    assert (result.partial, result.moved) == (None, 0)
    cache_gc(session=session)
    export(there, str(session.home / "carried"), session=offline(session))


def test_a_glob_that_means_every_file_is_the_whole(there: str, session: Session) -> None:
    assert pull(there, only="**", session=session).partial is None


def test_what_means_nothing_fetches_nothing(there: str, registry: RunningRegistry, session: Session) -> None:
    with Asked(registry) as asked, pytest.raises(NothingSelected) as caught:
        pull(there, only="*.gguf", session=session)
    assert "q8/model.bin" in caught.value.hint
    assert asked.blobs == []
    assert not session.home.exists()


def test_an_unknown_checkpoint_names_the_known_ones(there: str, session: Session) -> None:
    with pytest.raises(NothingSelected, match="has no checkpoint 'q16'") as caught:
        install(there, checkpoint="q16", session=session)
    assert "It has q4, q8" in caught.value.hint
    assert not session.home.exists()


@pytest.mark.parametrize("verb", [pull, install])
def test_an_empty_name_does_not_mean_everything(
    verb: Callable[..., object], there: str, registry: RunningRegistry, session: Session
) -> None:
    with Asked(registry) as asked, pytest.raises(UsageError, match="needs a name"):
        verb(there, checkpoint="", session=session)
    assert asked.requests == []


def test_two_parts_at_the_same_time_are_both_here(there: str, open_session: OpenSession, session: Session) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(pull, there, only=f"{q}/*", session=open_session()) for q in ("q4", "q8")]
    assert [future.exception() for future in done] == [None, None]
    (entry,) = list_(session=session).packages
    assert own(entry.partial) == ["q4/model.bin", "q8/model.bin"]
    assert cache_verify(session=session).damaged == ()


def test_a_part_and_the_whole_at_the_same_time_are_the_whole(
    there: str, open_session: OpenSession, session: Session
) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(pull, there, only=only, session=open_session()) for only in ("q4/*", ())]
    assert [future.exception() for future in done] == [None, None]
    (entry,) = list_(session=session).packages
    assert entry.partial is None


def test_globs_and_a_checkpoint_are_not_mixed(there: str, registry: RunningRegistry, session: Session) -> None:
    with Asked(registry) as asked, pytest.raises(UsageError, match="not both"):
        pull(there, only="*", checkpoint="q4", session=session)
    assert asked.requests == []


@pytest.mark.parametrize("only", ["q4/*", ()], ids=["the part", "the whole"])
def test_an_interrupted_part_goes_on_as(
    only: str | tuple[str, ...], folder: Path, tmp_path: Path, open_session: OpenSession, session: Session
) -> None:
    refused = Rule(Status(403), method="GET", path=f"/blobs/{name_of(Q4)}", times=1)
    with start(tmp_path / "faulty", faults=Faults(refused)) as registry:
        reference = f"{registry.address}/acme/chat:1.0.0"
        push(folder, tag=reference, session=open_session("elsewhere"))
        with pytest.raises(RegistryError):
            pull(reference, only="q4/*", session=session)
        assert list_(session=session).packages == ()  # a reference shows nothing half done
        with Asked(registry) as asked:
            result = pull(reference, only=only, session=session)
    assert weights(asked) == ({"q4"} if only else {"q4", "q8"})
    assert (result.partial is None) == (not only)
    assert cache_verify(session=session).damaged == ()


def test_an_interrupted_rest_leaves_the_part_as_it_was(
    folder: Path, tmp_path: Path, open_session: OpenSession, session: Session
) -> None:
    refused = Rule(Status(403), method="GET", path=f"/blobs/{name_of(Q8)}", times=1)
    with start(tmp_path / "faulty", faults=Faults(refused)) as registry:
        reference = f"{registry.address}/acme/chat:1.0.0"
        push(folder, tag=reference, session=open_session("elsewhere"))
        pull(reference, only="q4/*", session=session)
        with pytest.raises(RegistryError):
            pull(reference, session=session)
        (entry,) = list_(session=session).packages
        assert entry.partial is not None
        assert "q4/model.bin" in entry.partial.files
        assert cache_verify(session=session).damaged == ()
        assert pull(reference, session=session).partial is None


def test_a_new_version_is_whole_although_the_one_before_was_here_in_part(
    there: str, registry: RunningRegistry, folder: Path, open_session: OpenSession, session: Session
) -> None:
    pull(there, only="q4/*", session=session)
    make_model(folder, "acme/chat", "2.0.0", more=CHECKPOINTS, files={"config.json": b"{}"})
    newer = there.replace("1.0.0", "2.0.0")
    push(folder, tag=newer, session=open_session("elsewhere"))
    with Asked(registry) as asked:
        assert pull(newer, session=session).partial is None
    assert weights(asked) == {"q8"}


def test_a_part_is_the_seed_of_the_same_part_of_the_next_version(
    registry: RunningRegistry, tmp_path: Path, open_session: OpenSession, session: Session
) -> None:
    reference = f"{registry.address}/acme/large"
    versions = {"1.0.0": safetensors(layers(3)), "2.0.0": safetensors(layers(3), note="another licence")}
    for version, data in versions.items():
        files = {"model.safetensors": data, "other.safetensors": data[::-1]}
        push(write(tmp_path / version, files, version), tag=f"{reference}:{version}", session=open_session("elsewhere"))
    pull(f"{reference}:1.0.0", only="model.*", session=session)
    with Asked(registry) as asked:
        result = pull(f"{reference}:2.0.0", only="model.*", session=session)
    assert sum(request.bytes_out for request in asked.requests) < len(versions["2.0.0"]) / 100
    assert own(result.partial) == ["model.safetensors"]


def test_an_entry_of_an_index_is_pulled_in_part_by_its_digest(
    there: str, registry: RunningRegistry, session: Session
) -> None:
    repository = session.remote(session.qualify(there))
    entry = repository.resolve("1.0.0")
    data = Index((entry,)).to_bytes()
    root = Descriptor.of(data, IMAGE_INDEX)
    repository.push(root, io.BytesIO(data))
    repository.tag(root, "variants")
    with pytest.raises(NotAPackage, match="index of several artifacts"):
        pull(there.replace("1.0.0", "variants"), only="q4/*", session=session)
    with Asked(registry) as asked:
        result = pull(f"{there.rpartition(':')[0]}@{entry.digest}", only="q4/*", session=session)
    assert weights(asked) == {"q4"}
    assert own(result.partial) == ["q4/model.bin"]


# what needs the rest


def test_an_index_over_a_part_is_a_part(there: str, session: Session) -> None:
    entry = pull(there, only="q4/*", session=session).digest
    place = session.local(session.qualify(there))
    data = Index((place.resolve(str(entry)),)).to_bytes()
    root = Descriptor.of(data, IMAGE_INDEX)
    place.push(root, io.BytesIO(data))
    place.tag(root, "variants")
    with pytest.raises(PackagePartial):
        require_whole(place, root, there)


def needs_the_rest(there: str, session: Session, what: Callable[[Session], object]) -> None:
    with pytest.raises(PackagePartial) as caught:
        what(offline(session))
    assert caught.value.exit_code == 1
    assert f"installml pull {there}" in caught.value.hint


def test_a_part_is_not_pushed(there: str, registry: RunningRegistry, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    elsewhere = f"{registry.address}/acme/other:1.0.0"
    with Asked(registry) as asked:
        needs_the_rest(there, session, lambda s: push(there, elsewhere, session=replace(s, offline=False)))
    assert [request for request in asked.requests if request.method in ("POST", "PUT", "PATCH")] == []


def test_a_part_is_not_exported(there: str, tmp_path: Path, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    needs_the_rest(there, session, lambda s: export(there, str(tmp_path / "layout"), session=s))
    assert not (tmp_path / "layout").exists()


def test_a_part_is_exported_whole_where_the_registry_answers(there: str, tmp_path: Path, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    export(there, str(tmp_path / "layout"), session=session)
    copied = copy(f"oci-layout:{tmp_path / 'layout'}", "acme/carried:1.0.0", session=session)
    assert copied.size > len(Q4) + len(Q8)


def test_a_part_gets_no_chunk_index_of_its_own(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    needs_the_rest(there, session, lambda s: index(there, session=s))


def test_no_patch_is_made_from_a_part(there: str, folder: Path, session: Session, open_session: OpenSession) -> None:
    pull(there, only="q4/*", session=session)
    newer = there.replace("1.0.0", "2.0.0")
    needs_the_rest(
        there, session, lambda s: push(folder, tag=newer, patch_from=there, session=replace(s, offline=False))
    )


def test_a_part_is_not_installed_whole_without_its_registry(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    needs_the_rest(there, session, lambda s: install(there, session=s))
    assert list(session.installed.records()) == []


def test_a_part_is_installed_without_its_registry(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    result = install(there, only="q4/*", session=offline(session))
    assert tree(result.path) == {"q4/model.bin"}


def test_a_tag_on_a_part_is_a_part(there: str, registry: RunningRegistry, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    tag(there, "stable", session=session)
    result = pull(there.replace("1.0.0", "stable"), only="config.json", session=session)
    assert own(result.partial) == ["config.json", "q4/model.bin"]


# the store


def test_what_was_left_out_is_no_damage(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    verified = cache_verify(session=session)
    assert verified.damaged == ()
    assert verified.partial == (there,)


def test_a_whole_store_has_no_parts(there: str, session: Session) -> None:
    pull(there, session=session)
    assert cache_verify(session=session).partial == ()


def test_what_was_fetched_and_is_gone_is_damage(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    session.store.blobs.path(Digest.of(Q4)).unlink()
    with pytest.raises(CacheDamaged) as caught:
        cache_verify(session=session)
    assert [blob.digest for blob in caught.value.verification.damaged] == [Digest.of(Q4)]


def test_mending_a_part_fetches_nothing_that_was_left_out(
    there: str, registry: RunningRegistry, session: Session
) -> None:
    pull(there, only="q4/*", session=session)
    blob = session.store.blobs.path(Digest.of(Q4))
    blob.chmod(0o644)
    blob.write_bytes(b"5" * len(Q4))
    with Asked(registry) as asked:
        repaired = cache_repair(session=session)
    assert weights(asked) == {"q4"}
    assert ([blob.digest for blob in repaired.mended], repaired.partial) == ([Digest.of(Q4)], (there,))
    assert cache_verify(session=session).damaged == ()


def test_a_collection_keeps_a_part_and_what_is_known_of_it(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    cache_gc(session=session)
    assert cache_verify(session=session).partial == (there,)
    assert install(there, only="q4/*", session=offline(session)).partial is not None


def test_a_removed_part_leaves_nothing(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    remove(there, local=True, session=session)
    later = replace(session, clock=lambda: 4_000_000_000.0)
    cache_gc(session=later)
    assert list(session.store.blobs.digests()) == []
    assert not list((session.home / "state" / "partial").iterdir())


def test_list_and_info_tell_what_is_here(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    (entry,) = list_(session=session).packages
    shown = info(there, session=session)
    assert own(entry.partial) == own(shown.partial) == ["q4/model.bin"]
    assert shown.checkpoints == ("q4", "q8")


def test_list_and_info_of_what_is_whole_tell_of_no_part(there: str, session: Session) -> None:
    pull(there, only="q4/*", session=session)
    pull(there, session=session)
    (entry,) = list_(session=session).packages
    assert (entry.partial, info(there, session=session).partial) == (None, None)


# install


def test_a_part_is_installed_and_told(there: str, registry: RunningRegistry, session: Session) -> None:
    with Asked(registry) as asked:
        result = install(there, checkpoint="q4", session=session)
    assert weights(asked) == {"q4"}
    assert tree(result.path) == {"config.json", "q4/model.bin", "installml.yaml"}
    assert set(own(result.partial)) == tree(result.path)
    assert set(find_installed(there, session).partial) == set(result.partial.files if result.partial else ())


def test_a_dry_run_of_a_part_counts_the_part(there: str, session: Session) -> None:
    planned = install(there, only="q4/*", dry_run=True, session=session)
    assert len(Q4) <= planned.moved < len(Q8)
    assert own(planned.partial) == ["q4/model.bin"]
    assert not session.home.exists()


def test_installing_a_part_again_changes_nothing(there: str, session: Session) -> None:
    first = install(there, only="q4/*", session=session)
    again = install(there, only="q4/*", session=session)
    assert (again.unchanged, again.path, again.moved) == (True, first.path, 0)


def test_the_whole_is_installed_after_a_part(there: str, registry: RunningRegistry, session: Session) -> None:
    part = install(there, only="q4/*", session=session)
    with Asked(registry) as asked:
        whole = install(there, session=session)
    assert weights(asked) == {"q8"}
    assert tree(whole.path) == {*FILES, "installml.yaml"}
    assert (whole.partial, whole.unchanged) == (None, False)
    assert not Path(part.path).exists()


def test_the_tree_of_a_part_never_has_the_name_of_the_whole(there: str, session: Session) -> None:
    part = install(there, only="q4/*", session=session)
    other = install(there, only="config.json", session=session)
    whole = install(there, session=session)
    assert len({part.path, other.path, whole.path}) == 3
    assert Path(whole.path).name == str(whole.digest).replace(":", "-")


def test_another_part_is_installed_beside_the_first(there: str, session: Session) -> None:
    install(there, only="q4/*", session=session)
    result = install(there, only="q8/*", session=session)
    assert tree(result.path) == {"q4/model.bin", "q8/model.bin"}


def test_a_part_of_what_is_installed_whole_changes_nothing(there: str, session: Session) -> None:
    whole = install(there, session=session)
    result = install(there, only="q4/*", session=session)
    assert (result.unchanged, result.path, result.partial) == (True, whole.path, None)


def test_a_damaged_part_is_laid_out_anew(there: str, session: Session) -> None:
    path = Path(install(there, only="q4/*", session=session).path)
    (path / "q4").chmod(0o755)
    (path / "q4" / "model.bin").unlink()
    result = install(there, only="q4/*", session=session)
    assert not result.unchanged
    assert (Path(result.path) / "q4" / "model.bin").read_bytes() == Q4


def test_after_uninstalling_a_part_starts_anew(there: str, session: Session) -> None:
    install(there, only="q4/*", session=session)
    uninstall(there, session=session)
    assert tree(install(there, only="q8/*", session=session).path) == {"q8/model.bin"}


def test_list_tells_of_an_installed_part_that_the_store_has_whole(there: str, session: Session) -> None:
    install(there, only="q4/*", session=session)
    pull(there, session=session)
    (entry,) = list_(session=session).packages
    assert entry.installed
    assert own(entry.partial) == own(info(there, session=session).partial) == ["q4/model.bin"]


def test_a_recipe_whose_checkpoint_means_no_file_is_refused(tmp_path: Path, session: Session) -> None:
    wrong = make_model(tmp_path / "wrong", more='checkpoints:\n  best: ["best/**"]\n', files=FILES)
    with pytest.raises(RecipeInvalid, match=r"no file of the package is meant by best/\*\*"):
        push(wrong, tag="localhost:1/acme/wrong:1", session=session)


def test_a_part_that_cannot_run_gets_no_environment(open_session: OpenSession) -> None:
    session = open_session(flags={"offline": True})
    runtime = RuntimeManifest("python", entrypoint="model.py:Model", requirements=("numpy>=2",))
    checkpoints = {ANNOTATION_CHECKPOINTS: '{"q4":["q4/**"],"q8":["q8/**"]}'}
    packed = package_bytes({**FILES, "model.py": b"class Model: ...\n"}, runtime=runtime, annotations=checkpoints)
    packed.push(session.local(session.qualify("acme/chat")), "1.0.0")
    assert install("acme/chat:1.0.0", only="q4/*", session=session).runtime == ""
    with pytest.raises(ModelError):  # a checkpoint runs, and so needs an environment, which cannot be had here
        install("acme/chat:1.0.0", checkpoint="q4", session=session)


# at work


@pytest.mark.parametrize("verb", [serving.serve, serving.predict, serving.test], ids=["serve", "predict", "test"])
def test_an_installed_part_does_not_run(verb: Callable[..., object], there: str, session: Session) -> None:
    install(there, only="q4/*", session=session)
    with pytest.raises(PackagePartial, match="is installed in part") as caught:
        verb(there, session=session)
    assert caught.value.hint == f"Install the rest: installml install {there}"


def test_a_part_of_the_store_is_completed_before_it_runs(
    there: str, registry: RunningRegistry, session: Session
) -> None:
    pull(there, only="q4/*", session=session)
    with Asked(registry) as asked, pytest.raises(InstallMLError) as caught:
        serving.predict(there, {}, session=session)
    assert not isinstance(caught.value, PackagePartial)  # there is no engine in this package
    assert weights(asked) == {"q8"}
    assert tree(find_installed(there, session).path) == {*FILES, "installml.yaml"}


def test_a_whole_checkpoint_may_run(there: str, session: Session) -> None:
    install(there, checkpoint="q4", session=session)
    with pytest.raises(InstallMLError) as caught:
        serving.predict(there, {}, session=session)
    assert not isinstance(caught.value, PackagePartial)  # it came as far as the engine, of which there is none
    assert tree(find_installed(there, session).path) == {"config.json", "q4/model.bin", "installml.yaml"}
