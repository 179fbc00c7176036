"""What machine this is: facts that numbers depend on, measured where a name would not tell."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .folders import MIB

HASHED = 256 * MIB
WRITTEN = 512 * MIB
IDLE = 0.5
"""Load above which a machine is called busy."""


def facts(work: Path) -> dict[str, str]:
    """Return facts about this machine and the disk that ``work`` is on, in words."""
    load = os.getloadavg()[0]
    return {
        "cores": f"{os.cpu_count()} ({_cpu()})",
        "SHA-NI": _sha_ni(),
        "sha256, one core": f"{speed(hashlib.sha256):.2f} GB/s",
        "BLAKE3, one core": _blake3(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "kernel": platform.release(),
        "disk": f"{_file_system(work)}, {_free(work)} free, a file of {WRITTEN // MIB} MiB written and synced at "
        f"{_write_speed(work):.2f} GB/s",
        "Python": platform.python_version(),
        "load at the start": f"{load:.2f}" + (": NOT IDLE, absolute numbers mean little" if load > IDLE else ""),
    }


def speed(make: Callable[[], object]) -> float:
    """Return the GB/s at which one core hashes."""
    block = os.urandom(MIB)
    hasher = make()
    began = time.perf_counter()
    for _ in range(HASHED // MIB):
        hasher.update(block)  # type: ignore[attr-defined]
    return HASHED / (time.perf_counter() - began) / 1e9


def _blake3() -> str:
    try:
        from blake3 import blake3
    except ImportError:
        return "blake3 is not installed"
    return f"{speed(blake3):.2f} GB/s"


def _cpu() -> str:
    return _first("model name") or platform.machine()


def _sha_ni() -> str:
    if not (flags := _first("flags").split()):
        return "unknown"
    off = " but switched off for everybody in this run" if "OPENSSL_ia32cap" in os.environ else ""
    return f"{'yes' if 'sha_ni' in flags else 'no'}{off}"


def _first(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _file_system(work: Path) -> str:
    command = ["df", "--output=fstype", str(work)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout.split()
    return said[-1] if said else "unknown"


def _free(work: Path) -> str:
    return f"{shutil.disk_usage(work).free / 1e9:.0f} GB"


def _write_speed(work: Path) -> float:
    path, block = work / "speed", os.urandom(4 * MIB)
    began = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(WRITTEN // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return WRITTEN / took / 1e9
