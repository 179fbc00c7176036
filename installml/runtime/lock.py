"""Locks: made by uv at build, read as untrusted text everywhere else.

The form is pip's own requirements file with hashes (pip documentation, "Secure installs"): it names no index,
so that mirrors and folders of wheels serve it, and both pip and uv read it. Ours has pins and nothing else: no
comments, no paths, no host, no date.
"""

from __future__ import annotations

import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import requirement, uv
from .errors import LockInvalid, RequirementInvalid
from .index import Index

__all__ = ["ENGINE_REQUIREMENTS", "Pin", "check_lock", "is_locked", "lock", "missing_wheels", "wheels"]

ENGINE_REQUIREMENTS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "numpy"),
    "sklearn": ("scikit-learn", "numpy", "joblib"),
    "xgboost": ("xgboost", "numpy"),
    "lightgbm": ("lightgbm", "numpy"),
    "torch": ("torch", "numpy"),
    "tensorflow": ("tensorflow", "numpy"),
    "mlflow": ("mlflow", "numpy"),
    "python": ("numpy",),
    "llama.cpp": (),
    "vllm": (),
    "none": (),
}
"""What a package of each engine needs when it names no requirements. Language model servers are found on the
machine or in an image; a package that wants its own names it."""

WORKER = "numpy"
"""The worker process speaks in arrays: every lock has this."""

SIZE_CAP = 8 << 20
PIN_CAP = 10_000

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CONTROL = re.compile(r"[^\x20-\x7e\t\n]")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked distribution.

    Attributes:
        name: Canonical name.
        version: Exact version.
        marker: Where it applies; empty for everywhere.
        hashes: sha256 in hexadecimal of every file that may be used, sorted.
        extras: Sorted extras, which install nothing by themselves.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    extras: tuple[str, ...] = ()

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        marker = f" ; {self.marker}" if self.marker else ""
        return f"{self.name}{extras}=={self.version}{marker}" + "".join(
            f" \\\n    --hash=sha256:{h}" for h in self.hashes
        )


def lock(requirements: Sequence[str], python: str, index: Index) -> bytes:
    """Resolve ``requirements`` for every platform and return the lock.

    Only wheels are considered: installing a package must not run anybody's build script. numpy is always
    included, because the worker process needs it.

    Args:
        requirements: Names with versions (PEP 508), one each.
        python: Specifier of the Pythons it must work on; the lowest is what is resolved for.
        index: Where to look.

    Returns:
        The lock's bytes: the same for the same answers of the index, on any machine.

    Raises:
        RequirementInvalid: A path, URL or option where a name must stand.
        NoSolution: No versions fit together, or one has no wheels.
        IndexUnreachable: Nothing could be looked up; the package can still be built without a lock.
        WheelsMissing: Offline, and what is cached is not enough.
    """
    wishes = _wishes(requirements)
    with tempfile.TemporaryDirectory(prefix="installml-lock-") as name:
        folder = Path(name)
        (folder / "requirements.in").write_text("\n".join(wishes) + "\n", encoding="utf-8")
        uv.run(_compile(requirement.lowest_python(python), index), index, folder=folder)
        pins = check_lock((folder / "requirements.lock").read_bytes())
    return "".join(f"{pin}\n" for pin in pins).encode()


def _compile(python: str, index: Index) -> list[str]:
    return [
        *("pip", "compile", "requirements.in", "--output-file", "requirements.lock", "--universal"),
        *("--python", sys.executable, "--python-version", python),  # cron and systemd have no Python on PATH
        *("--generate-hashes", "--only-binary", ":all:"),
        *("--no-header", "--no-annotate", "--quiet"),
        *index.options(),
    ]


def _wishes(requirements: Sequence[str]) -> list[str]:
    wishes = [text.split(" #")[0].strip() for text in requirements]
    wishes = [text for text in wishes if text and not text.startswith("#")]
    parsed = [requirement.parse(text) for text in wishes]
    for wish, text in zip(parsed, wishes, strict=True):
        if wish.url:
            raise RequirementInvalid(f"{text[:120]!r} names a place, which cannot be locked", subject=wish.name)
    has_worker = any(wish.name == WORKER and not wish.marker for wish in parsed)
    return wishes if has_worker else [*wishes, WORKER]


def is_locked(text: str) -> bool:
    """Return whether every requirement in ``text`` is pinned and has a hash, so that it can be used as a lock."""
    try:
        return bool(check_lock(text.encode()))
    except LockInvalid:
        return False


def check_lock(data: bytes, origin: str = "requirements.lock") -> tuple[Pin, ...]:
    """Read a lock from anywhere.

    Args:
        data: The file; nothing in it is trusted.
        origin: Its name, for the error.

    Returns:
        The pins in their order.

    Raises:
        LockInvalid: A line that is not a comment or ``name==version [; marker] --hash=sha256:...``: options,
            URLs, paths, ranges, other hashes. The line's number is named.
    """
    if len(data) > SIZE_CAP:
        raise LockInvalid(f"{origin} is larger than {SIZE_CAP} bytes", subject=origin)
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise LockInvalid(f"{origin} is not UTF-8 at byte {error.start}", subject=origin) from error
    pins: list[Pin] = []
    for number, line in _logical_lines(text):
        if len(pins) == PIN_CAP:
            raise LockInvalid(f"{origin} has more than {PIN_CAP} requirements", subject=origin)
        pins.append(_pin(line, f"{origin}, line {number}"))
    return tuple(pins)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each requirement with the number of its first line; comments and continuations are taken out."""
    start, joined = 0, ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        start = start or number
        joined += line.removesuffix("\\") + " "
        if line.endswith("\\"):
            continue
        if joined.strip():
            yield start, joined.strip()
        start, joined = 0, ""
    if joined.strip():
        yield start, joined.strip()


def _pin(line: str, place: str) -> Pin:
    wish, *options = re.split(r"\s+(?=--)", line)
    hashes = [_HASH.fullmatch(option) for option in options]
    if wish.startswith("-") or _CONTROL.search(line):
        raise LockInvalid(f"{place}: {line[:80]!r} is not a requirement", subject=place)
    if not hashes or not all(hashes):
        raise LockInvalid(f"{place}: {wish[:80]!r} needs sha256 hashes and no other option", subject=place)
    try:
        parsed = requirement.parse(wish)
    except RequirementInvalid as error:
        raise LockInvalid(f"{place}: {wish[:80]!r} is not a requirement", subject=place) from error
    if parsed.url or not parsed.exact:
        raise LockInvalid(f"{place}: {wish[:80]!r} is not pinned as name==version", subject=place)
    found = tuple(sorted({match[1] for match in hashes if match}))
    return Pin(parsed.name, parsed.exact, parsed.marker, found, parsed.extras)


def wheels(data: bytes, python: str = "") -> tuple[tuple[str, str], ...]:
    """Return name and version of each distribution of the lock that is needed on this machine.

    Args:
        data: The lock.
        python: Full version of the interpreter, such as ``3.12.4``; the running one's when empty.

    Raises:
        LockInvalid: It is no lock.
    """
    environment = {}
    if python:
        environment = {"python_full_version": python, "python_version": ".".join(python.split(".")[:2])}
    return tuple((p.name, p.version) for p in check_lock(data) if requirement.applies(p.marker, environment))


def missing_wheels(data: bytes, folder: Path, python: str = "") -> tuple[tuple[str, str], ...]:
    """Return what this machine needs of the lock and ``folder`` has no wheel for.

    Args:
        data: The lock.
        folder: Folder of wheels; one that does not exist has none.
        python: Full version of the interpreter; the running one's when empty.

    Raises:
        LockInvalid: It is no lock.
    """
    tags = requirement.wheel_tags(python or platform.python_version())
    here = {requirement.wheel_of(path.name, tags) for path in folder.glob("*.whl")}
    return tuple(pair for pair in wheels(data, python) if requirement.comparable(*pair) not in here)
