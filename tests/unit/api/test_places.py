"""Who is asked for a package, in which order, and what is said when the first has no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.places import find, is_folder
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.api.tags import remove, tag
from installml.errors import NotFound, ReferenceInvalid
from installml.registry.errors import ConnectionRefused, ManifestUnknown, Offline, RegistryError
from installml.registry_server import Faults, RunningRegistry, start
from installml.registry_server.faults import Rule, Status
from tests.unit.api.kit import Asked, Heard


@pytest.fixture
def pushed(registry: RunningRegistry, model: Path, open_session: Callable[..., Session]) -> str:
    """Return the reference of a package that only the registry has."""
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=open_session("elsewhere"))
    return reference


def test_a_registry_is_asked_and_the_tag_becomes_a_digest_once(
    pushed: str, registry: RunningRegistry, session: Session
) -> None:
    with Asked(registry) as asked:
        found = find(pushed, session)
    assert found.remote
    assert found.origin == registry.address
    assert found.reference.digest == found.descriptor.digest
    assert found.package().name == "acme/sentiment"
    assert asked.lines == ["GET 1.0.0"]


def test_a_name_without_a_tag_means_latest_there_and_here(
    pushed: str, registry: RunningRegistry, session: Session
) -> None:
    tag(pushed, "latest", session=session)
    pull(f"{registry.address}/acme/sentiment", session=session)
    offline = replace(session, offline=True)
    assert find(f"{registry.address}/acme/sentiment", offline).reference.tag == "latest"


def test_a_registry_that_is_gone_is_replaced_by_the_local_copy_and_that_is_said(
    model: Path, open_session: Callable[..., Session], heard: Heard, tmp_path: Path
) -> None:
    with start(tmp_path / "r") as registry:
        reference = f"{registry.address}/acme/sentiment:1.0.0"
        push(model, tag=reference, session=open_session("elsewhere"))
        pull(reference, session=open_session())
    session = open_session(on_event=heard)
    found = find(reference, session)
    assert not found.remote
    assert found.origin == "local store"
    [notice] = heard.notices
    assert f"nobody listens at {registry.address}" in notice
    assert f"using the copy of {reference} on this machine" in notice


def test_a_registry_that_has_lost_the_package_is_replaced_by_the_local_copy_and_that_is_said(
    pushed: str, session: Session, heard: Heard
) -> None:
    pull(pushed, session=session)
    remove(pushed, session=session)
    assert not find(pushed, replace(session, on_event=heard)).remote
    assert "using the copy" in heard.notices[0]


def test_without_a_local_copy_the_registry_s_own_error_is_told(
    pushed: str, session: Session, closed_port: int, heard: Heard
) -> None:
    with pytest.raises(ManifestUnknown) as caught:
        find(pushed.replace("1.0.0", "2.0.0"), session)
    assert caught.value.hint.startswith("List what is there with: installml tags ")
    with pytest.raises(ConnectionRefused):
        find(f"127.0.0.1:{closed_port}/acme/sentiment:1.0.0", replace(session, on_event=heard))
    assert heard.notices == []


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_registry_that_says_no_is_not_replaced_by_an_old_copy(
    status: int, model: Path, open_session: Callable[..., Session], tmp_path: Path
) -> None:
    session = open_session()
    with start(tmp_path / "r") as registry:
        reference = f"{registry.address}/acme/sentiment:1.0.0"
        push(model, tag=reference, session=open_session("elsewhere"))
        pull(reference, session=session)
    faults = Faults(Rule(Status(status), path="/manifests/1.0.0"))
    with start(tmp_path / "r", port=registry.port, faults=faults), pytest.raises(RegistryError) as caught:
        find(reference, session)
    assert caught.value.status == status


def test_offline_asks_nobody(pushed: str, registry: RunningRegistry, session: Session) -> None:
    pull(pushed, session=session)
    with Asked(registry) as asked:
        assert not find(pushed, replace(session, offline=True)).remote
    assert asked.requests == []


def test_offline_without_a_local_copy_says_what_to_do(pushed: str, session: Session) -> None:
    with pytest.raises(NotFound, match="is not in the local store") as caught:
        find(pushed, replace(session, offline=True))
    assert caught.value.hint == "Run it again without --offline."


def test_pulling_offline_is_refused_and_not_answered_from_the_store(
    open_session: Callable[..., Session], model: Path
) -> None:
    session = open_session(flags={"offline": True})
    build(model, tag="registry.example/acme/sentiment:1.0.0", session=session)
    with pytest.raises(Offline):
        pull("registry.example/acme/sentiment:1.0.0", session=session)


def test_a_pull_does_not_pass_an_old_copy_for_the_registry_s(
    model: Path, open_session: Callable[..., Session], tmp_path: Path
) -> None:
    with start(tmp_path / "r") as registry:
        reference = f"{registry.address}/acme/sentiment:1.0.0"
        push(model, tag=reference, session=open_session("elsewhere"))
        pull(reference, session=open_session())
    with pytest.raises(ConnectionRefused):
        pull(reference, session=open_session())


def test_a_pull_of_a_name_without_a_registry_says_how_to_name_one(session: Session, model: Path) -> None:
    build(model, session=session)
    with pytest.raises(ReferenceInvalid, match="names no registry"):
        pull("acme/sentiment:1.0.0", session=session)


def test_what_was_built_here_is_found_without_a_registry_and_a_wrong_tag_names_the_right_ones(
    session: Session, model: Path
) -> None:
    build(model, session=session)
    assert find("acme/sentiment:1.0.0", session).origin == "local store"
    with pytest.raises(NotFound) as caught:
        find("acme/sentiment:2.0.0", session)
    assert caught.value.hint == "Name a tag that is here: 1.0.0"


def test_a_bare_name_means_the_one_package_that_was_brought_here(pushed: str, session: Session) -> None:
    pull(pushed, session=session)
    assert str(find("acme/sentiment", replace(session, offline=True)).reference).startswith(pushed)


def test_a_bare_name_that_two_registries_have_brought_is_not_guessed(session: Session, model: Path) -> None:
    for registry in ("a.example", "b.example"):
        build(model, tag=f"{registry}/acme/sentiment:1.0.0", session=session)
    with pytest.raises(ReferenceInvalid, match=r"a\.example and b\.example") as caught:
        find("acme/sentiment", session)
    assert caught.value.hint == "Name one: a.example/acme/sentiment"


@pytest.mark.parametrize(
    ("text", "folder"),
    [("./model", True), ("/model", True), ("~/model", True), ("dir:model", True), (".", True), ("model", True),
     ("plain", False), ("acme/model:1", False), ("model:1", False)],
)  # fmt: skip
def test_what_is_spelled_like_a_path_or_holds_a_recipe_is_a_folder(
    text: str, folder: bool, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    (model.parent / "plain").mkdir()
    assert is_folder(text) is folder
