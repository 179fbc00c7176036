"""Second opinions: other scanners that somebody has installed. Their findings keep their names and say whose they are.

picklescan and modelaudit-picklescan are Python packages (``pip install installml[scan]``), loaded when they are asked
for; they see the bytes and never the file. Trivy is a program: it is given a folder and its JSON is read. The doors to
both are here.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from installml.scanning.errors import ScannerMissing
from installml.scanning.finding import Content, Exhausted, Finding, Rule, Severity, Visit

__all__ = ["OPINIONS", "RULES", "Modelaudit", "Picklescan", "modelaudit", "picklescan", "read_trivy", "trivy"]

_MAX_PICKLE = 256 << 20
_MAX_JSON = 256 << 20
_TRIVY_SECONDS = 600
#: Names that ``--opinion`` knows.
OPINIONS = ("modelaudit-picklescan", "picklescan", "trivy")

PICKLESCAN = Rule(
    "picklescan-dangerous",
    Severity.critical,
    "picklescan calls a pickle dangerous",
    "Another scanner has found an import in it that can run code.",
    "Do not load this file.",
)
PICKLESCAN_SUSPICIOUS = Rule(
    "picklescan-suspicious",
    Severity.low,
    "picklescan does not know an import of a pickle",
    "Another scanner has found an import that is on none of its lists.",
    "Look what the import does.",
)
PICKLESCAN_FAILED = Rule(
    "picklescan-failed",
    Severity.medium,
    "picklescan could not read a file",
    "Another scanner gave up, so that it has no opinion.",
    "See what InstallML itself says about the file.",
)


MODELAUDIT = Rule(
    "modelaudit-dangerous",
    Severity.critical,
    "modelaudit-picklescan calls a pickle dangerous",
    "Another scanner has found something in it that can run code.",
    "Do not load this file.",
)
MODELAUDIT_WARNS = Rule(
    "modelaudit-suspicious",
    Severity.medium,
    "modelaudit-picklescan warns of a pickle",
    "Another scanner has found something that somebody should look at.",
    "Look what it is before you load the file.",
)
MODELAUDIT_FAILED = Rule(
    "modelaudit-failed",
    Severity.medium,
    "modelaudit-picklescan could not follow a pickle to its end",
    "Another scanner gave up, so that it has no opinion.",
    "See what InstallML itself says about the file.",
)


def _trivy_rule(severity: Severity) -> Rule:
    return Rule(
        f"trivy-{severity.name}",
        severity,
        f"Trivy reports something ({severity.name})",
        "Trivy has found a known vulnerability, a secret or a mistake in a configuration.",
        "Look its identifier up, and update or remove what it is about.",
    )


_TRIVY = {severity: _trivy_rule(severity) for severity in Severity}
RULES = (
    PICKLESCAN,
    PICKLESCAN_SUSPICIOUS,
    PICKLESCAN_FAILED,
    MODELAUDIT,
    MODELAUDIT_WARNS,
    MODELAUDIT_FAILED,
    *_TRIVY.values(),
)
_PICKLES = (
    ".pkl",
    ".pickle",
    ".joblib",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".dat",
    ".data",
    ".npy",
    ".npz",
    ".zip",
    ".t7",
)


class Picklescan:
    """Shows pickles, and archives that may hold some, to picklescan.

    Args:
        module: ``picklescan.scanner``.
    """

    name = "picklescan"

    def __init__(self, module: Any) -> None:
        self._scan = module.scan_bytes

    def claims(self, head: bytes, name: str) -> bool:
        """Say whether a file may be, or hold, a pickle."""
        return name.endswith(_PICKLES) or head[:1] == b"\x80" or head.startswith(b"PK\x03\x04")

    def scan(self, content: Content, visit: Visit) -> None:
        """Report what picklescan says.

        Raises:
            Exhausted: It is larger than what is given to another scanner, which takes it into memory.
        """
        if visit.inner:
            return  # it opens archives by itself
        if content.size > _MAX_PICKLE:
            raise Exhausted(f"has {content.size} bytes, of which picklescan is given at most {_MAX_PICKLE}")
        data = io.BytesIO(_whole(content))
        try:
            result = self._scan(data, visit.path, Path(visit.path).suffix)
        except Exception as error:
            visit.found(PICKLESCAN_FAILED, type(error).__name__)
            return
        for one in result.globals:
            safety = getattr(one.safety, "value", str(one.safety))
            if safety != "innocuous":
                rule = PICKLESCAN if safety == "dangerous" else PICKLESCAN_SUSPICIOUS
                visit.found(rule, f"{one.module} {one.name}")
        if result.scan_err:
            visit.found(PICKLESCAN_FAILED, "it says so itself")


class Modelaudit:
    """Shows pickles to modelaudit-picklescan; members of archives come one by one.

    Args:
        module: ``modelaudit_picklescan``.
    """

    name = "modelaudit-picklescan"

    def __init__(self, module: Any) -> None:
        self._scan = module.scan_bytes

    def claims(self, head: bytes, name: str) -> bool:
        """Say whether a file may be a pickle; archives are opened by our own scanners."""
        return not head.startswith(b"PK") and (head[:1] == b"\x80" or name.endswith((".pkl", ".pickle", ".joblib")))

    def scan(self, content: Content, visit: Visit) -> None:
        """Report what modelaudit-picklescan says.

        Raises:
            Exhausted: It is larger than what is given to another scanner, which takes it into memory.
        """
        if content.size > _MAX_PICKLE:
            raise Exhausted(f"has {content.size} bytes, of which {self.name} is given at most {_MAX_PICKLE}")
        try:
            report = self._scan(_whole(content), source=visit.name)
        except Exception as error:
            visit.found(MODELAUDIT_FAILED, type(error).__name__)
            return
        for one in report.findings:
            severity = getattr(one.severity, "value", "")
            if severity in ("critical", "warning"):
                rule = MODELAUDIT if severity == "critical" else MODELAUDIT_WARNS
                visit.found(rule, f"{one.rule_code}: {one.message}", _place(one.location))
        if getattr(report.status, "value", "") != "complete":
            visit.found(MODELAUDIT_FAILED, "it says so itself")


def _place(location: str | None) -> int | None:
    """Return the byte that a location such as ``model.pkl (pos 39)`` names."""
    found = re.search(r"\(pos (\d{1,15})\)$", location or "")
    return int(found[1]) if found else None


def _whole(content: Content) -> bytes:
    parts: list[bytes] = []
    at = 0
    while part := content.read_at(at, 4 << 20):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def picklescan() -> Picklescan:
    """Load picklescan.

    Raises:
        ScannerMissing: It is not installed.
    """
    try:
        return Picklescan(import_module("picklescan.scanner"))
    except ImportError as error:
        raise ScannerMissing(
            "picklescan is not installed", hint="pip install 'installml[scan]'", subject="picklescan"
        ) from error


def modelaudit() -> Modelaudit:
    """Load modelaudit-picklescan.

    Raises:
        ScannerMissing: It is not installed.
    """
    try:
        return Modelaudit(import_module("modelaudit_picklescan"))
    except ImportError as error:
        name = "modelaudit-picklescan"
        raise ScannerMissing(f"{name} is not installed", hint="pip install 'installml[scan]'", subject=name) from error


def trivy(folder: Path, *, program: str = "", seconds: int = _TRIVY_SECONDS) -> tuple[Finding, ...]:
    """Run Trivy over a folder with the database that it has, and return what it says.

    Args:
        folder: What to look at.
        program: Path of the program; the one on PATH when empty.
        seconds: It is ended after this time.

    Raises:
        ScannerMissing: There is no Trivy, or it fails.
    """
    found = program or shutil.which("trivy")
    if not found:
        raise ScannerMissing(
            "trivy is not on PATH",
            hint="Install it (trivy.dev), and run: trivy image --download-db-only",
            subject="trivy",
        )
    with tempfile.TemporaryDirectory(prefix="installml-trivy-") as name:
        output = Path(name) / "report.json"
        command = [
            *(found, "filesystem", "--format", "json", "--output", str(output), "--quiet", "--scanners", "vuln,secret"),
            *("--offline-scan", "--skip-db-update", "--skip-java-db-update", "--skip-version-check", str(folder)),
        ]
        done = _run(command, seconds)
        if done.returncode or not output.is_file() or output.stat().st_size > _MAX_JSON:
            reason = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1][:300]
            hint = "Trivy needs its database on this machine: trivy image --download-db-only"
            raise ScannerMissing(f"trivy failed: {reason or done.returncode}", hint=hint, subject="trivy")
        return tuple(read_trivy(output.read_bytes()))


def _run(command: Sequence[str], seconds: int) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = "took too long" if isinstance(error, subprocess.TimeoutExpired) else "could not be started"
        raise ScannerMissing(f"trivy {reason}", subject="trivy") from error


def read_trivy(data: bytes) -> Iterator[Finding]:
    """Yield what a report of Trivy says (its JSON, ``SchemaVersion`` 2): of a folder, an image or a bill of materials.

    Raises:
        ScannerMissing: It is no such report.
    """
    try:
        report = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ScannerMissing(f"trivy's report is not JSON: {error}", subject="trivy") from error
    if not isinstance(report, dict) or report.get("SchemaVersion") != 2:
        raise ScannerMissing("trivy's report is not of version 2", hint="Use Trivy 0.20 or newer.", subject="trivy")
    for result in _tables(report.get("Results")):
        path = _text(result, "Target") or "."
        for one in _tables(result.get("Vulnerabilities")):
            fixed = f"; fixed in {_text(one, 'FixedVersion')}" if _text(one, "FixedVersion") else ""
            detail = f"{_text(one, 'PkgName')} {_text(one, 'InstalledVersion')}: {_text(one, 'VulnerabilityID')}"
            yield _finding(one, _text(one, "PkgPath") or path, f"{detail}: {_text(one, 'Title')}{fixed}")
        for one in _tables(result.get("Secrets")):
            yield _finding(one, path, f"{_text(one, 'RuleID')} at line {one.get('StartLine')}, not shown")
        for one in _tables(result.get("Misconfigurations")):
            yield _finding(one, path, f"{_text(one, 'ID')}: {_text(one, 'Title')}")


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return "".join(letter for letter in value[:200] if letter.isprintable()) if isinstance(value, str) else ""


def _finding(one: Mapping[str, Any], path: str, detail: str) -> Finding:
    severity = _text(one, "Severity").lower()
    known = Severity[severity] if severity in Severity.__members__ else Severity.medium  # UNKNOWN says nothing
    return Finding(_TRIVY[known], path, detail)
