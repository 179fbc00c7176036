from __future__ import annotations

import pytest

from installml.machines import readings
from installml.machines.machine import Gpu

MIB = 1 << 20

H200 = "NVIDIA H200, 143771, 9.0, 570.86.15\n"
A100 = "NVIDIA A100-SXM4-40GB, 40960, 8.0, 535.104.05\nNVIDIA A100-SXM4-40GB, 40960, 8.0, 535.104.05\n"
CONTAINER = "NVIDIA A100-SXM4-80GB, [Insufficient Permissions], 8.0, 535.161.08\n"
UNIFIED = "NVIDIA GB10, [N/A], 12.1, 580.95.05\n"
OLD_BOARD = "Quadro K620, 2048, [N/A], 470.256.02\n"

MIG_TABLE = """\
+-----------------------------------------------------------------------------+
| NVIDIA-SMI 535.104.05   Driver Version: 535.104.05   CUDA Version: 12.2     |
|-------------------------------+----------------------+----------------------+
|   0  NVIDIA A100-SXM...  On   | 00000000:36:00.0 Off |                   On |
| N/A   29C    P0    62W / 400W |                  N/A |     N/A      Default |
|                               |                      |              Enabled |
|   1  NVIDIA A100-SXM...  On   | 00000000:3B:00.0 Off |                    0 |
| N/A   29C    P0    62W / 400W |      0MiB / 40960MiB |      0%      Default |
+-----------------------------------------------------------------------------+
| MIG devices:                                                                |
+------------------+----------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |         Memory-Usage |        Vol|         Shared        |
|      ID  ID  Dev |           BAR1-Usage | SM     Unc| CE  ENC  DEC  OFA  JPG|
|==================+======================+===========+=======================|
|  0    1   0   0  |     11MiB / 20096MiB | 42      0 |  3   0    2    0    0 |
|                  |      0MiB / 32767MiB |           |                       |
+------------------+----------------------+-----------+-----------------------+
|  0    5   0   1  |      3MiB /  9856MiB | 14      0 |  1   0    0    0    0 |
|                  |      0MiB / 16383MiB |           |                       |
+------------------+----------------------+-----------+-----------------------+
| Processes:                                                                  |
|    0    1    0      45678      C   python                          1800MiB |
+-----------------------------------------------------------------------------+
"""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (H200, (Gpu("nvidia", "NVIDIA H200", 143771 * MIB, "9.0", "570.86.15"),)),
        (A100, (Gpu("nvidia", "NVIDIA A100-SXM4-40GB", 40960 * MIB, "8.0", "535.104.05"),) * 2),
        (CONTAINER, (Gpu("nvidia", "NVIDIA A100-SXM4-80GB", 0, "8.0", "535.161.08"),)),
        (UNIFIED, (Gpu("nvidia", "NVIDIA GB10", 0, "12.1", "580.95.05"),)),
        (OLD_BOARD, (Gpu("nvidia", "Quadro K620", 2048 * MIB, "", "470.256.02"),)),
        ("No devices were found\n", ()),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", ()),
        ('Field "compute_cap" is not a valid field to query.\n', ()),
        ("", ()),
    ],
)
def test_nvidia_smi_answers_are_read(answer: str, expected: tuple[Gpu, ...]) -> None:
    assert readings.nvidia_gpus(answer) == expected


def test_a_comma_in_a_boards_name_stays_in_the_name() -> None:
    assert readings.nvidia_gpus("Board, special, 100, 8.0, 535\n")[0].name == "Board, special"


def test_mig_devices_take_the_place_of_the_gpu_that_was_split() -> None:
    found = readings.mig_devices(MIG_TABLE, readings.nvidia_gpus(A100))

    assert [(gpu.name, gpu.memory, gpu.compute) for gpu in found] == [
        ("NVIDIA A100-SXM4-40GB MIG", 20096 * MIB, "8.0"),
        ("NVIDIA A100-SXM4-40GB MIG", 9856 * MIB, "8.0"),
        ("NVIDIA A100-SXM4-40GB", 40960 * MIB, "8.0"),
    ]


def test_gpus_that_are_not_split_stay_as_they_are() -> None:
    gpus = readings.nvidia_gpus(A100)

    assert readings.mig_devices("| N/A   29C    P0    62W / 400W |      0MiB / 40960MiB |", gpus) == gpus


@pytest.mark.parametrize(
    ("cpuinfo", "some"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse4_2 avx2\nbugs\t\t: spectre_v1\n", {"fpu", "sse4_2", "avx2"}),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\nCPU implementer\t: 0x41\n", {"fp", "asimd", "bf16"}),
        ("vendor_id       : IBM/S390\nfeatures\t: esan3 zarch vx\n", {"esan3", "zarch", "vx"}),
        ("processor\t: 0\nisa\t\t: rv64imafdc\n", set()),
        ("", set()),
    ],
)
def test_processor_features_are_read_on_every_architecture(cpuinfo: str, some: set[str]) -> None:
    assert readings.cpu_features(cpuinfo) == some


def test_only_the_first_processor_counts_so_that_a_cut_file_is_no_harm() -> None:
    assert readings.cpu_features("flags\t: a b\n\nflags\t: c") == {"a", "b"}


def test_apple_silicon_features_are_told_in_the_kernels_words() -> None:
    sysctl = "hw.optional.neon: 1\nhw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_SME: 0\nmachdep.cpu.cores: 8\n"

    assert readings.darwin_features(sysctl) == {"asimd", "fp", "bf16"}


def test_intel_mac_features_are_told_in_the_kernels_words() -> None:
    sysctl = "machdep.cpu.features: FPU SSE4.2\nmachdep.cpu.leaf7_features: AVX2 BMI1\n"

    assert readings.darwin_features(sysctl) == {"fpu", "sse4_2", "avx2", "bmi1"}


def test_total_memory_is_in_bytes() -> None:
    assert readings.total_memory("MemTotal:       24684100 kB\nMemFree:  1 kB\n") == 24684100 * 1024
    assert readings.total_memory("nothing") == 0


@pytest.mark.parametrize(
    ("controller", "expected"),
    [
        ("memory", ("memory", ("batch/job7", "batch", ""))),
        ("cpu", ("cpu,cpuacct", ("job7", ""))),
        ("pids", ("", ("user.slice/x", "user.slice", ""))),
    ],
)
def test_a_process_stands_in_one_group_of_each_version_1_hierarchy(controller: str, expected: object) -> None:
    text = "4:memory:/batch/job7\n3:cpu,cpuacct:/job7\n1:name=systemd:/\n0::/user.slice/x\n"

    assert readings.cgroup_paths(text, controller) == expected


def test_paths_that_point_above_the_container_are_not_followed() -> None:
    assert readings.cgroup_paths("0::/../../host/job\n", "memory") == ("", ("host/job", "host", ""))


def test_an_unreadable_cgroup_file_leaves_only_the_root() -> None:
    assert readings.cgroup_paths("", "memory") == ("", ("",))


@pytest.mark.parametrize(
    ("text", "limit"),
    [("max\n", None), ("9223372036854771712\n", None), ("8589934592\n", 8589934592), ("", None), ("-1", None)],
)
def test_a_memory_limit_is_a_number_below_the_kernels_no_limit(text: str, limit: int | None) -> None:
    assert readings.limit_bytes(text) == limit


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("max", "100000", None), ("-1", "100000", None), ("400000", "100000", 4), ("350000", "100000", 3),
     ("20000", "100000", 1), ("100000", "0", None), ("", "", None)],
)  # fmt: skip
def test_a_quota_allows_whole_processors_and_at_least_one(quota: str, period: str, cores: int | None) -> None:
    assert readings.cpu_quota(quota, period) == cores


def test_an_amd_gpu_is_read_from_its_topology_node() -> None:
    node = readings.properties("simd_count 1216\nvendor_id 4098\ngfx_target_version 90402\ndrm_render_minor 128\n")

    gpu = readings.amd_gpu(node, name="", memory="206141652992\n", driver="6.7.0\n")

    assert gpu == Gpu("amd", "AMD gfx942", 206141652992, "9.4.2", "6.7.0")


def test_the_step_of_a_graphics_target_is_hexadecimal_in_its_name() -> None:
    gpu = readings.amd_gpu({"simd_count": 1, "gfx_target_version": 90010}, name="", memory="", driver="")

    assert gpu == Gpu("amd", "AMD gfx90a", 0, "9.0.10", "")


def test_a_processors_topology_node_is_no_gpu() -> None:
    assert readings.amd_gpu({"cpu_cores_count": 64, "simd_count": 0}, name="", memory="", driver="") is None
