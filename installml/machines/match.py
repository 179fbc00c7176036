"""Does a package fit a machine? Pure rules: facts come in as arguments, no I/O and no clock.

A profile fits when every wish in it is met; the first profile that fits is chosen, since they are listed best
first. An unknown fact never meets a wish: better a clear refusal before the download than a failure after it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..spec.hardware import Accelerator, Cpu, Profile
from ..spec.units import format_size, parse_bound, version_key
from .errors import HardwareUnfit
from .machine import Gpu, Machine, Shortfall

__all__ = ["Fit", "match", "require"]

_UNKNOWN = "an unknown amount"
_SHOWN = 8
_OPERATORS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}

Gap = tuple[str, str, str]
"""Field, need and have of a wish that is not met."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer of ``match``.

    Attributes:
        profile: The profile to run with; None when none fits, or when the package has none.
        shortfalls: Why the profiles before it (or all of them) do not fit.
    """

    profile: Profile | None
    shortfalls: tuple[Shortfall, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the package can run here."""
        return self.profile is not None or not self.shortfalls


def match(profiles: Sequence[Profile], machine: Machine, *, size: int) -> Fit:
    """Choose the first profile that the machine meets.

    Args:
        profiles: The package's profiles, best first; none means that it runs anywhere and only ``size`` counts.
        machine: What there is.
        size: Bytes that installing will write; a profile that asks for more disk than this prevails.

    Returns:
        The chosen profile, and the shortfalls of those that were passed over.
    """
    shortfalls: list[Shortfall] = []
    for profile in profiles:
        gaps = list(_gaps(profile, machine, size))
        if not gaps:
            return Fit(profile, tuple(shortfalls))
        shortfalls += [Shortfall(profile.name, *gap) for gap in gaps]
    if not profiles:
        shortfalls = [Shortfall("", *gap) for gap in _at_least("disk", size, machine.disk_free)]
    return Fit(None, tuple(shortfalls))


def require(profiles: Sequence[Profile], machine: Machine, size: int, subject: str) -> Profile | None:
    """Choose a profile or refuse.

    Args:
        profiles: The package's profiles, best first.
        machine: What there is.
        size: Bytes that installing will write.
        subject: The package, for the error.

    Returns:
        The profile to run with; None when the package has none.

    Raises:
        HardwareUnfit: None fits; every need is listed beside what the machine has.
    """
    fit = match(profiles, machine, size=size)
    if not fit.fits:
        raise HardwareUnfit(subject, fit.shortfalls)
    return fit.profile


def _gaps(profile: Profile, machine: Machine, size: int) -> Iterator[Gap]:
    yield from _accelerator(profile.accelerator, machine.accelerators)
    yield from _cpu(profile.cpu, machine)
    yield from _at_least("memory", profile.memory, machine.memory)
    yield from _at_least("disk", max(profile.disk, size), machine.disk_free)


def _at_least(field: str, need: int, have: int) -> Iterator[Gap]:
    if need > have:
        yield field, *_sizes(need, have)


def _sizes(need: int, have: int) -> tuple[str, str]:
    """Return both sizes for people; in bytes where rounding would make them look equal."""
    words = format_size(need), format_size(have)
    return words if words[0] != words[1] else (f"{need} B", f"{have} B")


def _cpu(wish: Cpu, machine: Machine) -> Iterator[Gap]:
    if wish.cores > machine.cores:
        yield "cpu.cores", str(wish.cores), str(machine.cores)
    if wish.arch and machine.arch not in wish.arch:
        yield "cpu.arch", " or ".join(wish.arch), machine.arch
    missing = [feature for feature in wish.features if feature not in machine.features]
    if missing:
        yield "cpu.features", ", ".join(wish.features), f"no {', no '.join(missing)}"


def _accelerator(wish: Accelerator | None, gpus: Sequence[Gpu]) -> Iterator[Gap]:
    if wish is None:
        return
    ours = [gpu for gpu in gpus if gpu.vendor == wish.vendor]
    if len(ours) < wish.count:
        field = "accelerator.count" if ours else "accelerator"
        yield field, f"{wish.count} from {wish.vendor}", _names(ours, gpus)
        return
    tests = _tests(wish)
    failed = [test for test in tests if sum(test.met(gpu) for gpu in ours) < wish.count]
    for test in failed:
        yield f"accelerator.{test.field}", _listed([test.need] * wish.count), _listed(map(test.have, ours))
    if not failed and sum(all(test.met(gpu) for test in tests) for gpu in ours) < wish.count:
        yield "accelerator", f"{wish.count} with {' and '.join(t.phrase for t in tests)}", _names(ours, gpus)


def _names(ours: Sequence[Gpu], all_gpus: Sequence[Gpu]) -> str:
    if ours or all_gpus:
        return _listed(gpu.name for gpu in ours or all_gpus)
    return "none"


def _listed(values: Iterable[str]) -> str:
    """Return the values with their counts: ``80 GiB (2 times), 40 GiB``."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    words = [value if times == 1 else f"{value} ({times} times)" for value, times in counts.items()]
    return ", ".join(words[:_SHOWN]) + (" ..." if len(words) > _SHOWN else "")


@dataclass(frozen=True, slots=True)
class _Test:
    """One wish about each accelerator."""

    field: str
    need: str
    met: Callable[[Gpu], bool]
    have: Callable[[Gpu], str]

    @property
    def phrase(self) -> str:
        return f"{self.field} {self.need}"


def _tests(wish: Accelerator) -> list[_Test]:
    tests = []
    if wish.memory:
        tests.append(_memory_test(wish.memory))
    if wish.compute:
        tests.append(_version_test("compute", wish.compute, lambda gpu: gpu.compute))
    if wish.driver:
        tests.append(_version_test("driver", wish.driver, lambda gpu: gpu.driver))
    return tests


def _memory_test(need: int) -> _Test:
    def have(gpu: Gpu) -> str:
        words = _sizes(need, gpu.memory)[1] if gpu.memory < need else format_size(gpu.memory)
        return words if gpu.memory else _UNKNOWN

    return _Test("memory", format_size(need), lambda gpu: gpu.memory >= need, have)


def _version_test(field: str, bound: str, value: Callable[[Gpu], str]) -> _Test:
    sign, wanted = parse_bound(bound)

    def met(gpu: Gpu) -> bool:
        return bool(value(gpu)) and _OPERATORS[sign](version_key(value(gpu)), wanted)

    return _Test(field, bound, met, lambda gpu: value(gpu) or "unknown")
