"""What a package asks of a machine: profiles, any of which will do, best first (``hardware.json``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import RecipeInvalid
from .canonical import canonical, parse_json
from .node import Node
from .units import parse_bound, parse_size

__all__ = ["Accelerator", "Cpu", "HardwareManifest", "Profile", "parse_hardware", "parse_profiles"]

T = TypeVar("T")

SCHEMA_VERSION = 1
ARCHITECTURES = ("amd64", "arm64", "ppc64le", "riscv64", "s390x")
VENDORS = ("nvidia", "amd", "intel", "apple", "google", "aws", "habana", "huawei")


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Accelerators of one kind.

    Attributes:
        vendor: Lowercase maker.
        count: How many.
        memory: Bytes each; 0 for any.
        compute: Bound on the compute capability, such as ``>=8.0``; empty for any.
        driver: Bound on the driver's version; empty for any.
    """

    vendor: str
    count: int = 1
    memory: int = 0
    compute: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class Cpu:
    """What the processors must be.

    Attributes:
        cores: Least number of usable cores.
        arch: Acceptable architectures in OCI's words (``amd64``, ``arm64``); empty for any.
        features: Instruction set features that must all be there, in /proc/cpuinfo's words.
    """

    cores: int = 0
    arch: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """One way of running the package.

    Attributes:
        name: For people.
        accelerator: Needed accelerators, or None.
        cpu: Needed processors.
        memory: Bytes of main memory, 0 for any.
        disk: Bytes of free disk, 0 for just the package's own size.
    """

    name: str
    accelerator: Accelerator | None = None
    cpu: Cpu = Cpu()
    memory: int = 0
    disk: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the value of hardware.json; sizes in bytes, absent wishes left out."""
        value: dict[str, Any] = {"name": self.name}
        if self.accelerator is not None:
            value["accelerator"] = _sparse(self.accelerator, ("vendor", "count", "memory", "compute", "driver"))
        if self.cpu != Cpu():
            value["cpu"] = _sparse(self.cpu, ("cores", "arch", "features"))
        return value | _sparse(self, ("memory", "disk"))


@dataclass(frozen=True, slots=True)
class HardwareManifest:
    """All profiles of a package; none means that it runs anywhere."""

    profiles: tuple[Profile, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the value of ``.installml/hardware.json``."""
        return {"schemaVersion": SCHEMA_VERSION, "profiles": [p.to_json() for p in self.profiles]}

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return canonical(self.to_json())


def _sparse(thing: object, names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(thing, name) for name in names}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v}


def _size(node: Node) -> int:
    if isinstance(node.value, int):
        return node.integer()
    return node.parsed(parse_size, 0) or 0


def _bound(node: Node) -> str:
    text = node.string()
    if text:
        node.parsed(parse_bound)
    return text


def _accelerator(node: Node) -> Accelerator | None:
    if not node:
        return None
    keys = node.mapping(("vendor", "count", "memory", "compute", "driver"), ("vendor",))
    return Accelerator(
        keys["vendor"].choice(VENDORS),
        keys["count"].integer(1, least=1, most=1024),
        _size(keys["memory"]),
        _bound(keys["compute"]),
        _bound(keys["driver"]),
    )


def _cpu(node: Node) -> Cpu:
    keys = node.mapping(("cores", "arch", "features"))
    arch = tuple(n.choice(ARCHITECTURES) for n in keys["arch"].sequence(16))
    return Cpu(keys["cores"].integer(most=4096), arch, keys["features"].strings(pattern="[a-z0-9_.]{1,40}", most=64))


def _profile(node: Node, position: int) -> Profile:
    keys = node.mapping(("name", "accelerator", "cpu", "memory", "disk"))
    return Profile(
        keys["name"].string(f"profile-{position + 1}", pattern="[a-zA-Z0-9][a-zA-Z0-9 ._-]{0,63}", noun="a short name"),
        _accelerator(keys["accelerator"]),
        _cpu(keys["cpu"]),
        _size(keys["memory"]),
        _size(keys["disk"]),
    )


def parse_profiles(node: Node) -> tuple[Profile, ...]:
    """Return the profiles at ``node``: the recipe's ``hardware`` and the packaged form read alike."""
    return tuple(_profile(child, i) for i, child in enumerate(node.sequence(32)))


def parse_hardware(data: bytes, origin: str) -> HardwareManifest:
    """Return what a ``hardware.json`` says.

    Raises:
        JSONInvalid: Not acceptable JSON.
        RecipeInvalid: Every violation at once; an unknown schema version names the release that reads it.
    """
    return versioned(data, origin, ("profiles",), lambda keys: HardwareManifest(parse_profiles(keys["profiles"])))


def versioned(data: bytes, origin: str, known: tuple[str, ...], read: Callable[[dict[str, Node]], T]) -> T:
    """Read one of our own packaged documents: strict keys, ``schemaVersion`` 1, all violations at once."""
    root = Node(parse_json(data, origin))
    version = root.value.get("schemaVersion") if isinstance(root.value, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RecipeInvalid(
            origin,
            [f"schemaVersion {version} is newer than this installml can read ({SCHEMA_VERSION})"],
            hint="pip install --upgrade installml",
        )
    keys = root.mapping(("schemaVersion", *known), ("schemaVersion",))
    if version != SCHEMA_VERSION or version is True:  # in Python true is 1
        root.fail(f"schemaVersion must be {SCHEMA_VERSION}")
    result = read(keys)
    if root.violations:
        raise RecipeInvalid(origin, root.violations)
    return result
