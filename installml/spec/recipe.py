"""The recipe ``installml.yaml``: what a person says about a model folder.

Here is only the value and its reader; ``packing.recipe`` finds and writes the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..digest import Digest
from ..errors import RecipeInvalid
from ..reference import Reference
from .hardware import Profile, parse_profiles
from .media import Role
from .node import Node
from .paths import name_problem
from .runtime import ENGINES, PYTHON, Signature, package_path, parse_entrypoint, parse_signature

__all__ = ["NAME", "SEMVER", "Base", "FileRules", "Recipe", "RuntimeRecipe", "parse_recipe", "tag_of"]

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_NUMBER = "(?:0|[1-9][0-9]*)"
_PART = f"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PART}(?:\.{_PART})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
"""SemVer 2.0.0, item 2 and 9 to 10."""
_SPDX_ID = r"(?:[A-Za-z0-9][A-Za-z0-9.+-]*(?::[A-Za-z0-9.-]+)?)"
_SPDX_TERM = rf"(?:\( *)*{_SPDX_ID}(?: +WITH +{_SPDX_ID})?(?: *\))*"  # each space has one place: no backtracking
SPDX = rf"{_SPDX_TERM}(?: +(?:AND|OR) +{_SPDX_TERM})*"
"""The shape of an SPDX licence expression (SPDX 2.3, annex D); identifiers are not looked up in the list."""
RELATIONS = ("finetune", "adapter", "quantized", "merge", "distilled")


@dataclass(frozen=True, slots=True)
class FileRules:
    """Which files go in, and what they are.

    Attributes:
        include: Globs of package-relative paths; ``**`` crosses folders.
        exclude: Globs taken away again.
        roles: Glob to role, overriding what the extension says; the longest glob wins.
    """

    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class RuntimeRecipe:
    """The recipe's ``runtime``; see ``RuntimeManifest`` for the resolved form.

    Attributes:
        requirements: Package-relative path of a requirements file, or empty for the engine's own needs.
    """

    engine: str = "none"
    model: str = ""
    entrypoint: str = ""
    python: str = ""
    requirements: str = ""
    image: str = ""
    signature: Signature = field(default_factory=Signature)
    example: str = ""
    expected: str = ""
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True)
class Base:
    """The model that this one was made from."""

    ref: str
    digest: Digest | None = None
    relation: str = "finetune"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe, checked."""

    name: str
    version: str
    description: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()
    source: str = ""
    revision: str = ""
    usage: str = ""
    datasets: tuple[str, ...] = ()
    base: Base | None = None
    task: str = ""
    family: str = ""
    architecture: str = ""
    precision: str = ""
    quantization: str = ""
    parameters: str = ""
    format: str = ""
    languages: tuple[str, ...] = ()
    files: FileRules = field(default_factory=FileRules)
    runtime: RuntimeRecipe = field(default_factory=RuntimeRecipe)
    hardware: tuple[Profile, ...] = ()
    checkpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


_TEXTS = (
    "description", "source", "revision", "usage", "task", "family", "architecture", "precision", "quantization",
    "format",
)  # fmt: skip
_KEYS = (
    "name", "version", "license", "authors", "datasets", "base", "parameters", "languages", "files", "runtime",
    "hardware", "checkpoints", *_TEXTS,
)  # fmt: skip
_RUNTIME_KEYS = (
    "engine", "model", "entrypoint", "python", "requirements", "image", "signature", "example", "expected", "tolerance",
)  # fmt: skip


def parse_recipe(value: Any, origin: str) -> Recipe:
    """Return the recipe that a parsed YAML document spells.

    Args:
        value: The document as plain mappings, lists and scalars.
        origin: The file, for the error.

    Raises:
        RecipeInvalid: Every violation at once.
    """
    root = Node(value)
    if not isinstance(value, dict):
        raise RecipeInvalid(origin, ["it must be a mapping of keys such as name and version"])
    keys = root.mapping(_KEYS, ("name", "version"))
    recipe = Recipe(
        name=keys["name"].string(pattern=NAME, noun="a name (lowercase letters, digits, . _ - and /)", most=200),
        version=keys["version"].string(pattern=SEMVER, noun="a SemVer version such as 1.4.0", most=120),
        license=keys["license"].string(pattern=SPDX, noun="an SPDX licence expression such as Apache-2.0"),
        authors=keys["authors"].strings(),
        datasets=keys["datasets"].strings(),
        base=_base(keys["base"]),
        parameters=keys["parameters"].string(pattern=r"[0-9][0-9.]*[KMBT]?", noun="a count such as 22.7M"),
        languages=keys["languages"].strings(pattern="[a-z]{2}", noun="a two-letter language code"),
        files=_files(keys["files"]),
        runtime=_runtime(keys["runtime"]),
        hardware=parse_profiles(keys["hardware"]),
        checkpoints={name: n.strings() for name, n in keys["checkpoints"].items()},
        **{name: keys[name].string() for name in _TEXTS},
    )
    if root.violations:
        raise RecipeInvalid(origin, root.violations)
    return recipe


def _base(node: Node) -> Base | None:
    if not node:
        return None
    keys = node.mapping(("ref", "digest", "relation"), ("ref",))
    reference = keys["ref"].parsed(Reference.parse)
    return Base(
        str(reference or ""), keys["digest"].parsed(Digest.parse), keys["relation"].choice(RELATIONS, "finetune")
    )


def _files(node: Node) -> FileRules:
    keys = node.mapping(("include", "exclude", "roles"))
    roles = {glob: Role(text) for glob, n in keys["roles"].items() if (text := n.choice([r.value for r in Role]))}
    return FileRules(
        tuple(_globs(keys["include"])) or ("**",),
        tuple(_globs(keys["exclude"])),
        roles,
    )


def _globs(node: Node) -> list[str]:
    globs = []
    for child in node.sequence(1000):
        text = child.string()
        problem = name_problem(text.replace("*", "x").replace("?", "x")) if text else "is empty"
        if problem:
            child.fail(f"{text[:80]!r} {problem}")
        else:
            globs.append(text)
    return globs


def _runtime(node: Node) -> RuntimeRecipe:
    keys = node.mapping(_RUNTIME_KEYS)
    entrypoint = parse_entrypoint(keys["entrypoint"])
    engine = keys["engine"].choice(ENGINES, "none")
    if engine == "python" and not entrypoint:
        node.fail("engine python needs an entrypoint such as model.py:Model")
    return RuntimeRecipe(
        engine=engine,
        model=package_path(keys["model"]),
        entrypoint=entrypoint,
        python=keys["python"].string(pattern=PYTHON, noun="a version specifier such as >=3.11,<3.13"),
        requirements=package_path(keys["requirements"]),
        image=keys["image"].string(),
        signature=parse_signature(keys["signature"]),
        example=package_path(keys["example"]),
        expected=package_path(keys["expected"]),
        tolerance=keys["tolerance"].number(1e-4),
    )


def tag_of(version: str) -> str:
    """Return the tag for a version: ``+`` is no tag character and becomes ``_`` (as Helm does)."""
    return version.replace("+", "_")
