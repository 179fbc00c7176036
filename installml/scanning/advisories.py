"""Known vulnerabilities of the Python packages that a package locks, from advisories on this machine.

Advisories are OSV documents (ossf.github.io/osv-schema, 1.7): one file with one or many, or a folder of files. Versions
are compared as PEP 440 says, by `packaging`. Nothing is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from installml.scanning.errors import AdvisoriesInvalid
from installml.scanning.finding import Finding, Rule, Severity

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["LOCKS", "RULES", "Advisories", "Advisory", "check_pins", "load", "parse", "pins_of"]

_MAX_FILE = 512 << 20
_MAX_FILES = 500_000
_MAX_LOCK = 16 << 20
_UPDATE = "Build the package again with a fixed version; look the advisory up under its identifier."


def _rule(severity: Severity) -> Rule:
    return Rule(
        f"advisory-{severity.name}",
        severity,
        f"A locked Python package has a known vulnerability ({severity.name})",
        "An advisory says that this version can be attacked; the environment that is made for the model will have it.",
        _UPDATE,
    )


_BY_SEVERITY: Mapping[Severity, Rule] = {
    severity: _rule(severity) for severity in Severity if severity is not Severity.info
}
UNREADABLE_LOCK = Rule(
    "advisory-lock-unreadable",
    Severity.medium,
    "A lock of Python packages cannot be read",
    "What it locks could not be compared with advisories.",
    "Build the package again, so that its lock is made anew.",
)
RULES = (*_BY_SEVERITY.values(), UNREADABLE_LOCK)
#: Files that lock versions of Python packages.
LOCKS = ("requirements.lock", "requirements.txt", "uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")


@dataclass(frozen=True, slots=True)
class Advisory:
    """What one advisory says about one Python package.

    Attributes:
        id: Such as GHSA-xxxx or PYSEC-2024-1.
        aliases: Other names of the same, such as a CVE.
        package: Normalised name.
        ranges: Pairs of first affected and first good version; None where there is no end, or (last, True) for the last
            affected one.
        versions: Affected versions that are listed singly.
        severity: How bad.
        summary: In words.
    """

    id: str
    aliases: tuple[str, ...]
    package: str
    ranges: tuple[tuple[str, str, bool], ...]
    versions: frozenset[str]
    severity: Severity
    summary: str

    def affects(self, version: str) -> bool:
        """Return whether a version is affected; one that PEP 440 does not know only where it is listed."""
        if version in self.versions:
            return True
        parsed = _version(version)
        return parsed is not None and any(_within(parsed, *bounds) for bounds in self.ranges)


Advisories = Mapping[str, tuple[Advisory, ...]]


def _version(text: str) -> Version | None:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text[:200])
    except InvalidVersion:
        return None


def _within(version: Version, first: str, end: str, last: bool) -> bool:
    """Return whether a version lies between two; ``last`` says that the end is affected too."""
    begin = _version("0" if first == "0" else first)
    if begin is None or version < begin:
        return False
    if not end:
        return True
    stop = _version(end)
    return stop is None or version < stop or (last and version == stop)


def load(path: Path) -> Advisories:
    """Read advisories from a file or folder.

    Raises:
        AdvisoriesInvalid: There are none, or one is not OSV.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files or len(files) > _MAX_FILES:
        raise AdvisoriesInvalid(f"{path} holds {len(files) or 'no'} advisories", subject=str(path))
    found: list[Advisory] = []
    for file in files:
        try:
            if file.stat().st_size > _MAX_FILE:
                raise AdvisoriesInvalid(f"{file} has more than {_MAX_FILE} bytes", subject=str(file))
            data = file.read_bytes()
        except OSError as error:
            raise AdvisoriesInvalid(f"{file} cannot be read: {error.strerror}", subject=str(file)) from error
        found.extend(parse(data, str(file)))
    return by_package(found)


def by_package(advisories: Iterable[Advisory]) -> Advisories:
    """Return advisories by the package that they are about."""
    sorted_: dict[str, list[Advisory]] = {}
    for one in advisories:
        sorted_.setdefault(one.package, []).append(one)
    return {name: tuple(ones) for name, ones in sorted_.items()}


def parse(data: bytes, origin: str) -> Iterator[Advisory]:
    """Yield what OSV documents say about Python packages: one document, a list, or ``{"vulns": [...]}``.

    Raises:
        AdvisoriesInvalid: It is no such document.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AdvisoriesInvalid(f"{origin} is not JSON: {error}", subject=origin) from error
    if isinstance(document, dict) and isinstance(document.get("vulns"), list):
        document = document["vulns"]
    for entry in document if isinstance(document, list) else [document]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise AdvisoriesInvalid(f"{origin} holds something that is no OSV document: it has no id", subject=origin)
        if not entry.get("withdrawn"):
            yield from _about(entry)


def _about(entry: Mapping[str, Any]) -> Iterator[Advisory]:
    aliases = tuple(alias for alias in _list(entry.get("aliases")) if isinstance(alias, str))
    summary = str(entry.get("summary") or entry.get("details") or "").strip().split("\n")[0][:200]
    for affected in _list(entry.get("affected")):
        package = affected.get("package") if isinstance(affected, dict) else None
        if (
            not isinstance(package, dict)
            or package.get("ecosystem") != "PyPI"
            or not isinstance(package.get("name"), str)
        ):
            continue
        yield Advisory(
            id=entry["id"][:100],
            aliases=aliases,
            package=normalised(package["name"]),
            ranges=tuple(bounds for one in _list(affected.get("ranges")) for bounds in _bounds(one)),
            versions=frozenset(version for version in _list(affected.get("versions")) if isinstance(version, str)),
            severity=_severity(entry, affected),
            summary=summary,
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def normalised(name: str) -> str:
    """Return a package's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _bounds(entry: Any) -> Iterator[tuple[str, str, bool]]:
    """Yield first affected version, end, and whether the end is affected, of one range's events in their order."""
    if not isinstance(entry, dict) or entry.get("type") not in ("ECOSYSTEM", "SEMVER"):
        return
    first: str | None = None
    for event in _list(entry.get("events")):
        if not isinstance(event, dict):
            continue
        if isinstance(event.get("introduced"), str):
            if first is not None:
                yield first, "", False
            first = event["introduced"]
        elif isinstance(event.get("fixed"), str) and first is not None:
            yield first, event["fixed"], False
            first = None
        elif isinstance(event.get("last_affected"), str) and first is not None:
            yield first, event["last_affected"], True
            first = None
    if first is not None:
        yield first, "", False


_WORDS = {
    "critical": Severity.critical,
    "high": Severity.high,
    "moderate": Severity.medium,
    "medium": Severity.medium,
    "low": Severity.low,
}


def _severity(entry: Mapping[str, Any], affected: Mapping[str, Any]) -> Severity:
    """Return how bad: what the database says in a word, else the CVSS 3 base score, else high: nobody has said less."""
    for place in (affected, entry):
        for key in ("database_specific", "ecosystem_specific"):
            said = place.get(key)
            word = said.get("severity") if isinstance(said, dict) else None
            if isinstance(word, str) and word.lower() in _WORDS:
                return _WORDS[word.lower()]
    scores = [
        score for one in (*_list(entry.get("severity")), *_list(affected.get("severity"))) for score in _score(one)
    ]
    if not scores:
        return Severity.high
    worst = max(scores)
    bounds = ((9.0, Severity.critical), (7.0, Severity.high), (4.0, Severity.medium))
    return next((severity for least, severity in bounds if worst >= least), Severity.low)


def _score(entry: Any) -> Iterator[float]:
    text = entry.get("score") if isinstance(entry, dict) else None
    if isinstance(text, str) and text.startswith(("CVSS:3.0/", "CVSS:3.1/")):
        score = cvss3(text)
        if score is not None:
            yield score


#: CVSS v3.1 specification, section 7.4, "Metric Values".
_METRICS: Mapping[str, Mapping[str, float]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}


def cvss3(vector: str) -> float | None:
    """Return the base score of a CVSS 3 vector (specification v3.1, section 7.1); None for one that is incomplete."""
    fields = dict(part.split(":", 1) for part in vector.split("/")[1:] if ":" in part)
    try:
        value = {name: table[fields[name]] for name, table in _METRICS.items()}
        privileges = _PRIVILEGES[fields["S"]][fields["PR"]]
    except KeyError:
        return None
    changed = fields["S"] == "C"
    base = 1 - (1 - value["C"]) * (1 - value["I"]) * (1 - value["A"])
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    total = impact + 8.22 * value["AV"] * value["AC"] * privileges * value["UI"]
    return _round_up(min(1.08 * total if changed else total, 10.0))


def _round_up(value: float) -> float:
    """Round up to one digit as the specification's appendix A does, without errors of binary fractions."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10


_PIN = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*===?\s*([^\s;#\\,]+)", re.MULTILINE)


def pins_of(name: str, data: bytes) -> list[tuple[str, str]]:
    """Return name and version of each package that a lock pins.

    Args:
        name: The file's name, which says what kind of lock it is.
        data: The file.

    Raises:
        ValueError: It cannot be read.
    """
    if len(data) > _MAX_LOCK:
        raise ValueError(f"has more than {_MAX_LOCK} bytes")
    text = data.decode("utf-8")
    if name.endswith((".lock", ".toml")) and not name.endswith("requirements.lock"):
        import tomllib

        document = tomllib.loads(text)
        tables = document.get("package") or document.get("packages") or []
        pairs = [(one.get("name"), one.get("version")) for one in tables if isinstance(one, dict)]
        return [(normalised(a), b) for a, b in pairs if isinstance(a, str) and isinstance(b, str)]
    return [(normalised(match[1]), match[2]) for match in _PIN.finditer(text)]


def check_pins(pins: Iterable[tuple[str, str]], advisories: Advisories, path: str) -> Iterator[Finding]:
    """Yield a finding for each advisory that is about a pinned version; one vulnerability once, whatever its names.

    Args:
        pins: Normalised names and versions.
        advisories: By package.
        path: The lock.
    """
    for name, version in dict.fromkeys(pins):
        told: set[str] = set()
        for one in advisories.get(name, ()):
            if not told.isdisjoint((one.id, *one.aliases)) or not one.affects(version):
                continue
            told.update((one.id, *one.aliases))
            names = ", ".join((one.id, *one.aliases[:3]))
            rule = _BY_SEVERITY.get(one.severity, _BY_SEVERITY[Severity.low])
            yield Finding(rule, path, f"{name} {version}: {names}: {one.summary}")
