"""What the verbs return. Each value has a stable JSON form: ``schemaVersion``, ``kind``, then its fields in camelCase.

Sizes are bytes, times seconds since the epoch, digests ``sha256:<hex>``.

A module of this room is loaded when the first of its names is used: making forty classes takes longer than a pull
with nothing to do, which returns one of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .form import Result, to_json

if TYPE_CHECKING:
    from .attesting import AttestationInfo, AttestResult, SbomResult
    from .indexes import IndexResult
    from .keys import KeyExportResult, KeyInfo, KeyListResult, KeyResult, KeyRotateResult
    from .machine import (
        CacheUsage,
        CacheVerification,
        Collection,
        DamagedBlob,
        DoctorFinding,
        DoctorReport,
        HardwareReport,
        MendedBlob,
        RepairResult,
        SettingsResult,
        SettingValue,
    )
    from .moving import (
        BuildResult,
        CopyResult,
        ExportResult,
        InstallResult,
        PartialFiles,
        PullResult,
        PushResult,
        UninstallResult,
    )
    from .packages import FileInfo, InfoResult, InitResult, ListEntry, ListResult, UpdateInfo
    from .registries import LoginResult, RemoveResult, TagResult, TagsResult
    from .running import (
        DemoDigit,
        DemoResult,
        DemoStep,
        PredictResult,
        RunningServer,
        ServerList,
        StopResult,
        TestResult,
        Transfer,
    )
    from .scanning import HiddenFinding, ScanFinding, ScanResult
    from .signing import SignatureInfo, SignResult, VerifiedSignature, VerifyResult
    from .trust import (
        PolicyResult,
        TrustChangeResult,
        TrustListResult,
        TrustPin,
        TrustRule,
        TrustStep,
        TrustTestResult,
    )

__all__ = [
    "AttestResult",
    "AttestationInfo",
    "BuildResult",
    "CacheUsage",
    "CacheVerification",
    "Collection",
    "CopyResult",
    "DamagedBlob",
    "DemoDigit",
    "DemoResult",
    "DemoStep",
    "DoctorFinding",
    "DoctorReport",
    "ExportResult",
    "FileInfo",
    "HardwareReport",
    "HiddenFinding",
    "IndexResult",
    "InfoResult",
    "InitResult",
    "InstallResult",
    "KeyExportResult",
    "KeyInfo",
    "KeyListResult",
    "KeyResult",
    "KeyRotateResult",
    "ListEntry",
    "ListResult",
    "LoginResult",
    "MendedBlob",
    "PartialFiles",
    "PolicyResult",
    "PredictResult",
    "PullResult",
    "PushResult",
    "RemoveResult",
    "RepairResult",
    "Result",
    "RunningServer",
    "SbomResult",
    "ScanFinding",
    "ScanResult",
    "ServerList",
    "SettingValue",
    "SettingsResult",
    "SignResult",
    "SignatureInfo",
    "StopResult",
    "TagResult",
    "TagsResult",
    "TestResult",
    "Transfer",
    "TrustChangeResult",
    "TrustListResult",
    "TrustPin",
    "TrustRule",
    "TrustStep",
    "TrustTestResult",
    "UninstallResult",
    "UpdateInfo",
    "VerifiedSignature",
    "VerifyResult",
    "to_json",
]

_MODULES = {
    "moving": (
        "BuildResult",
        "CopyResult",
        "ExportResult",
        "InstallResult",
        "PartialFiles",
        "PullResult",
        "PushResult",
        "UninstallResult",
    ),
    "indexes": ("IndexResult",),
    "keys": ("KeyExportResult", "KeyInfo", "KeyListResult", "KeyResult", "KeyRotateResult"),
    "attesting": ("AttestResult", "AttestationInfo", "SbomResult"),
    "registries": ("LoginResult", "RemoveResult", "TagResult", "TagsResult"),
    "packages": ("FileInfo", "InfoResult", "InitResult", "ListEntry", "ListResult", "UpdateInfo"),
    "signing": ("SignResult", "SignatureInfo", "VerifiedSignature", "VerifyResult"),
    "scanning": ("HiddenFinding", "ScanFinding", "ScanResult"),
    "trust": (
        "PolicyResult",
        "TrustChangeResult",
        "TrustListResult",
        "TrustPin",
        "TrustRule",
        "TrustStep",
        "TrustTestResult",
    ),
    "running": (
        "DemoDigit",
        "DemoResult",
        "DemoStep",
        "PredictResult",
        "RunningServer",
        "ServerList",
        "StopResult",
        "TestResult",
        "Transfer",
    ),
    "machine": (
        "CacheUsage",
        "CacheVerification",
        "Collection",
        "DamagedBlob",
        "DoctorFinding",
        "DoctorReport",
        "HardwareReport",
        "MendedBlob",
        "RepairResult",
        "SettingValue",
        "SettingsResult",
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
