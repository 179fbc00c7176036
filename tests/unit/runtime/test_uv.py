"""What uv said when it failed, recorded, and what a person is told."""

from __future__ import annotations

import pytest

from installml.errors import DiskFull, StoreUnusable
from installml.runtime.errors import (
    HashMismatch,
    IndexUnreachable,
    NoSolution,
    PythonMissing,
    RuntimeFailed,
    WheelsMissing,
)
from installml.runtime.uv import failure, useful_lines

HASHES = """\
Using Python 3.11.7 environment at: env
Resolved 1 package in 78ms
error: Failed to download `six==1.16.0`
  cause: Hash mismatch for `six==1.16.0`

         Expected:
           sha256:aaaa

         Computed:
           sha256:bbbb
"""
CLOSED = """\
error: Request failed after 3 retries in 6.6s
  cause: Failed to fetch: `http://u:s3cret@127.0.0.1:9/simple/six/?t=1`
  cause: error sending request for url (http://127.0.0.1:9/simple/six/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
NO_NETWORK = """\
error: No solution found when resolving dependencies
  cause: Because six was not found in the cache and you require six==1.17.0, we can conclude that your \
requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry \
packages may only be read from the cache.
"""
CONFLICT = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because you require numpy<2 and numpy>2.1, we can conclude that your requirements are unsatisfiable.
"""


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        (HASHES, HashMismatch, 3),
        (CLOSED, IndexUnreachable, 1),
        (NO_NETWORK, WheelsMissing, 7),
        (CONFLICT, NoSolution, 6),
        ("error: failed to lookup address\n  Caused by: dns error\n", IndexUnreachable, 1),
        ("error: Because all versions of docopt have no usable wheels\n", NoSolution, 6),
        ("error: No interpreter found for Python 3.99\n", PythonMissing, 7),
        ("error: failed to write\n  Caused by: No space left on device (os error 28)\n", DiskFull, 1),
        ("error: failed to create directory\n  Caused by: Permission denied (os error 13)\n", StoreUnusable, 1),
        ("error: something new\n", RuntimeFailed, 7),
        ("", RuntimeFailed, 7),
    ],
)
def test_each_way_of_failing_has_its_error_and_exit_code(text: str, kind: type[Exception], code: int) -> None:
    error = failure(text)

    assert type(error) is kind
    assert error.exit_code == code


def test_only_lines_that_say_something_are_kept() -> None:
    assert useful_lines(HASHES).splitlines() == [
        "Failed to download `six==1.16.0`",
        "  Hash mismatch for `six==1.16.0`",
        "  Expected:",
        "  sha256:aaaa",
        "  Computed:",
        "  sha256:bbbb",
    ]


def test_a_hint_to_options_that_the_reader_does_not_have_is_left_out() -> None:
    assert "hint" not in useful_lines(NO_NETWORK)
    assert "six==1.17.0" in useful_lines(NO_NETWORK)


def test_decoration_is_left_out() -> None:
    assert useful_lines(CONFLICT).startswith("No solution found when resolving dependencies:\n  Because you require")


def test_a_wall_of_text_is_cut() -> None:
    assert len(useful_lines("\n".join(f"error: {n}" for n in range(1000))).splitlines()) == 12


def test_credentials_do_not_come_through() -> None:
    assert "s3cret" not in str(failure(CLOSED))
    assert "127.0.0.1:9" in str(failure(CLOSED))


def test_missing_wheels_come_with_a_command_that_brings_them() -> None:
    assert "pip download --require-hashes" in failure(NO_NETWORK).hint
    assert "INSTALLML_WHEELS=" in failure(NO_NETWORK).hint
