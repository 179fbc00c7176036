"""Which files of a folder go into a package, and what each is for.

Every refusal is collected, so that one look at the list is enough to mend the folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import RecipeInvalid
from ..spec.globs import matches
from ..spec.media import OWN_FOLDER, Role
from ..spec.paths import collisions, name_problem
from ..spec.recipe import FileRules
from ..store.files import disk_errors

__all__ = ["ALWAYS_EXCLUDED", "Selected", "Selection", "role_by_name", "select"]

ALWAYS_EXCLUDED = (
    f"{OWN_FOLDER}/**", ".git/**", "**/.git/**", "**/__pycache__/**", "**/*.pyc", "**/.DS_Store", ".venv/**",
    "**/.ipynb_checkpoints/**", "**/.mypy_cache/**", "**/.ruff_cache/**", "**/.pytest_cache/**",
)  # fmt: skip
MAX_FILES = 10_000
_EXTENSIONS: dict[Role, str] = {
    Role.WEIGHT: "safetensors bin pt pth pt2 ckpt onnx onnx_data gguf ggml h5 hdf5 keras pb ubj xgb joblib pkl pickle "
    "skops npz npy tflite msgpack mlmodel engine plan ot params index data-00000-of-00001 cbm",
    Role.CODE: "py pyi pyx sh ipynb c cc cpp h hpp cu cuh rs go js ts java proto sql r jl",
    Role.DOC: "md markdown rst pdf png jpg jpeg gif svg webp html",
    Role.DATASET: "csv tsv parquet arrow jsonl feather",
}
_BY_EXTENSION = {ext: role for role, names in _EXTENSIONS.items() for ext in names.split()}
_DOC_NAMES = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|authors|citation|model_?card)(\..*)?", re.IGNORECASE
)
_LARGE = 8 << 20  # an unknown file above this size is taken for weights


@dataclass(frozen=True, slots=True)
class Selected:
    """One file that goes in.

    Attributes:
        path: Package-relative POSIX path.
        source: Where it is.
        size: Bytes when it was seen.
        role: What it is for.
    """

    path: str
    source: Path
    size: int
    role: Role


@dataclass(frozen=True, slots=True)
class Selection:
    """All files, in the order of layers, and what the reader should know."""

    files: tuple[Selected, ...]
    notices: tuple[str, ...] = ()


def role_by_name(path: str, size: int) -> Role:
    """Return what a file is for, judged by its name, and by its size where the name says nothing."""
    name = path.rpartition("/")[2]
    if _DOC_NAMES.fullmatch(name):
        return Role.DOC
    known = _BY_EXTENSION.get(name.rpartition(".")[2].lower())
    return known or (Role.WEIGHT if size > _LARGE else Role.CONFIG)


def _role(path: str, size: int, rules: FileRules, weights: frozenset[str]) -> Role:
    globs = [glob for glob in rules.roles if matches(path, (glob,))]
    if globs:
        return rules.roles[max(globs, key=len)]
    return Role.WEIGHT if path in weights else role_by_name(path, size)


def select(folder: Path, rules: FileRules, weights: frozenset[str] = frozenset()) -> Selection:
    """Return the files of ``folder`` that the rules take, code first and weights last, by path.

    Args:
        folder: The model folder.
        rules: From the recipe.
        weights: Paths known to be weights whatever their name says.

    Raises:
        RecipeInvalid: Everything that cannot be packaged, each named with its reason.
        StoreUnusable: The folder cannot be read.
    """
    problems: list[str] = []
    notices: list[str] = []
    files = []
    for path, source, status in _walk(folder, rules, problems, notices):
        role = _role(path, status.st_size, rules, weights)
        files.append(Selected(path, source, status.st_size, role))
    names = [file.path for file in files]
    problems += [f"{a!r} and {b!r} would be one file on some systems; rename one" for a, b in collisions(names)]
    if not files and not problems:
        problems.append("no file is selected; look at files.include and files.exclude in the recipe")
    if len(files) > MAX_FILES - 3:
        problems.append(f"{len(files)} files are more than {MAX_FILES - 3}; pack small ones together or exclude some")
    if problems:
        raise RecipeInvalid(str(folder), problems[:200])
    order = list(Role)
    files.sort(key=lambda file: (order.index(file.role), file.path))
    return Selection(tuple(files), tuple(notices))


def _walk(
    folder: Path, rules: FileRules, problems: list[str], notices: list[str], prefix: str = ""
) -> Iterator[tuple[str, Path, os.stat_result]]:
    with disk_errors(folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if not entries and prefix:
        notices.append(f"the empty folder {prefix.rstrip('/')} is not packaged")
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if _excluded(path, entry, rules):
            continue
        problem = name_problem(path)
        if problem:
            problems.append(f"{path.encode(errors='replace').decode()!r} {problem}")
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), rules, problems, notices, f"{path}/")
        else:
            yield from _file(entry, path, folder, prefix, problems)


def _excluded(path: str, entry: os.DirEntry[str], rules: FileRules) -> bool:
    shown = f"{path}/" if entry.is_dir(follow_symlinks=False) else path
    globs = (*ALWAYS_EXCLUDED, *rules.exclude)
    if matches(path, globs) or (shown != path and matches(f"{shown}x", globs)):
        return True
    return shown == path and not matches(path, rules.include)


def _file(
    entry: os.DirEntry[str], path: str, folder: Path, prefix: str, problems: list[str]
) -> Iterator[tuple[str, Path, os.stat_result]]:
    root = folder
    for _ in range(prefix.count("/")):
        root = root.parent
    source = Path(entry.path)
    if entry.is_symlink():
        target = source.resolve()
        if not target.is_relative_to(root.resolve()):
            problems.append(f"{path!r} is a symbolic link that leaves the folder; copy the file in (cp -L)")
            return
        if not target.is_file():
            problems.append(f"{path!r} is a symbolic link to {'a folder' if target.is_dir() else 'nothing'}")
            return
        source = target
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        problems.append(f"{path!r} is a {_kind(status.st_mode)}, not a file")
        return
    if not os.access(source, os.R_OK):
        problems.append(f"{path!r} cannot be read by this user")
        return
    yield path, source, status


def _kind(mode: int) -> str:
    table = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}
    return table.get(stat.S_IFMT(mode), "special file")
