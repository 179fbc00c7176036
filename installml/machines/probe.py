"""Ask this machine what it has. The only module of the room with I/O and children.

Nothing here fails: what cannot be found out stays unknown, and a package that needs it is refused with that
word. Which accelerators: NVIDIA (nvidia-smi), AMD (KFD topology in sysfs), Apple silicon. Others are not seen yet.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import readings
from .machine import Gpu, Machine

__all__ = ["free_space", "probe", "read_text", "run_tool"]

CAP = 1 << 20
"""Most bytes read of any file or tool: /proc/cpuinfo of a large server has some hundred KiB."""

TIMEOUT = 20.0
"""Seconds for a vendor's tool; a driver that has to be woken up can take several."""

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap,driver_version", "--format=csv,noheader,nounits")
_CGROUP = Path("/sys/fs/cgroup")
_KFD = Path("/sys/class/kfd/kfd/topology/nodes")
_KFD_NODES = 64

Reader = Callable[[Path], str]
Runner = Callable[[Sequence[str]], str]


def read_text(path: Path) -> str:
    """Return the first MiB of ``path``; empty when it is not there or not ours to read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(CAP).decode("utf-8", "replace")
    return ""


def run_tool(args: Sequence[str]) -> str:
    """Return what a tool prints; empty when it is absent, fails or hangs."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(list(args), stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
        if done.returncode == 0:
            return done.stdout[:CAP].decode("utf-8", "replace")
    return ""


def probe(
    folder: Path, *, read: Reader = read_text, run: Runner = run_tool, system: str = "", arch: str = ""
) -> Machine:
    """Return what this process may use.

    Args:
        folder: Where the package would go, for the free space; it need not exist yet.
        read: How a file is read.
        run: How a tool is run.
        system: ``linux`` or ``darwin``; this machine's own when empty.
        arch: As ``uname -m`` says it; this machine's own when empty.
    """
    system = system or platform.system().lower()
    arch = arch or platform.machine()
    words = readings.ARCHITECTURES.get(arch.lower(), arch.lower())
    look = _darwin if system == "darwin" else _linux
    cores, features, memory, gpus = look(read, run)
    return Machine(system, words, cores, features, memory, free_space(folder), gpus)


def free_space(folder: Path) -> int:
    """Return the bytes that this user may still write where ``folder`` is or would be."""
    for place in (folder, *folder.absolute().parents):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            stat = os.statvfs(place)
            return stat.f_bavail * stat.f_frsize
    return 0


_Look = tuple[int, frozenset[str], int, tuple[Gpu, ...]]


def _linux(read: Reader, run: Runner) -> _Look:
    memory = readings.total_memory(read(Path("/proc/meminfo")))
    quotas = list(_quotas(read))
    return (
        min([_affinity(), *quotas]),
        readings.cpu_features(read(Path("/proc/cpuinfo"))),
        min([memory, *_memory_limits(read)]) if memory else 0,
        (*_nvidia(run), *_amd(read)),
    )


def _affinity() -> int:
    """Return how many processors this process may run on; a batch system narrows it by affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_limits(read: Reader) -> Iterator[int]:
    for folder in _groups(read, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = readings.limit_bytes(read(folder / name))
            if limit is not None:
                yield limit


def _quotas(read: Reader) -> Iterator[int]:
    for folder in _groups(read, "cpu"):
        both = read(folder / "cpu.max").split()
        if len(both) != 2:
            both = [read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        quota = readings.cpu_quota(*both)
        if quota is not None:
            yield quota


def _groups(read: Reader, controller: str) -> Iterator[Path]:
    """Yield the control groups above this process, in either version's place."""
    hierarchy, paths = readings.cgroup_paths(read(Path("/proc/self/cgroup")), controller)
    # A version 1 hierarchy is mounted under its own name, or under that of one controller by a symlink.
    for root in dict.fromkeys((_CGROUP / hierarchy, _CGROUP / controller)) if hierarchy else (_CGROUP,):
        for path in paths:
            yield root / path


def _nvidia(run: Runner) -> tuple[Gpu, ...]:
    gpus = readings.nvidia_gpus(run(_QUERY))
    return readings.mig_devices(run(_QUERY[:1]), gpus) if gpus else ()


def _amd(read: Reader) -> Iterator[Gpu]:
    if not read(_KFD / "0" / "properties"):
        return
    driver = read(Path("/sys/module/amdgpu/version"))
    for number in range(_KFD_NODES):
        node = readings.properties(read(_KFD / str(number) / "properties"))
        device = Path(f"/sys/class/drm/renderD{node.get('drm_render_minor', 0)}/device")
        gpu = readings.amd_gpu(
            node, name=read(device / "product_name"), memory=read(device / "mem_info_vram_total"), driver=driver
        )
        if gpu is not None:
            yield gpu


def _darwin(read: Reader, run: Runner) -> _Look:
    memory = run(["sysctl", "-n", "hw.memsize"]).strip()
    size = int(memory) if memory.isdigit() else 0
    features = readings.darwin_features(run(["sysctl", "machdep.cpu", "hw.optional"]))
    chip = run(["sysctl", "-n", "machdep.cpu.brand_string"]).strip()
    # Apple silicon has one memory for both: the GPU may use all that the machine has.
    gpus = (Gpu("apple", chip, size),) if chip.startswith("Apple") else ()
    return os.cpu_count() or 1, features, size, gpus
