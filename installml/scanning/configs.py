"""Configuration that makes a loader run code: auto_map, trust_remote_code, classes to import, YAML and JSON objects.

Looked at are JSON, notebooks, YAML and MLflow's MLmodel. Keys that stand twice are both looked at. Chat templates in
configuration go to `installml.scanning.templates`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from installml.errors import FormatError
from installml.packing.formats.documents import parse_yaml
from installml.scanning.content import BytesContent
from installml.scanning.cursor import Blocks
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit
from installml.scanning.onnx import is_inside
from installml.scanning.programs import ACTIVE
from installml.scanning.templates import UNPARSED as UNPARSED_TEMPLATE
from installml.scanning.templates import check_template, looks_like_template

__all__ = ["ESCAPED", "JSON", "REQUIREMENTS", "RULES", "YAML"]

_MAX_PARSED = 24 << 20
_MAX_YAML = 512 << 10
_MAX_VALUES = 3_000_000
_WINDOW, _OVERLAP = 4 << 20, 256

AUTO_MAP = Rule(
    "config-auto-map",
    Severity.high,
    "A configuration names code that a loader would run",
    "auto_map, custom_pipelines and foreign module classes make transformers, diffusers or sentence-transformers "
    "import Python of the package or of another repository, once trust_remote_code is given.",
    "Read the code that is named and pin it, or use a model that the library knows by itself.",
)
REMOTE = Rule(
    "config-trust-remote-code",
    Severity.high,
    "A configuration turns on trust_remote_code",
    "The decision to run a repository's code belongs to whoever loads the model, not to the model.",
    "Remove the setting.",
)
TARGET = Rule(
    "config-runs-function",
    Severity.critical,
    "A configuration names a dangerous function to call",
    "Hydra's _target_ and similar keys call what they name when the configuration is loaded; this names the operating "
    "system, an interpreter or a loader of pickles.",
    "Do not load this configuration.",
)
OBJECT = Rule(
    "config-python-object",
    Severity.critical,
    "A configuration builds Python objects",
    "YAML tags such as !!python/object/apply and the keys of jsonpickle call any Python function when they are read by "
    "a loader that knows them.",
    "Do not load this configuration. Write it again as plain values.",
)
KERNEL = Rule(
    "config-remote-kernel",
    Severity.medium,
    "A configuration asks for code from another repository",
    "The attention implementation is fetched from a hub and run as native code.",
    "Choose an implementation that is installed, such as sdpa.",
)
UNPARSED = Rule(
    "config-unparsed",
    Severity.medium,
    "A configuration cannot be read",
    "It is not JSON, so that only words in it could be looked for.",
    "Get the file again from its maker.",
)
INDEX = Rule(
    "config-package-index",
    Severity.medium,
    "A requirements file names where packages come from",
    "Whoever installs from it fetches from an index, an address or a folder that the file chooses, not from their own.",
    "Name packages and versions only, with hashes.",
)
OUTSIDE = Rule(
    "config-outside-path",
    Severity.high,
    "A configuration names a file outside the package",
    "The name is absolute or climbs with ..: whoever loads the model reads a file that the package does not have.",
    "Do not load this model. Get it again from its maker.",
)
RULES = (AUTO_MAP, REMOTE, TARGET, OBJECT, KERNEL, UNPARSED, INDEX, OUTSIDE)

#: Modules of which no configuration has a class to build.
_DANGEROUS = frozenset(
    (
        "os", "posix", "nt", "sys", "subprocess", "builtins", "__builtin__", "shutil", "runpy", "importlib",
        "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "socket", "pty", "ctypes", "code",
        "codeop", "commands", "webbrowser", "pip", "urllib", "http", "requests", "asyncio", "multiprocessing",
        "tempfile", "operator", "types", "inspect", "gc", "pdb", "timeit", "imp", "zipimport", "signal",
        "threading", "eval", "exec", "compile", "open", "__import__", "getattr", "joblib", "pydoc", "smtplib",
        "ftplib", "telnetlib", "platform", "io",
    )
)  # fmt: skip
_OWN_MODULES = ("sentence_transformers.", "pylate.")
_OWN_LIBRARIES = ("transformers", "diffusers", "peft", "sentence_transformers", "timm")
_PICKLED = frozenset(
    ("py/object", "py/reduce", "py/type", "py/function", "py/repr", "py/newargsex", "py/state", "py/newargs")
)
_WORDS = re.compile(
    rb'"(auto_map|chat_template|trust_remote_code|custom_pipelines?|_target_|py/(?:object|reduce|type|function|repr))"\s*:'
)


#: A letter or an underscore as an escape (u0061, x61); a backslash in front makes it plain text.
ESCAPED = re.compile(rb"(?<!\\)\\(?:u00|x|U000000)(?:[46][1-9a-fA-F]|[57][0-9aA]|5[fF])")


class _Json:
    name = "config"

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith((".json", ".ipynb"))

    def scan(self, content: Content, visit: Visit) -> None:
        blocks = Blocks(content)
        if content.size > _MAX_PARSED:
            _search(blocks, visit)
            return
        data = blocks.read(0, _MAX_PARSED)
        visit.budget.step(len(data) >> 3)
        pairs: list[tuple[str, Any]] = []
        try:
            if data.count(b",") + data.count(b"{") > _MAX_VALUES:
                raise ValueError("holds too many values")
            document = json.loads(data, object_pairs_hook=_noting(pairs))
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            visit.found(UNPARSED, reason, 0)
            _search(blocks, visit)
            return
        for key, value in pairs:
            _pair(key, value, data, visit)
        _document(visit.name.lower().rpartition("/")[2], document, visit)


def _noting(pairs: list[tuple[str, Any]]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Return a hook that keeps the pairs that matter, those of a key that stands twice too."""

    def note(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.extend((key, value) for key, value in found if key in _CHECKS or key in _PICKLED or "template" in key)
        return dict(found)

    return note


def _search(blocks: Blocks, visit: Visit) -> None:
    """Look for dangerous words in what is too large or too odd to be parsed.

    Raises:
        Unreadable: Its words could be hidden: letters in escapes, which no writer makes, or another encoding.
    """
    at = 0
    if b"\0" in blocks.read(0, 4):
        raise Unreadable("is not UTF-8, and too large or too odd to be read", 0)
    while window := blocks.read(at, _WINDOW):
        visit.budget.step(len(window) >> 10)
        for found in _WORDS.finditer(window):
            word = found[1].decode("ascii")
            visit.found(_rule_of(word), f"the key {word!r}", at + found.start())
        if escape := ESCAPED.search(window):
            raise Unreadable("has letters written as escapes, which no writer does", at + escape.start())
        if len(window) < _WINDOW:
            return
        at += _WINDOW - _OVERLAP


def _rule_of(word: str) -> Rule:
    if word == "chat_template":
        return UNPARSED_TEMPLATE
    return OBJECT if word.startswith("py/") else REMOTE if "trust" in word else AUTO_MAP


Check = Iterator[tuple[Rule, str]]


def _auto_map(value: Any) -> Check:
    if value:
        yield AUTO_MAP, f"auto_map: {json.dumps(value)[:200]}"


def _remote(value: Any) -> Check:
    if value not in (False, None, 0, "", "false", "False"):
        yield REMOTE, f"trust_remote_code: {json.dumps(value)[:60]}"


def _pipelines(value: Any) -> Check:
    if value:
        yield AUTO_MAP, f"custom_pipelines: {json.dumps(value)[:200]}"


def _target(value: Any) -> Check:
    if isinstance(value, str) and is_dangerous(value):
        yield TARGET, f"calls {value[:120]}"


def _loader(value: Any) -> Check:
    """Look at MLflow's loader_module, which it imports, from the package's own folder of code too."""
    if isinstance(value, str) and value and not is_dangerous(value) and not value.startswith("mlflow."):
        yield AUTO_MAP, f"loader_module: {value[:120]}"
    yield from _target(value)


def _mapping(value: Any) -> Check:
    library = value.get("parent_library") if isinstance(value, dict) else None
    if isinstance(library, str) and library.partition(".")[0] not in _OWN_LIBRARIES:
        yield AUTO_MAP, f"auto_mapping imports {library[:120]}"


def _attention(value: Any) -> Check:
    if isinstance(value, str) and "/" in value:
        yield KERNEL, value[:120]


_CHECKS: dict[str, Callable[[Any], Check]] = {
    "auto_map": _auto_map,
    "trust_remote_code": _remote,
    "custom_pipelines": _pipelines,
    "custom_pipeline": _pipelines,
    "_target_": _target,
    "__target__": _target,
    "auto_mapping": _mapping,
    "attn_implementation": _attention,
    "_attn_implementation": _attention,
    "loader_module": _loader,
}


#: Functions that load pickles or native code, in modules that are harmless otherwise.
_LOADERS = frozenset(
    ("torch.load", "torch.hub.load", "torch.ops.load_library", "numpy.load", "pandas.read_pickle", "torch.jit.load")
)


def is_dangerous(dotted: str) -> bool:
    """Return whether a dotted name leads into a module of which no configuration should build anything."""
    first, _, rest = dotted.strip().partition(".")
    if dotted.strip() in _LOADERS:
        return True
    return first in _DANGEROUS or "__" in rest or rest.rpartition(".")[2] in ("system", "popen", "eval", "exec")


def _pair(key: str, value: Any, data: bytes, visit: Visit) -> None:
    at = max(0, data.find(b'"%s"' % key.encode("utf-8", "replace")))
    if key in _PICKLED:
        visit.found(OBJECT, f"the key {key!r}: {json.dumps(value)[:120]}", at)
    elif key in _CHECKS:
        for rule, detail in _CHECKS[key](value):
            visit.found(rule, detail, at)
    else:
        for text in _texts(value):
            if key == "chat_template" or looks_like_template(text):
                check_template(text, visit, where=f"{key[:60]} at byte {at}", certain=key == "chat_template")


def _texts(value: Any) -> Iterator[str]:
    """Yield a template's text: itself, or those of a list or table of named ones."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one["template"] for one in value if isinstance(one, dict) and isinstance(one.get("template"), str))
        yield from (one for one in value if isinstance(one, str))
    elif isinstance(value, dict):
        yield from (one for one in value.values() if isinstance(one, str))


def _document(name: str, document: Any, visit: Visit) -> None:
    if name == "modules.json" and isinstance(document, list):
        for entry in document:
            kind = entry.get("type") if isinstance(entry, dict) else None
            if isinstance(kind, str) and not kind.startswith(_OWN_MODULES):
                visit.found(AUTO_MAP, f"the module class {kind[:120]}", 0)
            path = entry.get("path") if isinstance(entry, dict) else None
            if isinstance(path, str) and path and not is_inside(path):
                visit.found(OUTSIDE, f"the module's path {path[:120]!r}", 0)
    elif name.endswith(".index.json") and isinstance(document, dict):
        table = document.get("weight_map")
        shards = {shard for shard in table.values() if isinstance(shard, str)} if isinstance(table, dict) else ()
        for shard in sorted(shards):
            if not is_inside(shard):
                visit.found(OUTSIDE, f"the shard {shard[:120]!r}", 0)
    elif name == "model_index.json" and isinstance(document, dict):
        for rule, detail in _components(document):
            visit.found(rule, detail, 0)
    elif name.endswith(".ipynb"):
        _notebook(document, visit)


def _components(document: dict[str, Any]) -> Check:
    """Look at a diffusers pipeline, whose parts are a library, or one of diffusers' own folders, and a class."""
    for key, value in document.items():
        if key == "_class_name" and isinstance(value, list):
            yield AUTO_MAP, f"the pipeline class {json.dumps(value)[:120]}"
        elif not key.startswith("_") and isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            if is_dangerous(value[0]):
                yield TARGET, f"the component {key[:60]} of {value[0][:60]}"
            elif value[0].startswith(("pipeline_", "modeling_", "custom")):
                yield AUTO_MAP, f"the component {key[:60]} of {value[0][:60]}"


def _notebook(document: Any, visit: Visit) -> None:
    cells = document.get("cells") if isinstance(document, dict) else None
    for cell in cells if isinstance(cells, list) else ():
        outputs = cell.get("outputs") if isinstance(cell, dict) else None
        for output in outputs if isinstance(outputs, list) else ():
            data = output.get("data") if isinstance(output, dict) else None
            for kind, value in data.items() if isinstance(data, dict) else ():
                text = "".join(map(str, value)) if isinstance(value, list) else str(value)
                if kind == "application/javascript" or (
                    kind in ("text/html", "image/svg+xml") and "<script" in text.lower()
                ):
                    visit.found(ACTIVE, f"an output of kind {kind[:60]}", 0)


_TAG = re.compile(
    rb"(?:!!?|tag:yaml\.org,2002:|%TAG[^\n]*)python/[a-z/]+|!<[^>\n]*python/[^>\n]*>|%TAG\s+\S+\s+tag:yaml\.org,2002:python/"
)
_YAML_KEY = re.compile(
    rb"""(?m)^[\s\-?{,]*["']?(_target_|__target__|trust_remote_code|auto_map|custom_pipelines?|loader_module)["']?\s*:\s*"""
    rb"""(?:[&!][^\s,}]*\s+)*["']?([^\s"'#,}]*)"""
)
_YAML_INLINE = re.compile(
    rb"""[{,]\s*["']?(_target_|trust_remote_code)["']?\s*:\s*(?:[&!][^\s,}]*\s+)*["']?([^\s"'#,}]*)"""
)


class _Yaml:
    name = "yaml"

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith((".yaml", ".yml")) or name.rpartition("/")[2] == "mlmodel"

    def scan(self, content: Content, visit: Visit) -> None:
        blocks, at = Blocks(content), 0
        if blocks.read(0, 2) in (b"\xff\xfe", b"\xfe\xff"):
            text = blocks.read(0, _MAX_PARSED).decode("utf-16", "replace")
            blocks = Blocks(BytesContent(text.encode("utf-8", "replace")))
        if content.size <= _MAX_YAML:
            _yaml_values(blocks.read(0, _MAX_YAML), visit)
        while window := blocks.read(at, _WINDOW):
            visit.budget.step(len(window) >> 10)
            if content.size > _MAX_YAML and (escape := ESCAPED.search(window)):
                raise Unreadable("has letters written as escapes, which no writer does", at + escape.start())
            for tag in _TAG.finditer(window):
                visit.found(OBJECT, f"the tag {tag[0][:80].decode('utf-8', 'replace')}", at + tag.start())
            for pattern in (_YAML_KEY, _YAML_INLINE):
                for match in pattern.finditer(window):
                    _yaml_key(match, at, visit)
            if len(window) < _WINDOW:
                return
            at += _WINDOW - _OVERLAP


def _yaml_values(data: bytes, visit: Visit) -> None:
    """Look at keys however they are written, in escapes or as complex keys; what cannot be parsed is searched only."""
    try:
        level = [parse_yaml(data, visit.name)]
    except FormatError:
        return
    while level:
        visit.budget.step(len(level))
        pairs = [pair for node in level if isinstance(node, dict) for pair in node.items()]
        for key, value in pairs:
            if isinstance(key, str) and key in _CHECKS and value not in _OFF:
                for rule, detail in _CHECKS[key](value):
                    visit.found(rule, detail, max(0, data.find(key.encode("utf-8", "replace"))))
            elif isinstance(key, str) and "template" in key:
                for text in _texts(value):
                    if key == "chat_template" or looks_like_template(text):
                        check_template(text, visit, where=key[:60], certain=key == "chat_template")
        items = [item for node in level if isinstance(node, list) for item in node]
        level = [one for one in (*(value for _, value in pairs), *items) if isinstance(one, (dict, list))]


#: How YAML's loaders write no, for parsers that leave it a text.
_OFF = ("false", "False", "FALSE", "no", "No", "off", "Off", "0", "null", "~", "{}", "[]")


def _yaml_key(match: re.Match[bytes], at: int, visit: Visit) -> None:
    key, value = match[1].decode("ascii"), match[2].decode("utf-8", "replace")
    if key == "trust_remote_code":
        found = (
            [] if value.lower() in ("false", "no", "off", "0", "", "null", "~") else [(REMOTE, f"{key}: {value[:60]}")]
        )
    elif key in ("auto_map", "custom_pipeline", "custom_pipelines"):
        found = [] if value in ("null", "~", "{}", "[]") else [(AUTO_MAP, f"{key}: {value[:60]}")]
    else:
        found = list(_CHECKS[key](value))
    for rule, detail in found:
        visit.found(rule, detail, at + match.start(1))


#: What pip reads in a requirements file besides names and versions (pip, "Requirements File Format").
_ELSEWHERE = re.compile(
    rb"(?m)^\s*(?:-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)[\s=]+\S+|^[^#\n]*\b(?:git|hg|svn|bzr)\+\S+"
    rb"|^[^#\n]*@\s*(?:https?|file)://\S+|^\s*(?:https?|file)://\S+"
)


class _Requirements:
    name = "requirements"

    def claims(self, head: bytes, name: str) -> bool:
        last = name.rpartition("/")[2]
        return last.startswith("requirements") and last.endswith((".txt", ".in", ".lock"))

    def scan(self, content: Content, visit: Visit) -> None:
        data = Blocks(content).read(0, _WINDOW)
        visit.budget.step(len(data) >> 6)
        for match in _ELSEWHERE.finditer(data):
            visit.found(INDEX, match[0].strip()[:160].decode("utf-8", "replace"), match.start())


JSON = _Json()
YAML = _Yaml()
REQUIREMENTS = _Requirements()
