"""Second opinions: the real picklescan, and Trivy's report; what is not there is said so."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from installml.scanning.content import BytesContent
from installml.scanning.errors import ScannerMissing
from installml.scanning.finding import Finding, Severity
from installml.scanning.opinions import modelaudit, picklescan, read_trivy, trivy
from installml.scanning.scanners import SCANNERS
from installml.scanning.walk import scan_files


class System:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("true",)


def asked(name: str, data: bytes) -> list[tuple[str, str]]:
    report = scan_files([(name, BytesContent(data))], [picklescan()])
    return [(finding.rule.id, finding.detail) for finding in report.findings]


def test_picklescan_gives_its_opinion_in_its_own_name() -> None:
    ((rule, detail),) = asked("model.pkl", pickle.dumps(System()))
    assert rule == "picklescan-dangerous"
    assert "system" in detail


def test_picklescan_has_nothing_against_plain_values() -> None:
    assert asked("model.pkl", pickle.dumps({"a": [1, 2.5, "x"]})) == []


def test_picklescan_is_asked_whatever_the_name() -> None:
    assert asked("weights", pickle.dumps(System()))[0][0] == "picklescan-dangerous"


def test_picklescan_that_fails_has_no_opinion() -> None:
    class Broken:
        @staticmethod
        def scan_bytes(*_: Any) -> Any:
            raise ValueError("anything")

    from installml.scanning.opinions import Picklescan

    report = scan_files([("a.pkl", BytesContent(b"x"))], [Picklescan(Broken)])
    assert [finding.rule.id for finding in report.findings] == ["picklescan-failed"]


def audited(name: str, data: bytes) -> list[Finding]:
    scanners = (*SCANNERS, modelaudit())
    found = scan_files([(name, BytesContent(data))], scanners).findings
    return [finding for finding in found if finding.rule.id.startswith("modelaudit")]


def test_modelaudit_gives_its_opinion_with_the_place() -> None:
    (finding,) = audited("model.pkl", pickle.dumps(System()))
    assert finding.rule.id == "modelaudit-dangerous"
    assert "system" in finding.detail
    assert finding.offset is not None


def test_modelaudit_sees_the_members_of_archives() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(System()))
    assert [one.inner for one in audited("model.pt", archive.getvalue())] == ["archive/data.pkl"]


def test_modelaudit_has_nothing_against_plain_values_and_says_when_it_gave_up() -> None:
    assert audited("model.pkl", pickle.dumps({"a": [1, 2.5, "x"]})) == []
    assert [one.rule.id for one in audited("model.pkl", b"\x80\x04garbage")] == ["modelaudit-failed"]


#: As Trivy 0.5x and later write it (trivy.dev, "Reporting", JSON); made by hand from the documented fields.
REPORT = {
    "SchemaVersion": 2,
    "ArtifactName": "model",
    "ArtifactType": "filesystem",
    "Results": [
        {
            "Target": "requirements.txt",
            "Class": "lang-pkgs",
            "Type": "pip",
            "Vulnerabilities": [
                {
                    "VulnerabilityID": "CVE-2024-1",
                    "PkgName": "acme",
                    "InstalledVersion": "1.0",
                    "FixedVersion": "1.1",
                    "Severity": "CRITICAL",
                    "Title": "acme: it breaks",
                },
                {"VulnerabilityID": "CVE-2024-2", "PkgName": "b", "InstalledVersion": "2", "Severity": "UNKNOWN"},
            ],
        },
        {"Target": "config.json", "Class": "secret", "Secrets": [
            {"RuleID": "hugging-face-access-token", "Severity": "HIGH", "StartLine": 3, "Match": "token: ******"}]},
        {"Target": "empty"},
    ],
}  # fmt: skip


def test_trivys_report_is_read() -> None:
    first, second, third = read_trivy(json.dumps(REPORT).encode())
    assert (first.rule.id, first.path) == ("trivy-critical", "requirements.txt")
    assert first.detail == "acme 1.0: CVE-2024-1: acme: it breaks; fixed in 1.1"
    assert second.severity is Severity.medium
    assert (third.rule.id, third.path) == ("trivy-high", "config.json")
    assert "******" not in third.detail


@pytest.mark.parametrize("data", [b"", b"[]", b'{"SchemaVersion": 1}', b'{"SchemaVersion": "2"}'])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ScannerMissing):
        list(read_trivy(data))


@pytest.mark.parametrize("results", [None, 3, [3], [{"Target": 3, "Vulnerabilities": [None, {}]}]])
def test_odd_results_are_passed_over(results: Any) -> None:
    for finding in read_trivy(json.dumps({"SchemaVersion": 2, "Results": results}).encode()):
        assert finding.severity is Severity.medium


def program(folder: Path, body: str) -> str:
    path = folder / "trivy"
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_trivy_is_run_over_the_folder_without_the_network(tmp_path: Path) -> None:
    body = (
        "arguments = sys.argv[1:]\n"
        "assert '--offline-scan' in arguments and '--skip-db-update' in arguments\n"
        f"open(arguments[arguments.index('--output') + 1], 'w').write({json.dumps(REPORT)!r})"
    )
    assert len(trivy(tmp_path, program=program(tmp_path, body))) == 3


def test_trivy_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ScannerMissing, match="no database"):
        trivy(tmp_path, program=program(tmp_path, "sys.exit('FATAL no database')"))


def test_trivy_that_does_not_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ScannerMissing, match="too long"):
        trivy(tmp_path, program=program(tmp_path, "import signal; signal.pause()"), seconds=1)


@pytest.mark.skipif(shutil.which("trivy") is None, reason="needs trivy with its database")
def test_the_real_trivy_is_understood(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pyyaml==5.3\n")
    assert trivy(tmp_path)
