from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from installml.machines.machine import Gpu
from installml.machines.probe import CAP, probe, read_text, run_tool

GIB = 1 << 30
MEMINFO = f"MemTotal: {64 * GIB // 1024} kB\n"


def files(**extra: str) -> Callable[[Path], str]:
    texts = {"/proc/meminfo": MEMINFO, "/proc/cpuinfo": "flags : avx2 fma\n", "/proc/self/cgroup": "0::/job\n"} | extra
    return lambda path: texts.get(str(path), "")


def no_tool(args: Sequence[str]) -> str:
    return ""


def test_a_plain_machine_has_what_the_kernel_says(tmp_path: Path) -> None:
    found = probe(tmp_path, read=files(), run=no_tool, system="linux", arch="x86_64")

    assert (found.system, found.arch, found.memory, found.accelerators) == ("linux", "amd64", 64 * GIB, ())
    assert found.features == {"avx2", "fma"}


@pytest.mark.parametrize(
    "limits",
    [
        {"/sys/fs/cgroup/job/memory.max": f"{8 * GIB}\n"},
        {"/sys/fs/cgroup/memory.max": f"{8 * GIB}\n", "/sys/fs/cgroup/job/memory.max": "max\n"},
        {"/proc/self/cgroup": "4:memory:/b/c\n0::/\n", "/sys/fs/cgroup/memory/b/memory.limit_in_bytes": f"{8 * GIB}\n"},
        {
            "/proc/self/cgroup": "4:memory:/docker/abc\n",
            "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{8 * GIB}\n",
        },
    ],
    ids=["version 2", "version 2, limit above", "version 1, limit above", "version 1, path of the host"],
)
def test_memory_is_what_the_narrowest_control_group_leaves(tmp_path: Path, limits: dict[str, str]) -> None:
    assert probe(tmp_path, read=files(**limits), run=no_tool, system="linux").memory == 8 * GIB


@pytest.mark.parametrize(
    "quota",
    [
        {"/sys/fs/cgroup/job/cpu.max": "100000 100000\n"},
        {
            "/proc/self/cgroup": "3:cpu,cpuacct:/job\n",
            "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "150000\n",
            "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
        {
            "/proc/self/cgroup": "3:cpuacct,cpu:/job\n",
            "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "100000\n",
            "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["version 2", "version 1", "version 1 by its symlink"],
)
def test_cores_are_what_the_quota_leaves(tmp_path: Path, quota: dict[str, str]) -> None:
    assert probe(tmp_path, read=files(**quota), run=no_tool, system="linux").cores == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no processor affinity")
def test_cores_follow_the_affinity_of_the_process(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert probe(tmp_path, read=files(), run=no_tool, system="linux").cores == 1
    finally:
        os.sched_setaffinity(0, before)


def test_nvidia_gpus_are_asked_for_by_their_tool(tmp_path: Path) -> None:
    def run(args: Sequence[str]) -> str:
        return "NVIDIA H200, 143771, 9.0, 570.86.15\n" if args[0] == "nvidia-smi" and len(args) > 1 else ""

    found = probe(tmp_path, read=files(), run=run, system="linux")

    assert found.accelerators == (Gpu("nvidia", "NVIDIA H200", 143771 << 20, "9.0", "570.86.15"),)


def test_amd_gpus_are_found_in_sysfs(tmp_path: Path) -> None:
    nodes = "/sys/class/kfd/kfd/topology/nodes"
    read = files(
        **{
            f"{nodes}/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
            f"{nodes}/2/properties": "simd_count 440\nvendor_id 4098\ngfx_target_version 90010\ndrm_render_minor 129\n",
            "/sys/class/drm/renderD129/device/mem_info_vram_total": "68702699520\n",
            "/sys/module/amdgpu/version": "6.7.0\n",
        }
    )

    found = probe(tmp_path, read=read, run=no_tool, system="linux")

    assert found.accelerators == (Gpu("amd", "AMD gfx90a", 68702699520, "9.0.10", "6.7.0"),)


def test_an_apple_gpu_has_the_machines_memory(tmp_path: Path) -> None:
    answers = {
        "sysctl -n hw.memsize": f"{16 * GIB}\n",
        "sysctl -n machdep.cpu.brand_string": "Apple M2\n",
        "sysctl machdep.cpu hw.optional": "hw.optional.neon: 1\n",
    }

    found = probe(tmp_path, read=files(), run=lambda args: answers[" ".join(args)], system="darwin", arch="arm64")

    assert (found.arch, found.memory) == ("arm64", 16 * GIB)
    assert found.accelerators == (Gpu("apple", "Apple M2", 16 * GIB),)
    assert "asimd" in found.features


def test_a_machine_that_says_nothing_is_unknown_and_not_an_error(tmp_path: Path) -> None:
    found = probe(tmp_path, read=lambda path: "", run=no_tool, system="linux")

    assert (found.memory, found.features, found.accelerators) == (0, frozenset(), ())
    assert found.cores >= 1


def test_free_space_is_measured_where_the_folder_will_be(tmp_path: Path) -> None:
    found = probe(tmp_path / "not" / "there" / "yet", read=files(), run=no_tool, system="linux")

    assert 0 < found.disk_free <= shutil.disk_usage(tmp_path).total


def test_a_file_in_the_folders_place_does_not_hide_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    assert probe(tmp_path / "file" / "below", read=files(), run=no_tool, system="linux").disk_free > 0


def test_a_huge_file_is_read_up_to_the_cap(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(b"x" * (CAP + 1))

    assert len(read_text(tmp_path / "huge")) == CAP


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_empty(tmp_path: Path, name: str) -> None:
    assert read_text(tmp_path / name) == ""


def test_a_tool_that_is_absent_or_fails_says_nothing() -> None:
    assert run_tool(["installml-has-no-such-tool"]) == ""
    assert run_tool([sys.executable, "-c", "print('No devices were found'); raise SystemExit(6)"]) == ""


def test_a_tool_that_succeeds_is_heard() -> None:
    assert run_tool([sys.executable, "-c", "print('hello')"]).strip() == "hello"


def test_this_very_machine_can_be_asked(tmp_path: Path) -> None:
    found = probe(tmp_path)

    assert found.cores >= 1
    assert found.memory > 0
    assert found.disk_free > 0
    assert found.arch
