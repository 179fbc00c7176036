"""``installml keys``, as a person or a script types it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

import installml
from installml.signing.keyfile import PrivateKey, read_private, write_cosign, write_pkcs8
from installml.signing.secret import Secret, ask_nobody
from installml.trust.keys import PublicKey
from installml.trust.rotation import parse_rotation

Run = Callable[..., Any]
PHRASE = "correct horse battery"


@pytest.fixture
def phrase(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the passphrase as a script does."""
    monkeypatch.setenv("INSTALLML_KEY_PASSWORD", PHRASE)
    return PHRASE


@pytest.fixture
def acme(run: Run, phrase: str) -> str:
    assert run("keys", "generate", "acme").code == 0
    return "acme"


def public(run: Run, name: str) -> PublicKey:
    return PublicKey.parse(run("keys", "export", name).out)


def test_a_generated_key_says_what_it_is_and_what_to_do_with_it(run: Run, phrase: str, home: Path) -> None:
    lines = run("keys", "generate", "acme").out.splitlines()
    assert lines[0] == "made the key acme (ecdsa-p256, private, under a passphrase)"
    assert lines[1] == f"fingerprint  {public(run, 'acme').fingerprint}"
    assert lines[2] == f"kept in      {home}/trust/keys/acme/1"
    assert lines[3].startswith("next: installml keys export acme > acme.pub")


def test_a_generated_key_is_encrypted_in_a_file_that_only_its_owner_reads(run: Run, acme: str, home: Path) -> None:
    path = home / "trust" / "keys" / "acme" / "1" / "private.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "trust").stat().st_mode) == 0o700
    assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert read_private(path.read_bytes(), lambda _: Secret(PHRASE), "x").public_key == public(run, acme)


def test_a_second_key_of_the_same_name_is_refused_and_the_first_stays(run: Run, acme: str) -> None:
    before = public(run, acme)
    done = run("keys", "generate", "acme")
    assert (done.code, public(run, acme)) == (2, before)
    assert "installml keys rotate" in done.err


@pytest.mark.parametrize("words", [("generate", "acme"), ("rotate", "acme")])
def test_without_anybody_to_ask_the_error_says_both_ways_and_nothing_is_made(
    run: Run, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, phrase: str
) -> None:
    if words[0] == "rotate":
        assert run("keys", "generate", "acme").code == 0
    monkeypatch.delenv("INSTALLML_KEY_PASSWORD")
    done = run("keys", *words)
    assert done.code == 2
    assert "nobody to ask for the" in done.err
    assert "in a terminal" in done.err
    assert "INSTALLML_KEY_PASSWORD" in done.err
    monkeypatch.setenv("INSTALLML_KEY_PASSWORD", PHRASE)
    assert len(run("keys", "list", "--format", "json").json["keys"]) == (words[0] == "rotate")


@pytest.mark.parametrize(("text", "reason"), [("", "empty"), ("short", "at least 8")])
def test_a_passphrase_that_protects_nothing_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.setenv("INSTALLML_KEY_PASSWORD", text)
    done = run("keys", "generate", "acme")
    assert done.code == 2
    assert reason in done.err
    assert run("keys", "list").out == "no keys; make one with: installml keys generate NAME\n"


def test_an_open_key_is_made_only_when_it_is_said_and_comes_with_a_warning(run: Run, home: Path) -> None:
    done = run("keys", "generate", "acme", "--no-passphrase")
    assert done.code == 0
    assert f"note: whoever can read {home}/trust/keys/acme/1 can sign as you" in done.out.splitlines()
    data = (home / "trust" / "keys" / "acme" / "1" / "private.pem").read_bytes()
    assert read_private(data, ask_nobody, "x").public_key == public(run, "acme")


def test_export_prints_the_public_key_and_nothing_else(run: Run, acme: str) -> None:
    done = run("keys", "export", acme)
    assert done.err == ""
    assert done.out == public(run, acme).pem


def test_export_as_json_has_the_fingerprint(run: Run, acme: str) -> None:
    answer = run("keys", "export", acme, "--format", "json").json
    assert answer["fingerprint"] == PublicKey.parse(answer["text"]).fingerprint


def test_export_of_an_unknown_key_says_where_to_look(run: Run) -> None:
    done = run("keys", "export", "nobody")
    assert done.code == 1
    assert "installml keys list" in done.err


def test_the_list_shows_names_kinds_what_is_here_fingerprints_and_places(
    run: Run, acme: str, home: Path, tmp_path: Path
) -> None:
    other = PrivateKey.generate().public_key
    (tmp_path / "theirs.pub").write_text(other.pem)
    assert run("keys", "import", tmp_path / "theirs.pub").code == 0
    rows = {line.split()[0]: line for line in run("keys", "list").out.splitlines()}
    assert list(rows) == ["NAME", "acme", "theirs"]
    assert "private, under a passphrase" in rows["acme"]
    assert f"{home}/trust/keys/acme/1" in rows["acme"]
    assert "public only" in rows["theirs"]
    assert other.fingerprint in rows["theirs"]


def test_a_key_of_cosign_is_imported_under_its_own_passphrase(run: Run, phrase: str, tmp_path: Path) -> None:
    key = PrivateKey.generate()
    (tmp_path / "cosign.key").write_bytes(write_cosign(key, Secret(PHRASE)))
    done = run("keys", "import", tmp_path / "cosign.key")
    assert done.code == 0
    assert "is still there; remove it" in done.out
    assert public(run, "cosign") == key.public_key


def test_an_exported_key_of_cosign_is_the_same_key_in_files_of_its_owner(run: Run, acme: str, tmp_path: Path) -> None:
    done = run("keys", "export", acme, "--cosign", tmp_path / "release")
    assert done.out == f"wrote {tmp_path}/release.key and {tmp_path}/release.pub\n"
    key = read_private((tmp_path / "release.key").read_bytes(), lambda _: Secret(PHRASE), "x")
    assert key.public_key == PublicKey.parse((tmp_path / "release.pub").read_bytes()) == public(run, acme)
    assert stat.S_IMODE((tmp_path / "release.key").stat().st_mode) == 0o600


def test_an_export_for_cosign_overwrites_nothing(run: Run, acme: str, tmp_path: Path) -> None:
    (tmp_path / "release.pub").write_text("mine")
    assert run("keys", "export", acme, "--cosign", tmp_path / "release").code == 2
    assert (tmp_path / "release.pub").read_text() == "mine"
    assert not (tmp_path / "release.key").exists()


def test_an_imported_open_key_gets_a_passphrase(run: Run, phrase: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "old.pem").write_bytes(write_pkcs8(PrivateKey.generate(), None))
    assert run("keys", "import", tmp_path / "old.pem", "acme").code == 0
    assert b"ENCRYPTED" in (home / "trust" / "keys" / "acme" / "1" / "private.pem").read_bytes()


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"hello", 2, "must hold one PEM block"),
        (b"-----BEGIN PRIVATE KEY-----", 2, "not a private key"),
        (None, 1, "no file"),
    ],
)
def test_what_is_no_key_is_not_imported(
    run: Run, phrase: str, tmp_path: Path, content: bytes | None, code: int, reason: str
) -> None:
    if content is not None:
        (tmp_path / "x.pem").write_bytes(content)
    done = run("keys", "import", tmp_path / "x.pem")
    assert done.code == code
    assert reason in done.err
    assert run("keys", "list", "--format", "json").json["keys"] == []


def test_a_key_in_a_device_needs_a_name(run: Run) -> None:
    done = run("keys", "import", "hsm:2?label=token")
    assert done.code == 2
    assert "installml keys import 'hsm:2?label=token' NAME" in done.err


def test_a_rotated_key_has_a_successor_and_both_say_so(run: Run, acme: str) -> None:
    before = public(run, acme)
    done = run("keys", "rotate", acme)
    assert done.code == 0
    after = public(run, acme)
    rotation = parse_rotation(run("keys", "export", acme, "--rotation").out.encode(), "here")
    assert (rotation.old, rotation.new) == (before, after)
    assert public(run, "acme@1") == before
    assert f"before       {before.fingerprint}, kept as acme@1" in done.out.splitlines()


def test_a_key_is_rotated_as_often_as_one_likes_and_every_version_is_listed(run: Run, acme: str) -> None:
    assert run("keys", "rotate", acme).code == run("keys", "rotate", acme).code == 0
    names = [line.split()[0] for line in run("keys", "list").out.splitlines()]
    assert names == ["NAME", "acme", "acme@2", "acme@1"]


def test_an_older_version_has_its_successor_already(run: Run, acme: str) -> None:
    assert run("keys", "rotate", acme).code == 0
    done = run("keys", "rotate", "acme@1")
    assert done.code == 1
    assert "was followed already" in done.err


def test_a_public_key_has_no_successor_here(run: Run, phrase: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.pub").write_text(PrivateKey.generate().public_key.pem)
    assert run("keys", "import", tmp_path / "theirs.pub").code == 0
    assert "no private half here" in run("keys", "rotate", "theirs").err


def test_a_key_that_others_can_read_does_not_sign(run: Run, acme: str, home: Path) -> None:
    path = home / "trust" / "keys" / "acme" / "1" / "private.pem"
    path.chmod(0o644)
    done = run("keys", "rotate", acme)
    assert done.code == 2
    assert f"chmod 600 {path}" in done.err


def test_the_passphrase_is_in_no_output_even_when_it_is_wrong(
    run: Run, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTALLML_KEY_PASSWORD", "wrong-and-secret")
    for words in (("rotate", acme), ("export", acme, "--cosign", "x"), ("generate", acme), ("list",)):
        for more in ((), ("--debug",), ("--format", "json"), ("--verbose",)):
            done = run("keys", *words, *more)
            assert "wrong-and-secret" not in done.out + done.err
            assert PHRASE not in done.out + done.err


def test_no_flag_takes_a_passphrase() -> None:
    for words in (["generate"], ["import"], ["rotate"], ["export"]):
        done = subprocess.run(
            [sys.executable, "-m", "installml", "keys", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--passphrase" not in done.stdout
        assert "--password" not in done.stdout


def test_the_settings_that_are_shown_have_no_passphrase(run: Run, phrase: str) -> None:
    assert PHRASE not in run("config", "show", "--format", "json").out + run("config", "show").out


def test_the_sdk_asks_whom_it_is_given(home: Path) -> None:
    asked: list[str] = []

    def ask(what: str) -> Secret:
        asked.append(what)
        return Secret(PHRASE)

    from installml.config import load

    result = installml.keys_generate("acme", session=load().session(ask=ask))
    assert result.key.holding == "encrypted"
    assert asked == ["new passphrase of the key acme", "new passphrase of the key acme, again"]


@pytest.fixture
def terminal(program: list[str]) -> Iterator[Callable[..., Any]]:
    children = []

    def terminal(*words: str) -> Any:
        child = pexpect.spawn(
            program[0], [*program[1:], *words], env={**os.environ, "TERM": "dumb"}, encoding="utf-8", timeout=60
        )
        children.append(child)
        return child

    yield terminal
    for child in children:
        child.close(force=True)


def test_at_a_terminal_the_passphrase_is_asked_for_twice_and_not_shown(terminal: Callable[..., Any], run: Run) -> None:
    child = terminal("keys", "generate", "acme")
    child.expect("New passphrase of the key acme")
    child.sendline(PHRASE)
    child.expect("New passphrase of the key acme, again")
    child.sendline(PHRASE)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert PHRASE not in child.before
    assert public(run, "acme").kind == "ecdsa-p256"


def test_at_a_terminal_two_different_passphrases_make_no_key(terminal: Callable[..., Any], run: Run) -> None:
    child = terminal("keys", "generate", "acme")
    for answer in (PHRASE, PHRASE + "!"):
        child.expect("New passphrase")
        child.sendline(answer)
    child.expect("the two are not the same")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2
    assert run("keys", "list", "--format", "json").json["keys"] == []
