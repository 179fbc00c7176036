"""install and uninstall as decisions: what counts as installed, as unchanged, as the one that is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.cache import cache_gc, cache_verify
from installml.api.copy import copy
from installml.api.info import info, list_
from installml.api.install import LayersUnsupported, find_installed, install, uninstall
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.errors import NotFound, UsageError
from installml.reference import Reference
from installml.registry_server import RunningRegistry
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST
from installml.testing import small_package
from installml.trust.errors import Unsigned
from tests.unit.api.kit import Asked, snapshot


@pytest.fixture
def there(registry: RunningRegistry, model: Path, open_session: Callable[..., Session]) -> str:
    """Return the reference of a package that only the registry has."""
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=open_session("elsewhere"))
    return reference


def test_what_was_installed_is_told_in_full(there: str, registry: RunningRegistry, session: Session) -> None:
    result = install(there, session=replace(session, clock=lambda: 1_700_000_000.5))
    shown = info(there, session=session)
    assert (result.digest, result.size, result.name, result.version) == (
        shown.digest, shown.size, "acme/sentiment", "1.0.0",
    )  # fmt: skip
    assert result.source == registry.address
    assert result.moved > result.size  # the manifest moved as well
    assert (result.signers, result.unchanged) == ((), False)
    assert "not verified" in result.notices[0]
    assert shown.installed == result.path
    record = find_installed(there, session)
    assert (str(record.path), record.installed_at) == (result.path, 1_700_000_000)


def test_installing_what_was_built_here_is_no_repetition(session: Session, model: Path) -> None:
    build(model, session=session)
    first = install("acme/sentiment:1.0.0", session=session)
    assert (first.moved, first.unchanged, first.source) == (0, False, "local store")
    assert install("acme/sentiment:1.0.0", session=session).unchanged


def test_a_dry_run_says_what_would_move_and_changes_nothing(there: str, session: Session) -> None:
    planned = install(there, dry_run=True, session=session)
    assert not session.home.exists()
    assert planned.moved == planned.size > 0
    assert planned.path == ""
    assert install(there, session=session).digest == planned.digest
    assert install(there, dry_run=True, session=session).moved == 0


def test_a_damaged_tree_is_made_anew(there: str, session: Session) -> None:
    tree = Path(install(there, session=session).path)
    expected = snapshot(tree)
    tree.chmod(0o755)
    (tree / "weights.bin").unlink()
    assert not install(there, session=session).unchanged
    assert snapshot(tree) == expected


@pytest.mark.signatures
def test_who_accepts_no_signature_is_on_record(there: str, session: Session) -> None:
    result = install(there, allow_unsigned=True, session=session)
    assert find_installed(there, session).allow_unsigned
    assert "not verified" in result.notices[0]


@pytest.mark.signatures
def test_what_nobody_signed_is_refused_before_any_of_it_is_asked_for(
    there: str, registry: RunningRegistry, session: Session
) -> None:
    with Asked(registry) as asked, pytest.raises(Unsigned):
        install(there, session=session)
    assert not [each.path for each in asked.requests if "/blobs/" in each.path]
    assert not list(session.store.refs())


@pytest.mark.signatures
def test_what_was_built_here_needs_nobodys_word(registry: RunningRegistry, model: Path, session: Session) -> None:
    reference = f"{registry.address}/acme/own:1.0.0"
    push(model, tag=reference, session=session)
    assert install(reference, session=session).notices == ("built on this machine",)


@pytest.mark.parametrize("version", ["version one", "../../../etc", "", "-1", "x" * 200])
def test_a_version_that_is_no_tag_is_not_taken_for_a_folder(version: str, session: Session) -> None:
    small_package(session.store.repository("tool.example", "x"), "stable", version=version)
    result = install("tool.example/x:stable", session=replace(session, offline=True))
    assert result.version == "stable"
    assert Path(result.path).is_relative_to(session.installed.folder)


def test_files_keep_their_executable_bit_and_nothing_is_writable(session: Session) -> None:
    files = {"run.sh": b"#!/bin/sh\n", "deep/er/data.bin": b"1"}
    small_package(session.store.repository("tool.example", "x"), "1", files=files, executable={"run.sh"})
    tree = Path(install("tool.example/x:1", session=replace(session, offline=True)).path)
    modes = {str(p.relative_to(tree)): p.stat().st_mode & 0o777 for p in (tree, *tree.rglob("*"))}
    assert modes == {".": 0o555, "deep": 0o555, "deep/er": 0o555, "deep/er/data.bin": 0o444, "run.sh": 0o555}


def test_packed_layers_are_refused_with_the_cure(session: Session) -> None:
    config, layer = (Descriptor.of(data, kind) for data, kind in (
        (b"{}", MODEL_CONFIG), (b"tar", "application/vnd.cncf.model.weight.v1.tar"),
    ))  # fmt: skip
    layer = layer.annotated({"org.cncf.model.filepath": "model"})
    manifest = Manifest(config, (layer,), MODEL_MANIFEST, {}, None).to_bytes()
    place = session.store.repository("tool.example", "x")
    for descriptor, data in ((config, b"{}"), (layer, b"tar"), (Descriptor.of(manifest, IMAGE_MANIFEST), manifest)):
        with (session.home.parent / "bytes").open("wb+") as stream:
            stream.write(data)
            stream.seek(0)
            place.push(descriptor, stream)
    place.tag(Descriptor.of(manifest, IMAGE_MANIFEST), "1")
    with pytest.raises(LayersUnsupported, match="packed as tar") as caught:
        install("tool.example/x:1", session=replace(session, offline=True))
    assert "modctl build --raw" in caught.value.hint
    assert not session.installed.folder.exists()


# -- which one is meant ---------------------------------------------------------------------------------------------


def installed(session: Session, *references: str) -> Session:
    """Install a package of each reference, whose tag is its version, without asking anybody."""
    offline = replace(session, offline=True)
    for reference in references:
        parsed = Reference.parse(reference)
        place = session.store.repository(parsed.registry, parsed.repository)
        small_package(place, parsed.tag, name=parsed.repository, version=parsed.tag)
        install(reference, session=offline)
    return offline


def test_a_name_alone_means_what_was_installed_last_even_within_one_second(session: Session) -> None:
    frozen = replace(session, clock=lambda: 1_700_000_000.0)
    installed(frozen, "r.example/x:1.0.0", "r.example/x:2.0.0")
    assert find_installed("x", session).version == "2.0.0"
    installed(frozen, "r.example/x:1.0.0")
    assert find_installed("x", session).version == "1.0.0"
    assert find_installed("x:2.0.0", session).version == "2.0.0"


def test_a_tag_and_the_version_below_it_both_name_the_model(session: Session) -> None:
    small_package(session.store.repository("r.example", "x"), "stable", version="1.0.0")
    result = install("r.example/x:stable", session=replace(session, offline=True))
    for spelled in ("x", "x:stable", "x:1.0.0", "r.example/x", f"x@{result.digest}", str(result.reference)):
        assert find_installed(spelled, session).descriptor.digest == result.digest
    for spelled in ("x:2.0.0", "other.example/x", "y/x", f"x@sha256:{'0' * 64}"):
        with pytest.raises(NotFound) as caught:
            find_installed(spelled, session)
        assert caught.value.hint == f"installml install {spelled}"


def test_a_default_registry_with_a_path_finds_what_it_installed(session: Session) -> None:
    acme = replace(session, default_registry="r.example/acme")
    installed(session, "r.example/acme/x:1.0.0")
    assert install("x:1.0.0", session=replace(acme, offline=True)).unchanged
    assert find_installed("x", acme).version == "1.0.0"
    assert find_installed("acme/x", session).version == "1.0.0"


def test_two_registries_with_one_name_are_not_guessed_between(session: Session) -> None:
    installed(session, "a.example/x:1.0.0", "b.example/x:1.0.0")
    with pytest.raises(UsageError, match=r"a\.example and b\.example") as caught:
        find_installed("x", session)
    assert caught.value.hint == "Name one: a.example/x"
    assert find_installed("x", replace(session, default_registry="b.example")).reference.registry == "b.example"


# -- uninstall ------------------------------------------------------------------------------------------------------


def test_what_was_fetched_is_gone_after_uninstall_and_gc(there: str, session: Session) -> None:
    result = install(there, session=session)
    assert uninstall("acme/sentiment", session=session).path == result.path
    collected = cache_gc(session=session)
    assert collected.freed == result.moved
    assert set(snapshot(session.home)) == {"oci-layout"}


def test_what_was_built_here_survives_uninstall_and_gc(session: Session, model: Path) -> None:
    build(model, session=session)
    before = snapshot(session.home)
    install("acme/sentiment:1.0.0", session=session)
    uninstall("acme/sentiment", session=session)
    cache_gc(session=session)
    assert snapshot(session.home) == before


def test_uninstalling_one_of_two_names_of_one_package_leaves_the_other_whole(
    there: str, session: Session, registry: RunningRegistry
) -> None:
    other = f"{registry.address}/other:1.0.0"
    copy(there, other, session=session)
    kept = Path(install(other, session=session).path)
    expected = snapshot(kept)
    install(there, session=session)
    uninstall(there, session=session)
    cache_gc(session=session)
    assert [str(entry.reference) for entry in list_(session=session).packages] == [other]
    assert snapshot(kept) == expected
    assert cache_verify(session=session).damaged == ()


def test_uninstalling_what_is_not_installed_changes_nothing(there: str, session: Session) -> None:
    pull(there, session=session)
    before = snapshot(session.home)
    with pytest.raises(NotFound, match="is not installed"):
        uninstall("acme/sentiment", session=session)
    assert snapshot(session.home) == before


def test_a_damaged_manifest_does_not_keep_a_model_installed(there: str, session: Session) -> None:
    record = find_installed(install(there, session=session).reference, session)
    blob = session.store.blobs.path(record.descriptor.digest)
    data = bytearray(blob.read_bytes())
    data[data.index(b"sentiment")] ^= 1  # still JSON
    blob.chmod(0o644)
    blob.write_bytes(bytes(data))
    uninstall("acme/sentiment", session=session)
    assert list(session.installed.records()) == []
    assert not record.path.exists()
