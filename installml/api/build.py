"""``build``: recipe and folder become a package, in the local store or straight in a registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..digest import Digest
from ..errors import RecipeInvalid, StoreError, UsageError
from ..events import Notice
from ..packing.assemble import BuiltPackage, assemble
from ..packing.chunking import Chunking
from ..packing.hashing import Hash, Keep, Reading, Taker
from ..packing.memory import DigestMemory
from ..packing.provenance import commit_time
from ..packing.recipe import load_recipe
from ..packing.select import Selection, select
from ..reference import Reference
from ..runtime.errors import IndexUnreachable, WheelsMissing
from ..runtime.lock import ENGINE_REQUIREMENTS, WORKER, check_lock, is_locked, lock
from ..spec.chunks import LARGE
from ..spec.media import LOCK_PATH
from ..spec.recipe import Recipe, tag_of
from ..spec.runtime import RuntimeManifest
from ..store.files import disk_errors, write_whole
from ..transfer import copy
from .results import BuildResult
from .session import AMBIENT, Session

__all__ = ["build", "made"]

MAX_REQUIREMENTS = 1 << 20
RECORDED = "expected.json"
"""Where ``test --record`` writes the answer when the recipe names no other file."""


def build(folder: str | Path, *, tag: str = "", to: str = "", session: Session = AMBIENT) -> BuildResult:
    """Build the package of a model folder.

    Args:
        folder: The folder with ``installml.yaml``.
        tag: Reference to build under; the recipe's name and version when left out.
        to: Registry reference to build into, with no copy in the local store.
        session: Collaborators.

    Returns:
        The package's reference and digest.

    Raises:
        NotFound: No folder, or no recipe in it.
        RecipeInvalid: Everything that is wrong with recipe or files.
        SourceChanged: A file changed while it was read.
    """
    if to:
        from .push import push_folder

        sent = push_folder(Path(folder), to, session)
        return BuildResult(
            sent.reference, sent.name, sent.version, sent.digest, sent.size, 0, sent.reference.registry, sent.notices
        )
    reference = named(tag, load_recipe(Path(folder)), session)
    store = session.store
    store.prepare()
    with store.lease():
        package = made(Path(folder), session, Keep(store.blobs))
        copy(package, session.local(reference), package.root, tags=[reference.tag])
        store.made.add(package.root.digest)
    return BuildResult(
        reference=reference.with_digest(package.root.digest),
        name=package.recipe.name,
        version=package.recipe.version,
        digest=package.root.digest,
        size=package.manifest.size,
        files=len(package.manifest.layers),
        destination=str(session.home),
        notices=package.notices,
    )


def named(tag: str, recipe: Recipe, session: Session) -> Reference:
    """Return the reference that a package is built under; a tag is the version unless it was given.

    Raises:
        UsageError: It names a digest, which only building can tell.
    """
    reference = session.qualify(tag or recipe.name)
    if reference.digest is not None:
        raise UsageError(f"{tag} names a digest, and building decides it", hint="Leave the digest out.", subject=tag)
    return reference if reference.tag else reference.with_tag(tag_of(recipe.version))


def made(folder: Path, session: Session, taker: Taker | None = None) -> BuiltPackage:
    """Return the package that ``folder`` makes.

    A file is read once; not at all when it has not been touched since its digest was learnt by an earlier build.

    Args:
        folder: The model folder.
        session: Collaborators.
        taker: What becomes of the bytes while they are read; they are only hashed when None.
    """
    recipe = load_recipe(folder)
    weights = frozenset({recipe.runtime.model} - {""})
    selection = select(folder, recipe.files, weights)
    recipe = _with_recorded_answer(recipe, selection)
    _check_named_files(recipe, selection, folder)
    requirements, locked, notices = _requirements(folder, recipe, session)
    runtime = RuntimeManifest(
        engine=recipe.runtime.engine,
        model=recipe.runtime.model,
        entrypoint=recipe.runtime.entrypoint,
        python=recipe.runtime.python,
        requirements=requirements,
        image=recipe.runtime.image,
        signature=recipe.runtime.signature,
        example=recipe.runtime.example,
        expected=recipe.runtime.expected,
        tolerance=recipe.runtime.tolerance,
        task=recipe.task,
    )
    created = session.source_date_epoch
    for notice in (*selection.notices, *notices):
        session.on_event(Notice(notice))
    return assemble(
        recipe,
        Selection(selection.files, (*selection.notices, *notices)),
        runtime,
        lock=locked,
        created=created if created is not None else commit_time(folder),
        reading=Reading(
            taker or Hash(),
            memory=DigestMemory.at(session.home, folder),
            observe=Chunking(session.store.chunks.write),
            observed=lambda digest, size: size < LARGE or session.store.chunks.read(digest, size) is not None,
        ),
        on_event=session.on_event,
    )


def _with_recorded_answer(recipe: Recipe, selection: Selection) -> Recipe:
    """Return the recipe with the answer that ``test --record`` left, unless it names one itself."""
    runtime = recipe.runtime
    recorded = any(file.path == RECORDED for file in selection.files)
    if not recorded or runtime.expected or not runtime.example:
        return recipe
    return replace(recipe, runtime=replace(runtime, expected=RECORDED))


def _check_named_files(recipe: Recipe, selection: Selection, folder: Path) -> None:
    """Refuse a recipe that names files which are not packaged."""
    present = {file.path for file in selection.files}
    runtime = recipe.runtime
    entry = runtime.entrypoint.rpartition(":")[0]
    named_files = {
        "model": runtime.model,
        "example": runtime.example,
        "expected": runtime.expected,
        "entrypoint": entry,
    }
    missing = [
        f"runtime.{key}: {path!r} is not among the packaged files"
        for key, path in named_files.items()
        if path and path not in present and not any(name.startswith(f"{path}/") for name in present)
    ]
    if missing:
        hint = "Correct the recipe, or files.include and files.exclude."
        if runtime.expected and not (folder / runtime.expected).exists():
            hint = f"Leave runtime.expected out until an answer is recorded: installml test {folder} --record"
        raise RecipeInvalid(str(folder), missing, hint=hint)


def _requirements(folder: Path, recipe: Recipe, session: Session) -> tuple[tuple[str, ...], bytes, tuple[str, ...]]:
    """Return the wishes, their lock (empty when there is none) and notices.

    The lock is kept in the folder, so that building again gives the same package; it is made anew when the wishes
    change. Without a reachable package index the package is built unlocked and says so.
    """
    engine = recipe.runtime.engine
    text = _read_requirements(folder, recipe)
    wishes = tuple(line for raw in text.splitlines() if (line := raw.partition(" #")[0].strip()) and line[0] != "#")
    if is_locked(text):
        pinned = tuple(f"{pin.name}=={pin.version}" for pin in check_lock(text.encode()))
        return pinned, _with_worker(text.encode(), recipe, folder), ()
    wishes = wishes or ENGINE_REQUIREMENTS.get(engine, ())
    if engine == "none" or not wishes:
        return (), b"", ()
    kept = _kept_lock(folder, wishes, recipe.runtime.python)
    if kept:
        return wishes, kept, ()
    try:
        locked = lock(wishes, recipe.runtime.python, session.index)
    except (IndexUnreachable, WheelsMissing) as error:
        return wishes, b"", (f"requirements are not locked: {error.message}",)
    _keep_lock(folder, locked, wishes, recipe.runtime.python)
    return wishes, locked, ()


def _with_worker(locked: bytes, recipe: Recipe, folder: Path) -> bytes:
    """Return a lock that somebody else made, which must have what the worker process needs."""
    pins = check_lock(locked, recipe.runtime.requirements)
    if WORKER not in {pin.name for pin in pins}:
        raise RecipeInvalid(
            str(folder),
            [f"runtime.requirements: {recipe.runtime.requirements} is locked without {WORKER}, which serving needs"],
            hint=f"Add {WORKER} to it and lock again, or give requirements without hashes and let build lock them.",
        )
    return locked


def _read_requirements(folder: Path, recipe: Recipe) -> str:
    name = recipe.runtime.requirements
    if not name:
        return ""
    path = folder / name
    if not path.is_file():
        raise RecipeInvalid(str(folder), [f"runtime.requirements: there is no file {name!r}"])
    with disk_errors(path):
        data = path.read_bytes()
    if len(data) > MAX_REQUIREMENTS:
        raise RecipeInvalid(str(path), [f"it has {len(data)} bytes, at most {MAX_REQUIREMENTS} are read"])
    return data.decode("utf-8", errors="replace")


def _stamp(wishes: tuple[str, ...], python: str) -> bytes:
    return f"# for {Digest.of(repr((wishes, python)).encode())}\n".encode()


def _kept_lock(folder: Path, wishes: tuple[str, ...], python: str) -> bytes:
    """Return the lock that an earlier build left in the folder, if it is for the same wishes."""
    path = folder / LOCK_PATH
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    stamp = _stamp(wishes, python)
    if not data.startswith(stamp):
        return b""
    locked = data.removeprefix(stamp)
    check_lock(locked, str(path))
    return locked


def _keep_lock(folder: Path, locked: bytes, wishes: tuple[str, ...], python: str) -> None:
    try:
        write_whole(folder / LOCK_PATH, _stamp(wishes, python) + locked)
    except StoreError:
        return  # a read-only folder builds as well; the next build locks again
