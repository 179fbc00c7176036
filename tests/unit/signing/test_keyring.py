"""The keys of this machine: whole or not at all, never overwritten, readable by their owner only."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from installml.errors import StoreError
from installml.signing.errors import KeyExists, KeyExposed, KeyNotFound, PassphraseRefused
from installml.signing.keyfile import PrivateKey, write_pkcs8
from installml.signing.keyring import Holding, KeyRing, private_file, uri_file
from installml.signing.secret import Secret, ask_nobody
from installml.trust.errors import KeyInvalid

KEY = PrivateKey.generate()
OPEN = private_file(write_pkcs8(KEY, None))
LOCKED = private_file(write_pkcs8(KEY, Secret("correct horse")))


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "trust" / "keys")


def test_an_empty_ring_has_no_keys_and_makes_no_folder(ring: KeyRing, tmp_path: Path) -> None:
    assert ring.entries() == []
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_found_by_its_name_and_signs(ring: KeyRing) -> None:
    ring.add("acme", KEY.public_key, LOCKED)
    entry = ring.find("acme")
    assert (entry.label, entry.version, entry.holding) == ("acme", 1, Holding.ENCRYPTED)
    KEY.public_key.verify(entry.private(lambda _: Secret("correct horse")).sign(b"x"), b"x")


def test_the_question_names_the_key(ring: KeyRing) -> None:
    ring.add("acme", KEY.public_key, LOCKED)
    asked: list[str] = []

    def ask(what: str) -> Secret:
        asked.append(what)
        return Secret("wrong")

    with pytest.raises(PassphraseRefused):
        ring.find("acme").private(ask)
    assert asked == ["passphrase of the key acme"]


def test_folders_are_0700_and_files_0600_whatever_the_umask(ring: KeyRing, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ring.add("acme", KEY.public_key, LOCKED)
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_key_is_never_overwritten(ring: KeyRing) -> None:
    ring.add("acme", KEY.public_key, LOCKED)
    with pytest.raises(KeyExists, match="there is a key acme already"):
        ring.add("acme", PrivateKey.generate().public_key, OPEN)
    assert ring.find("acme").public == KEY.public_key


def test_of_many_who_make_the_same_key_one_succeeds_and_nothing_else_is_left(ring: KeyRing, tmp_path: Path) -> None:
    keys = [PrivateKey.generate() for _ in range(8)]
    made: list[PrivateKey] = []
    start = threading.Barrier(len(keys))

    def make(key: PrivateKey) -> None:
        start.wait()
        try:
            ring.add("acme", key.public_key, private_file(write_pkcs8(key, None)))
        except KeyExists:
            return
        made.append(key)

    threads = [threading.Thread(target=make, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key.public_key for key in made] == [ring.find("acme").public]
    assert [path.name for path in (tmp_path / "trust" / "keys" / "acme").iterdir()] == ["1"]


def test_a_key_that_cannot_be_kept_whole_leaves_nothing(ring: KeyRing, tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        ring.add("acme", KEY.public_key, {"no/such/folder": b"x"})
    assert ring.entries() == []
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_version_follows_and_the_one_before_stays(ring: KeyRing) -> None:
    old = ring.add("acme", KEY.public_key, OPEN)
    new = PrivateKey.generate()
    ring.follow(old, new.public_key, private_file(write_pkcs8(new, None)), b"{}")
    assert ring.find("acme").public == new.public_key
    assert ring.find("acme@1").public == KEY.public_key
    assert [entry.label for entry in ring.entries()] == ["acme", "acme@1"]
    assert ring.find("acme").rotation == b"{}"


def test_only_one_follows_a_version(ring: KeyRing) -> None:
    old = ring.add("acme", KEY.public_key, OPEN)
    ring.follow(old, PrivateKey.generate().public_key, OPEN, b"{}")
    with pytest.raises(KeyExists):
        ring.follow(old, PrivateKey.generate().public_key, OPEN, b"{}")


def test_the_first_version_follows_nobody(ring: KeyRing) -> None:
    with pytest.raises(KeyNotFound, match="has not followed another"):
        _ = ring.add("acme", KEY.public_key, OPEN).rotation


@pytest.mark.parametrize("label", ["other", "acme@2", "acme@x", "acme@"])
def test_what_is_not_there_is_not_found(ring: KeyRing, label: str) -> None:
    ring.add("acme", KEY.public_key, OPEN)
    with pytest.raises(KeyNotFound, match=label):
        ring.find(label)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "a\n", "x" * 65, "ключ", "acme.key", "acme.pem"]
)
def test_what_cannot_be_a_name_is_refused_everywhere(ring: KeyRing, tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyInvalid, match="cannot be a key's name"):
        ring.add(name, KEY.public_key, OPEN)
    with pytest.raises(KeyInvalid, match="cannot be a key's name"):
        ring.find(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_private_key_that_others_can_read_is_refused_with_what_helps(ring: KeyRing, mode: int) -> None:
    entry = ring.add("acme", KEY.public_key, OPEN)
    (entry.path / "private.pem").chmod(mode)
    with pytest.raises(KeyExposed) as caught:
        entry.private(ask_nobody)
    assert caught.value.hint.startswith(f"chmod 600 {entry.path}/private.pem")


def test_a_public_key_alone_does_not_sign(ring: KeyRing) -> None:
    entry = ring.add("acme", KEY.public_key, {})
    assert entry.holding is Holding.PUBLIC
    with pytest.raises(KeyNotFound, match="private half of the key acme is not"):
        entry.private(ask_nobody)


def test_a_key_elsewhere_is_known_by_its_address(ring: KeyRing) -> None:
    ring.add("acme", KEY.public_key, uri_file("hsm:2?label=token"))
    entry = ring.find("acme")
    assert (entry.holding, entry.uri) == (Holding.REMOTE, "hsm:2?label=token")


def test_a_private_key_beside_another_public_key_is_refused(ring: KeyRing) -> None:
    entry = ring.add("acme", PrivateKey.generate().public_key, OPEN)
    with pytest.raises(KeyInvalid, match="does not belong"):
        entry.private(ask_nobody)


def test_what_is_no_key_in_the_folder_is_named(ring: KeyRing) -> None:
    entry = ring.add("acme", KEY.public_key, OPEN)
    (entry.path / "public.pem").write_text("hello")
    with pytest.raises(KeyInvalid, match=r"acme/1/public\.pem"):
        ring.entries()


def test_what_a_killed_process_left_is_no_key(ring: KeyRing, tmp_path: Path) -> None:
    ring.add("acme", KEY.public_key, OPEN)
    (tmp_path / "trust" / "keys" / "acme" / ".2.host-1-x").mkdir()
    (tmp_path / "trust" / "keys" / "half").mkdir()
    assert [entry.label for entry in ring.entries()] == ["acme"]
