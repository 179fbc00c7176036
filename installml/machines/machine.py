"""What a machine has, as values; and what it falls short of. No I/O: ``probe`` fills these in."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gpu", "Machine", "Shortfall"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One accelerator that programs on this machine can use.

    Attributes:
        vendor: Lowercase maker, in the words of ``spec.hardware``.
        name: As its maker calls it.
        memory: Bytes; 0 when the machine does not say.
        compute: Compute capability (NVIDIA) or graphics target version (AMD), such as ``9.0``; empty when unknown.
        driver: Version of the driver; empty when unknown.
    """

    vendor: str
    name: str
    memory: int = 0
    compute: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this process may use of the machine it runs on, limits of its container included.

    Attributes:
        system: ``linux`` or ``darwin``.
        arch: Architecture in OCI's words (``amd64``, ``arm64`` ...).
        cores: Processors that may be used at the same time.
        features: Instruction set features in /proc/cpuinfo's words.
        memory: Usable bytes of main memory; 0 when the machine does not say.
        disk_free: Free bytes where the package would go.
        accelerators: Every usable accelerator.
    """

    system: str
    arch: str
    cores: int
    features: frozenset[str]
    memory: int
    disk_free: int
    accelerators: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One thing that a profile needs and the machine does not have.

    Attributes:
        profile: The profile's name; empty when the package names none.
        field: The key of ``hardware.json`` that is not met, such as ``accelerator.memory``.
        need: What is needed, for people.
        have: What is there, for people.
    """

    profile: str
    field: str
    need: str
    have: str

    def __str__(self) -> str:
        where = f"{self.profile}: " if self.profile else ""
        return f"{where}{self.field} needs {self.need}, this machine has {self.have}"
