"""What the operating system and the vendors' tools say, as text, turned into values. Pure: no I/O.

Every function takes recorded text and returns what it could understand; a line that makes no sense is a fact
that nobody knows, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .machine import Gpu

__all__ = [
    "ARCHITECTURES",
    "amd_gpu",
    "cgroup_paths",
    "cpu_features",
    "cpu_quota",
    "darwin_features",
    "limit_bytes",
    "mig_devices",
    "nvidia_gpus",
    "properties",
    "total_memory",
]

MIB = 1 << 20
UNLIMITED = 1 << 60
"""cgroup v1 writes "no limit" as a huge number of bytes (PAGE_COUNTER_MAX, 2**63 less one page)."""

ARCHITECTURES = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64le",
    "riscv64": "riscv64", "s390x": "s390x",
}  # fmt: skip
"""What uname calls an architecture, and what OCI calls it (image-spec, "Image Index Property Descriptions")."""

_FEATURES = re.compile(r"^(?:flags|Features|features)\s*:\s*(.*)$", re.MULTILINE)
_MEMORY = re.compile(r"^MemTotal:\s+(\d+) kB$", re.MULTILINE)
_MIG = re.compile(r"^\|\s+(\d+)\s+\d+\s+\d+\s+\d+\s+\|\s+\d+MiB\s*/\s*(\d+)MiB", re.MULTILINE)
_AMD_VENDOR = 0x1002


def cpu_features(cpuinfo: str) -> frozenset[str]:
    """Return the instruction set features of the first processor in /proc/cpuinfo (x86, Arm, s390x)."""
    found = _FEATURES.search(cpuinfo)
    return frozenset(found[1].lower().split()) if found else frozenset()


def darwin_features(sysctl: str) -> frozenset[str]:
    """Return features from ``sysctl machdep.cpu hw.optional`` in /proc/cpuinfo's words.

    Intel names come as words (``AVX2``, ``SSE4.2``); Apple silicon answers ``hw.optional.arm.FEAT_BF16: 1``.
    """
    features = set()
    for line in sysctl.splitlines():
        key, _, value = line.partition(":")
        if key in ("machdep.cpu.features", "machdep.cpu.leaf7_features"):
            features.update(value.lower().replace(".", "_").split())
        elif key.startswith("hw.optional.arm.FEAT_") and value.strip() == "1":
            features.update(_ARM_FEATURES.get(key.removeprefix("hw.optional.arm.FEAT_"), ()))
        elif key == "hw.optional.neon" and value.strip() == "1":
            features.update(("asimd", "fp"))
    return frozenset(features)


_ARM_FEATURES = {
    "AES": ("aes",), "BF16": ("bf16",), "CRC32": ("crc32",), "DotProd": ("asimddp",), "FP16": ("fphp", "asimdhp"),
    "I8MM": ("i8mm",), "LSE": ("atomics",), "SHA1": ("sha1",), "SHA256": ("sha2",), "SHA512": ("sha512",),
    "SME": ("sme",), "SME2": ("sme2",),
}  # fmt: skip
"""Arm's names of features, and the kernel's (Linux, "ARM64 ELF hwcaps")."""


def total_memory(meminfo: str) -> int:
    """Return the bytes of MemTotal in /proc/meminfo; 0 when it is not there."""
    found = _MEMORY.search(meminfo)
    return int(found[1]) * 1024 if found else 0


def cgroup_paths(text: str, controller: str) -> tuple[str, tuple[str, ...]]:
    """Return where this process stands in the hierarchy that limits ``controller``.

    Args:
        text: /proc/self/cgroup, lines of ``id:controllers:path`` (cgroups(7)); version 2 has no controllers.
        controller: ``memory`` or ``cpu``.

    Returns:
        The name of the hierarchy (empty for version 2) and the path with all its parents, innermost first: a
        limit anywhere above counts. Inside a container the path may be the host's, so the root is always last.
    """
    rows = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    for _, names, path in rows:
        if controller in names.split(","):
            return names, _with_parents(path)
    return "", _with_parents(next((path for _, names, path in rows if not names), "/"))


def _with_parents(path: str) -> tuple[str, ...]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return tuple("/".join(parts[:end]) for end in range(len(parts), -1, -1))


def limit_bytes(text: str) -> int | None:
    """Return the limit that memory.max (v2) or memory.limit_in_bytes (v1) states; None when there is none."""
    word = text.strip()
    return int(word) if word.isascii() and word.isdigit() and int(word) < UNLIMITED else None


def cpu_quota(quota: str, period: str) -> int | None:
    """Return the whole processors that a quota per period allows, at least 1; None when it does not limit."""
    words = quota.strip(), period.strip()
    if not all(word.isascii() and word.isdigit() for word in words) or not int(words[1]):
        return None
    return max(1, int(words[0]) // int(words[1]))


def nvidia_gpus(csv: str) -> tuple[Gpu, ...]:
    """Return the GPUs in nvidia-smi's answer to ``name,memory.total,compute_cap,driver_version``.

    Args:
        csv: ``--format=csv,noheader,nounits``; memory in MiB. Fields that the driver does not know or may not
            tell are written in brackets: ``[N/A]``, ``[Insufficient Permissions]``.
    """
    rows = (line.rsplit(",", 3) for line in csv.splitlines())
    return tuple(_nvidia(*(field.strip() for field in row)) for row in rows if len(row) == 4)


def _nvidia(name: str, memory: str, compute: str, driver: str) -> Gpu:
    size = int(memory) * MIB if memory.isascii() and memory.isdigit() else 0
    return Gpu("nvidia", name, size, *("" if word.startswith("[") else word for word in (compute, driver)))


def mig_devices(table: str, parents: Iterable[Gpu]) -> tuple[Gpu, ...]:
    """Return what programs can use once GPUs are split into MIG devices.

    Args:
        table: nvidia-smi's plain output; its table "MIG devices" has rows that begin with the numbers of GPU,
            GPU instance, compute instance and device, then used and total memory in MiB. It is the one place
            where an unprivileged container is told the memory.
        parents: The physical GPUs in the tool's order.

    Returns:
        Each MIG device in its parent's place; a GPU without any stays as it is.
    """
    slices: dict[int, list[int]] = {}
    for number, memory in _MIG.findall(table):
        slices.setdefault(int(number), []).append(int(memory) * MIB)

    def parts(number: int, gpu: Gpu) -> Iterator[Gpu]:
        for memory in slices.get(number, []):
            yield Gpu(gpu.vendor, f"{gpu.name} MIG", memory, gpu.compute, gpu.driver)
        if number not in slices:
            yield gpu

    return tuple(part for number, gpu in enumerate(parents) for part in parts(number, gpu))


def properties(text: str) -> dict[str, int]:
    """Return the numbers in a node's ``properties`` file of the KFD topology (``name value`` a line)."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isascii() and pair[1].isdigit()}


def amd_gpu(node: dict[str, int], *, name: str, memory: str, driver: str) -> Gpu | None:
    """Return the GPU that a KFD topology node describes; None for a node that is a processor.

    Args:
        node: The node's properties. ``gfx_target_version`` is decimal ``major*10000 + minor*100 + step``.
        name: The product's name, if its board has one.
        memory: mem_info_vram_total in bytes.
        driver: /sys/module/amdgpu/version, which only the out-of-tree driver has.
    """
    if not node.get("simd_count") or node.get("vendor_id", _AMD_VENDOR) != _AMD_VENDOR:
        return None
    major, rest = divmod(node.get("gfx_target_version", 0), 10000)
    minor, step = divmod(rest, 100)
    target = f"gfx{major}{minor}{step:x}" if major else "GPU"
    size = int(memory) if memory.strip().isdigit() else 0
    return Gpu("amd", name.strip() or f"AMD {target}", size, f"{major}.{minor}.{step}" if major else "", driver.strip())
