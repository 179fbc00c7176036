from __future__ import annotations

import pytest

from installml.machines.errors import HardwareUnfit
from installml.machines.machine import Gpu, Machine
from installml.machines.match import match, require
from installml.spec.hardware import Accelerator, Cpu, Profile

GIB = 1 << 30
A100 = Gpu("nvidia", "NVIDIA A100-SXM4-80GB", 80 * GIB, "8.0", "535.104.05")
T4 = Gpu("nvidia", "Tesla T4", 15 * GIB, "7.5", "535.104.05")
MI300 = Gpu("amd", "AMD Instinct MI300X", 192 * GIB, "9.4.2", "6.7.0")


def machine(**changes: object) -> Machine:
    facts = {
        "system": "linux",
        "arch": "amd64",
        "cores": 8,
        "features": frozenset({"avx2", "fma"}),
        "memory": 32 * GIB,
        "disk_free": 100 * GIB,
    }
    return Machine(**(facts | changes))


def gaps(profile: Profile, **facts: object) -> list[tuple[str, str, str]]:
    return [(s.field, s.need, s.have) for s in match([profile], machine(**facts), size=0).shortfalls]


def gpu_profile(**wish: object) -> Profile:
    return Profile("gpu", Accelerator("nvidia", **wish))


def test_a_package_without_profiles_runs_anywhere_that_has_the_disk() -> None:
    fit = match([], machine(cores=1, memory=0), size=100 * GIB)

    assert fit.fits
    assert fit.profile is None


def test_a_package_without_profiles_still_needs_room_for_itself() -> None:
    fit = match([], machine(), size=200 * GIB)

    assert not fit.fits
    assert [(s.field, s.need, s.have) for s in fit.shortfalls] == [("disk", "200 GiB", "100 GiB")]


def test_the_first_profile_that_fits_is_chosen_and_the_better_ones_are_explained() -> None:
    cpu = Profile("cpu", cpu=Cpu(cores=4))

    fit = match([gpu_profile(), cpu, Profile("anything")], machine(), size=0)

    assert fit.profile is cpu
    assert [str(s) for s in fit.shortfalls] == ["gpu: accelerator needs 1 from nvidia, this machine has none"]


@pytest.mark.parametrize(
    ("profile", "facts", "expected"),
    [
        (Profile("p", memory=64 * GIB), {}, ("memory", "64 GiB", "32 GiB")),
        (Profile("p", disk=101 * GIB), {}, ("disk", "101 GiB", "100 GiB")),
        (Profile("p", cpu=Cpu(cores=9)), {}, ("cpu.cores", "9", "8")),
        (Profile("p", cpu=Cpu(arch=("arm64", "s390x"))), {}, ("cpu.arch", "arm64 or s390x", "amd64")),
        (Profile("p", cpu=Cpu(features=("avx2", "amx_tile"))), {}, ("cpu.features", "avx2, amx_tile", "no amx_tile")),
        (gpu_profile(), {"accelerators": (MI300,)}, ("accelerator", "1 from nvidia", "AMD Instinct MI300X")),
        (gpu_profile(count=2), {"accelerators": (T4,)}, ("accelerator.count", "2 from nvidia", "Tesla T4")),
        (gpu_profile(memory=20 * GIB), {"accelerators": (T4,)}, ("accelerator.memory", "20 GiB", "15 GiB")),
        (gpu_profile(compute=">=8.0"), {"accelerators": (T4,)}, ("accelerator.compute", ">=8.0", "7.5")),
        (gpu_profile(driver=">=550"), {"accelerators": (T4,)}, ("accelerator.driver", ">=550", "535.104.05")),
    ],
)
def test_each_wish_that_is_not_met_names_field_need_and_have(
    profile: Profile, facts: dict[str, object], expected: tuple[str, str, str]
) -> None:
    assert gaps(profile, **facts) == [expected]


@pytest.mark.parametrize(
    "profile",
    [
        Profile("p", memory=32 * GIB, disk=100 * GIB, cpu=Cpu(8, ("arm64", "amd64"), ("avx2",))),
        gpu_profile(count=2, memory=80 * GIB, compute="8.0", driver=">535.104"),
        gpu_profile(compute="==8"),
        gpu_profile(compute="<9", driver="<=535.104.05"),
    ],
)
def test_a_wish_that_is_met_exactly_is_met(profile: Profile) -> None:
    assert gaps(profile, accelerators=(A100, A100, T4)) == []


def test_versions_compare_as_numbers_and_not_as_text() -> None:
    newer = Gpu("nvidia", "newer", GIB, "10.0", "1000.1")

    assert gaps(gpu_profile(compute=">=9.0", driver=">=535"), accelerators=(newer,)) == []


def test_a_fact_that_nobody_knows_meets_no_wish() -> None:
    shy = Gpu("nvidia", "shy")

    wished = gpu_profile(memory=1, compute="<99", driver="<9999")

    assert gaps(wished, accelerators=(shy,)) == [
        ("accelerator.memory", "1 B", "an unknown amount"),
        ("accelerator.compute", "<99", "unknown"),
        ("accelerator.driver", "<9999", "unknown"),
    ]


def test_one_accelerator_must_meet_all_wishes_at_once() -> None:
    large_and_old = Gpu("nvidia", "Large", 48 * GIB, "6.1", "535")
    small_and_new = Gpu("nvidia", "Small", 8 * GIB, "8.9", "535")

    found = gaps(gpu_profile(memory=40 * GIB, compute=">=8.0"), accelerators=(large_and_old, small_and_new))

    assert found == [("accelerator", "1 with memory 40 GiB and compute >=8.0", "Large, Small")]


def test_many_equal_accelerators_are_counted_rather_than_repeated() -> None:
    found = gaps(gpu_profile(count=8, memory=80 * GIB), accelerators=(T4,) * 7 + (A100,))

    assert found == [("accelerator.memory", "80 GiB (8 times)", "15 GiB (7 times), 80 GiB")]


def test_sizes_that_would_look_equal_are_told_in_bytes() -> None:
    assert gaps(Profile("p", memory=32 * GIB + 1)) == [("memory", f"{32 * GIB + 1} B", f"{32 * GIB} B")]


def test_the_packages_own_size_counts_when_a_profile_asks_for_less_disk() -> None:
    fit = match([Profile("p", disk=GIB)], machine(), size=200 * GIB)

    assert [(s.field, s.need) for s in fit.shortfalls] == [("disk", "200 GiB")]


def test_require_returns_the_chosen_profile() -> None:
    anything = Profile("anything")

    assert require([anything], machine(), 0, "acme/model:1.0.0") is anything
    assert require([], machine(), 0, "acme/model:1.0.0") is None


def test_a_refusal_lists_every_profile_and_has_exit_code_5() -> None:
    profiles = [gpu_profile(memory=20 * GIB), Profile("cpu", memory=64 * GIB, cpu=Cpu(cores=16))]

    with pytest.raises(HardwareUnfit) as caught:
        require(profiles, machine(accelerators=(T4,)), 0, "acme/model:1.0.0")

    assert caught.value.exit_code == 5
    assert caught.value.reference == "hardware-unfit"
    assert caught.value.subject == "acme/model:1.0.0"
    assert str(caught.value) == (
        "this machine cannot run acme/model:1.0.0:\n"
        "  - gpu: accelerator.memory needs 20 GiB, this machine has 15 GiB\n"
        "  - cpu: cpu.cores needs 16, this machine has 8\n"
        "  - cpu: memory needs 64 GiB, this machine has 32 GiB"
    )


@pytest.mark.parametrize(
    ("profiles", "size", "word"),
    [
        ([], 200 * GIB, "installml cache df"),
        ([gpu_profile(), Profile("cpu", memory=64 * GIB, cpu=Cpu(cores=16))], 0, "has the accelerator"),
        ([Profile("cpu", memory=64 * GIB)], 0, "more memory"),
        ([gpu_profile(driver=">=550")], 0, "Update the accelerator's driver"),
        ([Profile("cpu", memory=64 * GIB, cpu=Cpu(cores=16))], 0, "another variant"),
    ],
)
def test_the_hint_follows_the_profile_that_misses_least(profiles: list[Profile], size: int, word: str) -> None:
    gpus = (A100,) if profiles and profiles[0].accelerator and profiles[0].accelerator.driver else ()

    with pytest.raises(HardwareUnfit) as caught:
        require(profiles, machine(accelerators=gpus), size, "acme/model:1.0.0")

    assert word in caught.value.hint
