"""More hardware never hurts, fewer wishes never hurt, and an answer always explains itself."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from installml.machines.machine import Gpu, Machine
from installml.machines.match import match
from installml.spec.hardware import Accelerator, Cpu, Profile

SIZES = st.integers(0, 6)
FEATURES = st.frozensets(st.sampled_from(["avx2", "fma", "amx"]))
VENDORS = st.sampled_from(["nvidia", "amd"])
VERSIONS = st.sampled_from(["", "7.5", "8.0", "9.0", "10.1"])
BOUNDS = st.sampled_from(["", ">=8.0", "8.0", ">8", "<9", "==9.0", "<=10.1"])

GPUS = st.builds(Gpu, VENDORS, st.sampled_from(["a", "b"]), SIZES, VERSIONS, VERSIONS)
MACHINES = st.builds(
    Machine,
    st.just("linux"),
    st.sampled_from(["amd64", "arm64"]),
    st.integers(1, 4),
    FEATURES,
    SIZES,
    SIZES,
    st.lists(GPUS, max_size=3).map(tuple),
)
CPUS = st.builds(Cpu, st.integers(0, 4), st.sampled_from([(), ("amd64",), ("amd64", "arm64")]), FEATURES.map(tuple))
PROFILES = st.builds(
    Profile,
    st.sampled_from(["gpu", "cpu"]),
    st.none() | st.builds(Accelerator, VENDORS, st.integers(1, 3), SIZES, BOUNDS, BOUNDS),
    CPUS,
    SIZES,
    SIZES,
)
WISHES = st.lists(PROFILES, max_size=4)


@given(WISHES, MACHINES, SIZES, GPUS, FEATURES, SIZES)
def test_more_hardware_never_makes_a_fit_fail(
    profiles: list[Profile], machine: Machine, size: int, gpu: Gpu, features: frozenset[str], more: int
) -> None:
    larger = replace(
        machine,
        cores=machine.cores + more,
        features=machine.features | features,
        memory=machine.memory + more,
        disk_free=machine.disk_free + more,
        accelerators=(*machine.accelerators, gpu),
    )

    assert not match(profiles, machine, size=size).fits or match(profiles, larger, size=size).fits


@given(WISHES, MACHINES, SIZES, st.data())
def test_removing_a_profile_never_makes_an_unfit_machine_fit(
    profiles: list[Profile], machine: Machine, size: int, data: st.DataObject
) -> None:
    if len(profiles) < 2:
        return
    dropped = data.draw(st.integers(0, len(profiles) - 1))
    fewer = profiles[:dropped] + profiles[dropped + 1 :]

    assert match(profiles, machine, size=size).fits or not match(fewer, machine, size=size).fits


@given(WISHES, MACHINES, SIZES, st.permutations(range(3)))
def test_the_order_of_the_accelerators_does_not_matter(
    profiles: list[Profile], machine: Machine, size: int, order: list[int]
) -> None:
    gpus = machine.accelerators
    shuffled = replace(machine, accelerators=tuple(gpus[i] for i in order if i < len(gpus)))

    assert match(profiles, machine, size=size).profile == match(profiles, shuffled, size=size).profile


@given(WISHES, MACHINES, SIZES)
def test_a_smaller_package_fits_wherever_a_larger_one_does(
    profiles: list[Profile], machine: Machine, size: int
) -> None:
    assert not match(profiles, machine, size=size + 1).fits or match(profiles, machine, size=size).fits


@given(WISHES, MACHINES, SIZES)
def test_the_answer_is_one_of_the_profiles_and_every_refusal_has_a_reason(
    profiles: list[Profile], machine: Machine, size: int
) -> None:
    fit = match(profiles, machine, size=size)

    assert fit.profile is None or fit.profile in profiles
    assert fit.fits == (fit.profile is not None if profiles else not fit.shortfalls)
    assert fit.fits or fit.shortfalls
    assert all(s.field and s.need and s.have for s in fit.shortfalls)


@given(PROFILES, MACHINES, SIZES)
def test_a_profile_that_wishes_nothing_catches_whatever_the_first_one_misses(
    profile: Profile, machine: Machine, size: int
) -> None:
    roomy = replace(machine, disk_free=size)
    alone = match([profile], roomy, size=size)
    backed = match([profile, Profile("anything")], roomy, size=size)

    assert backed.profile == (profile if alone.fits else Profile("anything"))
    assert backed.shortfalls == alone.shortfalls
