"""What names mean before anybody is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.session import Session
from installml.errors import ReferenceInvalid
from installml.machines.machine import Machine


@pytest.mark.parametrize(
    ("default", "text", "means"),
    [
        ("", "acme/sentiment", "local/acme/sentiment"),
        ("", "sentiment:1.0.0", "local/sentiment:1.0.0"),
        ("ghcr.io", "acme/sentiment:1.0.0", "ghcr.io/acme/sentiment:1.0.0"),
        ("ghcr.io/acme", "sentiment", "ghcr.io/acme/sentiment"),
        ("localhost:5000", "x", "localhost:5000/x"),
        ("ghcr.io/acme", "quay.io/other/x:1", "quay.io/other/x:1"),
        ("ghcr.io/acme", "local/x:1", "local/x:1"),
        ("ghcr.io", f"x@sha256:{'0' * 64}", f"ghcr.io/x@sha256:{'0' * 64}"),
    ],
)
def test_a_bare_name_belongs_to_the_default_registry_or_to_this_machine(
    default: str, text: str, means: str, open_session: Callable[..., Session]
) -> None:
    assert str(open_session(default_registry=default).qualify(text)) == means


@pytest.mark.parametrize("default", ["acme", "https://ghcr.io", "GHCR IO", "ghcr.io/acme:1", "ghcr.io/Acme"])
def test_a_default_registry_that_is_none_is_told_with_an_example(
    default: str, open_session: Callable[..., Session]
) -> None:
    with pytest.raises(ReferenceInvalid, match="the default registry") as caught:
        open_session(default_registry=default).qualify("x")
    assert "INSTALLML_REGISTRY" in caught.value.hint


def test_a_package_without_a_registry_has_no_remote_place(session: Session) -> None:
    with pytest.raises(ReferenceInvalid, match="acme/x names no registry") as caught:
        session.remote(session.qualify("acme/x"))
    assert "REGISTRY/acme/x" in caught.value.hint


def test_a_registry_is_opened_once(open_session: Callable[..., Session]) -> None:
    hosts: list[str] = []
    plain = open_session()

    def opened(host: str, source: object) -> object:
        hosts.append(host)
        return plain.open_registry_as(host, plain.credentials)

    session = open_session(open_registry_as=opened)
    for name in ("a.example/x", "a.example/y", "b.example/x"):
        session.remote(session.qualify(name))
    assert hosts == ["a.example", "b.example"]


def test_the_machine_that_was_given_counts(open_session: Callable[..., Session], tmp_path: Path) -> None:
    machine = Machine("linux", "riscv64", 1, frozenset(), 1, 1)
    asked: list[Path] = []

    def probe(folder: Path) -> Machine:
        asked.append(folder)
        return machine

    assert open_session(probe=probe).machine() is machine
    assert asked == [tmp_path / "home"]
    assert open_session().machine().cores >= 1
