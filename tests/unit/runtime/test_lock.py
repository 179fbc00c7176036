from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.runtime import lock as locks
from installml.runtime.errors import LockInvalid, RequirementInvalid
from installml.runtime.index import Index
from installml.runtime.lock import Pin, check_lock, is_locked, lock, missing_wheels, wheels
from installml.spec.runtime import ENGINES

ELSEWHERE = "https://evil.example.com"  # nobody's: RFC 2606

A = "a" * 64
B = "b" * 64
GOOD = f"""\
# made by hand
numpy==2.1.0 ; python_full_version < '3.12' \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}
Six==1.17.0 --hash=sha256:{A}  # via nobody

uvicorn[standard]==0.30.1 \\
    --hash=sha256:{A}
"""


def test_a_lock_is_read_pin_by_pin() -> None:
    assert check_lock(GOOD.encode()) == (
        Pin("numpy", "2.1.0", 'python_full_version < "3.12"', (A, B)),
        Pin("six", "1.17.0", "", (A,)),
        Pin("uvicorn", "0.30.1", "", (A,), ("standard",)),
    )


def test_what_is_written_reads_the_same() -> None:
    pins = check_lock(GOOD.encode())

    assert check_lock("".join(f"{pin}\n" for pin in pins).encode()) == pins


def test_lines_may_end_as_on_windows() -> None:
    assert check_lock(GOOD.replace("\n", "\r\n").encode()) == check_lock(GOOD.encode())


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        f"--index-url {ELSEWHERE}/simple",
        f"--extra-index-url={ELSEWHERE}/simple",
        "--find-links /tmp",
        "--no-binary :all:",
        "-e .",
        "-c constraints.txt",
        "./wheel.whl",
        "/tmp/wheel.whl",
        "https://evil.example.com/a.whl",
        f"six @ https://evil.example.com/six.whl --hash=sha256:{A}",
        f"six @ file:///tmp/six.whl --hash=sha256:{A}",
        "six==1.17.0",
        f"six>=1.17.0 --hash=sha256:{A}",
        f"six==1.* --hash=sha256:{A}",
        f"six===1.17.0 --hash=sha256:{A}",
        f"six==1.17.0,<2 --hash=sha256:{A}",
        f"six --hash=sha256:{A}",
        f"six==1.17.0 --hash=md5:{A[:32]}",
        f"six==1.17.0 --hash=sha256:{A[:-1]}",
        f"six==1.17.0 --hash=sha256:{A} --index-url {ELSEWHERE}",
        f"six==1.17.0 --config-settings=x=y --hash=sha256:{A}",
        f"six==1.17.0 ; nonsense --hash=sha256:{A}",
        f"six==1.17.0\x0b--index-url=x --hash=sha256:{A}",
        f"six==1.17.0 --hash=sha256:{A}\\",
        f"$HOME==1.0 --hash=sha256:{A}",
        "${SIX}",
    ],
)
def test_anything_but_a_pin_with_hashes_is_refused_with_its_line(line: str) -> None:
    if line.endswith("\\"):
        line += "\n-r other.txt"

    with pytest.raises(LockInvalid) as caught:
        check_lock(f"# comment\nnumpy==2.1.0 \\\n  --hash=sha256:{A}\n{line}\n".encode(), "the.lock")

    assert caught.value.exit_code == 3
    assert "the.lock, line 4" in str(caught.value)


def test_a_continuation_across_a_comment_hides_nothing() -> None:
    with pytest.raises(LockInvalid):
        check_lock(f"six==1.17.0 --hash=sha256:{A} \\\n# comment\n--index-url {ELSEWHERE}\n".encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(LockInvalid, match="byte 3"):
        check_lock(b"six\xff==1")


def test_a_huge_lock_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(LockInvalid, match="larger"):
        check_lock(b"#" * (locks.SIZE_CAP + 1))


def test_too_many_pins_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PIN_CAP", 2)

    with pytest.raises(LockInvalid, match="more than 2"):
        check_lock(GOOD.encode())


@given(st.text(alphabet="six=1.0-r# \\\n;'\"[]@:/<>~!*\x00\x0c,()" + "é", max_size=60))
def test_any_text_is_a_lock_or_is_refused(text: str) -> None:
    try:
        pins = check_lock(text.encode())
    except LockInvalid:
        return
    assert all(pin.hashes for pin in pins)


@pytest.mark.parametrize(
    ("text", "locked"),
    [(GOOD, True), ("", False), ("# nothing\n", False), ("numpy\n", False), (GOOD + "scipy==1.0\n", False)],
)
def test_requirements_are_locked_when_each_has_a_pin_and_a_hash(text: str, locked: bool) -> None:
    assert is_locked(text) is locked


def test_markers_choose_what_this_machine_needs() -> None:
    text = (
        f"always==1.0 --hash=sha256:{A}\n"
        f"old==1.0 ; python_full_version < '3.12' --hash=sha256:{A}\n"
        f"new==1.0 ; python_version >= '3.12' --hash=sha256:{A}\n"
        f"never==1.0 ; sys_platform == 'plan9' --hash=sha256:{A}\n"
    ).encode()

    assert wheels(text, "3.11.4") == (("always", "1.0"), ("old", "1.0"))
    assert wheels(text, "3.13.0") == (("always", "1.0"), ("new", "1.0"))


def test_a_folder_lacks_what_has_no_wheel_for_this_machine(tmp_path: Path) -> None:
    text = "".join(f"{name}==1.0 --hash=sha256:{A}\n" for name in ("here", "elsewhere", "source", "older")).encode()
    for name in (
        "here-1.0.0-py3-none-any.whl",
        "elsewhere-1.0-cp311-cp311-win_amd64.whl",
        "source-1.0.tar.gz",
        "older-0.9-py3-none-any.whl",
        "no wheel.whl",
    ):
        (tmp_path / name).write_bytes(b"")

    assert missing_wheels(text, tmp_path) == (("elsewhere", "1.0"), ("source", "1.0"), ("older", "1.0"))


def test_wheels_are_those_of_the_interpreter_that_will_run_them(tmp_path: Path) -> None:
    (tmp_path / "fast-1.0-cp313-cp313-any.whl").write_bytes(b"")
    (tmp_path / "pure-1.0-py3-none-any.whl").write_bytes(b"")
    text = f"fast==1.0 --hash=sha256:{A}\npure==1.0 --hash=sha256:{A}\n".encode()

    assert ("fast", "1.0") in missing_wheels(text, tmp_path, "3.11.9")
    assert ("pure", "1.0") not in missing_wheels(text, tmp_path, "3.13.0")


def test_a_folder_that_does_not_exist_lacks_everything(tmp_path: Path) -> None:
    text = f"here==1.0 --hash=sha256:{A}\n".encode()

    assert missing_wheels(text, tmp_path / "absent") == (("here", "1.0"),)


@pytest.mark.parametrize(
    "wish",
    ["six @ https://example.com/six.whl", "-r base.txt", f"--index-url {ELSEWHERE}", "./folder", "git+https://x"],
)
def test_only_names_can_be_locked(wish: str) -> None:
    with pytest.raises(RequirementInvalid) as caught:
        lock([wish], ">=3.11", Index())

    assert caught.value.exit_code == 2


def test_every_engine_says_what_it_needs() -> None:
    assert set(locks.ENGINE_REQUIREMENTS) == set(ENGINES)
