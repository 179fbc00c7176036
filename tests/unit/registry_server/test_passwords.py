"""Password files: which lines are accepted, which are refused, and what matches."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import bcrypt
import pytest

from installml.registry_server.passwords import HtpasswdInvalid, Users, hash_password

# of "open sesame"; fixed, since a parameter of tests must not differ between runs
BCRYPT = "$2b$04$pvnbqWcyOevLhVfV4qmZ1O.wrD0sTfsDVHh8JUvsIv5vTqnIOsQ6K"
SALT = b"salt of sixteen b"
SCRYPT = "scrypt$1024$8$1${}${}".format(
    base64.b64encode(SALT).decode(),
    base64.b64encode(hashlib.scrypt(b"open sesame", salt=SALT, n=1024, r=8, p=1, dklen=32)).decode(),
)
# as Django 5 writes it (make_password, 1000 rounds)
PBKDF2 = (
    "pbkdf2_sha256$1000$seasalt$"
    + base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"open sesame", b"seasalt", 1000)).decode()
)


@pytest.mark.parametrize(
    "stored",
    [BCRYPT, BCRYPT.replace("$2b$", "$2y$"), SCRYPT, PBKDF2, hash_password("open sesame")],
    ids=["bcrypt", "bcrypt as htpasswd writes it", "scrypt", "pbkdf2", "ours"],
)
def test_the_password_matches_and_no_other_does(stored: str) -> None:
    users = Users(f"ann:{stored}", "htpasswd")
    for _ in range(2):  # the second answer is a remembered one
        assert users.check("ann", "open sesame")
        assert not users.check("ann", "open sesam")
        assert not users.check("ann", "")
        assert not users.check("bob", "open sesame")


def test_a_remembered_password_is_that_of_one_name() -> None:
    other = bcrypt.hashpw(b"rubber", bcrypt.gensalt(4)).decode()
    users = Users(f"ann:{BCRYPT}\nbob:{other}\n", "htpasswd")
    assert users.check("ann", "open sesame")
    assert not users.check("bob", "open sesame")


def test_a_password_is_not_matched_by_its_first_72_bytes() -> None:
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    users = Users(f"ann:{stored}", "htpasswd")
    assert users.check("ann", "x" * 72)
    assert not users.check("ann", "x" * 73)


def test_comments_and_empty_lines_say_nothing() -> None:
    assert Users(f"# people\n\nann:{BCRYPT}\n", "htpasswd").check("ann", "open sesame")


@pytest.mark.parametrize(
    "line",
    [
        "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "ann:$apr1$salt$abcdefghijklmnopqrstuv",
        "ann:plain",
        "ann",
        f":{BCRYPT}",
        "ann:$2b$04$tooshort",
        "ann:$2b$31$" + "a" * 53,
        "ann:pbkdf2_sha256$1$salt$" + base64.b64encode(b"x" * 32).decode(),
        "ann:pbkdf2_sha256$many$salt$hash",
        "ann:pbkdf2_sha256$1000$salt",
        "ann:scrypt$1000$8$1$c2FsdA==$c2FsdHNhbHRzYWx0c2FsdA==",
        "ann:scrypt$1073741824$8$1$c2FsdA==$c2FsdHNhbHRzYWx0c2FsdA==",
        f"ann:{BCRYPT}\nann:{BCRYPT}",
    ],
)
def test_a_weak_or_malformed_line_is_refused_by_its_number_and_never_shown(line: str) -> None:
    with pytest.raises(HtpasswdInvalid, match=r"line [34]") as caught:
        Users(f"# people\n\n{line}", "htpasswd")
    secret = line.partition(":")[2].partition("\n")[0]
    assert not secret or secret not in caught.value.message


def test_a_file_that_names_nobody_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_text("# nobody\n")
    with pytest.raises(HtpasswdInvalid, match="names nobody"):
        Users.read(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(HtpasswdInvalid, match="more than"):
        Users.read(path)
