from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from installml.registry.auth import Credentials
from installml.registry.credentials import CredentialFiles, CredentialStore
from installml.registry.errors import CredentialsUnusable

ANN = Credentials("ann", "pen:cil")

HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_suffix(".json")
pathlib.Path(__file__).with_suffix(".argv").open("a").write(json.dumps(sys.argv[1:]) + "\\n")
known = json.loads(kept.read_text()) if kept.exists() else {}
text, action = sys.stdin.read(), sys.argv[1]
if action == "store":
    entry = json.loads(text)
    known[entry["ServerURL"]] = entry
elif action == "get":
    if text not in known:
        sys.exit(print("credentials not found in native keychain") or 1)
    print(json.dumps(known[text]))
elif action == "erase":
    known.pop(text)
kept.write_text(json.dumps(known))
"""


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


def write(path: Path, config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper named ``box``; what it was given is beside it."""
    program = write(tmp_path / "bin" / "docker-credential-box", HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


# -- finding ----------------------------------------------------------------------------------------------------


def test_nothing_is_known_without_files(docker: Path) -> None:
    assert CredentialStore(CredentialFiles(docker, (docker.parent / "none",))).find("ghcr.io", "a/b") is None


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("http://localhost:5000/v1", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
        ("index.docker.io", "docker.io"),
    ],
)
def test_dockers_keys_are_understood_in_every_spelling(docker: Path, key: str, registry: str) -> None:
    write(docker, {"auths": {key: auth("ann:pen:cil")}})
    assert CredentialStore(CredentialFiles(docker)).find(registry, "acme/x") == ANN


@pytest.mark.parametrize("registry", ["ghcr.io.evil.net", "evil-ghcr.io", "ghcr.io:8443", "io", "sub.ghcr.io"])
def test_no_other_host_gets_them(docker: Path, registry: str) -> None:
    write(docker, {"auths": {"ghcr.io": auth("ann:pencil")}})
    assert CredentialStore(CredentialFiles(docker)).find(registry, "ghcr.io/x") is None


def test_the_most_special_entry_of_podmans_files_wins_and_the_first_file_that_knows_any(
    docker: Path, tmp_path: Path
) -> None:
    first = write(tmp_path / "run.json", {"auths": {"quay.io/acme": auth("acme:1"), "quay.io/acme/x": auth("x:2")}})
    second = write(tmp_path / "home.json", {"auths": {"quay.io": auth("home:3"), "quay.io/acme/x": auth("late:4")}})
    write(docker, {"auths": {"quay.io": auth("docker:5"), "ghcr.io": auth("docker:6")}})
    store = CredentialStore(CredentialFiles(docker, (first, second)))

    def user(registry: str, repository: str = "") -> str:
        found = store.find(registry, repository)
        return found.username if found else ""

    assert user("quay.io", "acme/x") == "x"
    assert user("quay.io", "acme/x/y") == "x"
    assert user("quay.io", "acme/xy") == "acme"
    assert user("quay.io", "other/x") == "home"
    assert user("quay.io") == "home"
    assert user("ghcr.io", "acme/x") == "docker"


def test_tokens_and_plain_fields_are_understood(docker: Path) -> None:
    write(
        docker,
        {
            "auths": {
                "a.example": {**auth("00000000-0000-0000-0000-000000000000:"), "identitytoken": "r3fresh"},
                "b.example": {"registrytoken": "given"},
                "c.example": {"username": "ann", "password": "pen:cil"},
                "d.example": {},
            }
        },
    )
    store = CredentialStore(CredentialFiles(docker))
    assert store.find("a.example") == Credentials("00000000-0000-0000-0000-000000000000", "", "r3fresh")
    assert store.find("b.example") == Credentials(registry_token="given")
    assert store.find("c.example") == ANN
    assert store.find("d.example") is None


@pytest.mark.parametrize(
    "config",
    [
        "{not json",
        "[]",
        '{"auths": []}',
        '{"auths": {"ghcr.io": {"auth": "s3cret!"}}}',
        '{"auths": {"ghcr.io": {"auth": "czNjcmV0"}}}',
        '{"credHelpers": "s3cret"}',
        '{"credsStore": "../s3cret"}',
        '{"credHelpers": {"ghcr.io": "s3cret;x"}}',
        '{"credsStore": {"s3cret": 1}}',
        '{"credsStore": "not-installed-anywhere"}',
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_not_quoted(docker: Path, config: str) -> None:
    write(docker, config)
    with pytest.raises(CredentialsUnusable) as raised:
        CredentialStore(CredentialFiles(docker)).find("ghcr.io")
    assert "s3cret" not in raised.value.message + raised.value.hint


def test_an_empty_file_knows_nobody(docker: Path) -> None:
    write(docker, "")
    assert CredentialStore(CredentialFiles(docker)).find("ghcr.io") is None


# -- saving and erasing -----------------------------------------------------------------------------------------


def test_what_is_saved_is_found_and_the_rest_of_the_file_is_kept(docker: Path) -> None:
    others = {"proxies": {"default": {}}, "auths": {"quay.io": auth("q:1"), "https://ghcr.io/v2/": auth("old:1")}}
    write(docker, others)
    store = CredentialStore(CredentialFiles(docker))
    assert store.save("ghcr.io", ANN) == str(docker)
    assert store.find("ghcr.io") == ANN
    written = json.loads(docker.read_text())
    assert written == {"proxies": {"default": {}}, "auths": {"quay.io": auth("q:1"), "ghcr.io": auth("ann:pen:cil")}}
    assert stat.S_IMODE(docker.stat().st_mode) == 0o600
    assert [path.name for path in docker.parent.iterdir()] == ["config.json"]


def test_a_new_file_and_its_folder_are_for_their_owner_only(docker: Path) -> None:
    CredentialStore(CredentialFiles(docker)).save("docker.io", Credentials("ann", identity_token="r3fresh"))
    assert stat.S_IMODE(docker.stat().st_mode) == 0o600
    assert stat.S_IMODE(docker.parent.stat().st_mode) == 0o700
    expected = {"https://index.docker.io/v1/": {**auth("ann:"), "identitytoken": "r3fresh"}}
    assert json.loads(docker.read_text())["auths"] == expected


def test_a_linked_file_stays_a_link(docker: Path, tmp_path: Path) -> None:
    real = write(tmp_path / "real.json", {})
    docker.parent.mkdir()
    docker.symlink_to(real)
    CredentialStore(CredentialFiles(docker)).save("ghcr.io", ANN)
    assert docker.is_symlink()
    assert "ghcr.io" in real.read_text()


def test_erasing_takes_every_spelling_and_says_whether_there_was_one(docker: Path) -> None:
    write(docker, {"auths": {"ghcr.io": auth("a:1"), "https://ghcr.io": auth("b:2"), "quay.io": auth("q:3")}})
    store = CredentialStore(CredentialFiles(docker))
    assert store.erase("ghcr.io")
    assert json.loads(docker.read_text()) == {"auths": {"quay.io": auth("q:3")}}
    assert not store.erase("ghcr.io")


def test_a_file_that_cannot_be_written_is_an_error_and_stays_as_it_was(docker: Path, tmp_path: Path) -> None:
    write(tmp_path / "docker", "a file in the folder's place")
    with pytest.raises(CredentialsUnusable, match="cannot be written"):
        CredentialStore(CredentialFiles(docker)).save("ghcr.io", ANN)
    assert (tmp_path / "docker").read_text() == "a file in the folder's place"


# -- helpers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{"credsStore": "box"}, {"credHelpers": {"docker.io": "box"}}])
def test_a_helper_keeps_what_is_saved_and_the_file_and_the_arguments_do_not(
    docker: Path, helper: Path, config: dict[str, Any]
) -> None:
    write(docker, config)
    store = CredentialStore(CredentialFiles(docker))
    assert store.find("docker.io", "library/x") is None
    assert store.save("docker.io", ANN) == "the credential helper box"
    assert store.find("docker.io", "library/x") == ANN
    assert json.loads(docker.read_text()) == config
    kept = json.loads(helper.with_suffix(".json").read_text())
    assert list(kept) == ["https://index.docker.io/v1/"]
    assert store.erase("docker.io")
    assert store.find("docker.io") is None
    assert not store.erase("docker.io")
    assert set(map(str.strip, helper.with_suffix(".argv").open())) == {'["get"]', '["store"]', '["erase"]'}


def test_a_helper_of_one_registry_is_not_asked_about_another(docker: Path, helper: Path) -> None:
    write(docker, {"credHelpers": {"ghcr.io": "box"}, "auths": {"quay.io": auth("ann:pen:cil")}})
    assert CredentialStore(CredentialFiles(docker)).find("quay.io") == ANN
    assert not helper.with_suffix(".argv").exists()


def test_a_helpers_identity_token_is_known_by_its_user_name(docker: Path, helper: Path) -> None:
    write(docker, {"credsStore": "box"})
    store = CredentialStore(CredentialFiles(docker))
    store.save("acme.azurecr.io", Credentials("0", identity_token="r3fresh"))
    assert store.find("acme.azurecr.io") == Credentials(identity_token="r3fresh")


@pytest.mark.parametrize(
    "script", ["echo s3cret; exit 3", "echo s3cret", 'echo \'{"Username": 1, "Secret": "s3cret"}\'']
)
def test_a_helper_that_fails_is_named_and_what_it_said_is_not_repeated(docker: Path, helper: Path, script: str) -> None:
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    write(docker, {"credsStore": "box"})
    with pytest.raises(CredentialsUnusable, match="box") as raised:
        CredentialStore(CredentialFiles(docker)).find("ghcr.io")
    assert "s3cret" not in raised.value.message + raised.value.hint
