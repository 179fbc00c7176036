"""Programs among weights: compiled ones, scripts, Python, told by their content and not only by their name."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from installml.scanning.cursor import Cursor
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit

__all__ = ["COMPILED", "NATIVE", "PYTHON", "RULES", "SCRIPT", "WEB", "XML", "native"]

_MAX_SOURCE = 2 << 20
_REMOVE = "Remove it from the package unless the model needs it; if it does, have somebody read it."

COMPILED = Rule(
    "code-native",
    Severity.high,
    "A package carries a compiled program or library",
    "Machine code does whatever it wants once it is run or loaded, and nobody can read it.",
    _REMOVE,
)
BYTECODE = Rule(
    "code-bytecode",
    Severity.high,
    "A package carries compiled Python",
    "Bytecode runs like source, and nobody can read it; it may differ from the source beside it.",
    "Remove it; Python makes it again from the source.",
)
STARTUP = Rule(
    "code-python-startup",
    Severity.critical,
    "A file runs code whenever Python starts",
    "Python runs the import lines of .pth files, sitecustomize.py and usercustomize.py in every process, if they come "
    "to lie where it looks for packages.",
    "Remove it.",
)
SOURCE = Rule(
    "code-python",
    Severity.medium,
    "A package carries Python source",
    "It does nothing by itself, and everything once something imports it: an entry point, or trust_remote_code.",
    "Read it, or use the model without it.",
)
RISKY = Rule(
    "code-python-risky",
    Severity.high,
    "Python source starts programs or runs text as code",
    "Code that computes a model's answers has no need to start processes, to evaluate text, or to reach interpreter "
    "internals.",
    "Have somebody read it before anything imports it.",
)
REACHES = Rule(
    "code-python-network",
    Severity.medium,
    "Python source talks to the network",
    "It can send what the model is given somewhere else, or fetch more code.",
    "Look with whom it talks and why.",
)
SHELL = Rule(
    "code-script",
    Severity.medium,
    "A package carries a script for a shell",
    "Nothing runs it by itself; somebody may.",
    "Read it before you run it, or remove it.",
)
FETCHES = Rule(
    "code-script-risky",
    Severity.high,
    "A script fetches and runs something, or opens a way in",
    "It hands what it gets from the network or decodes to an interpreter, or connects a shell to the network.",
    "Do not run it. Remove it from the package.",
)
ACTIVE = Rule(
    "code-web-script",
    Severity.medium,
    "A page or picture holds a script",
    "Who opens it in a browser runs the script.",
    "Open it in an editor, or remove it.",
)
ENTITY = Rule(
    "code-xml-entity",
    Severity.high,
    "An XML file reads other files or grows when it is read",
    "External entities make careless parsers read files of the machine or fetch addresses; nested ones fill memory.",
    "Remove the document type declaration; no model needs one.",
)
RULES = (COMPILED, BYTECODE, STARTUP, SOURCE, RISKY, REACHES, SHELL, FETCHES, ACTIVE, ENTITY)

_ELF = b"\x7fELF"
_MACH = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
_FAT = b"\xca\xfe\xba\xbe"
_WASM = b"\0asm"
_NATIVE_NAMES = (
    ".so",
    ".dll",
    ".dylib",
    ".exe",
    ".pyd",
    ".sys",
    ".msi",
    ".scr",
    ".com",
    ".class",
    ".jar",
    ".wasm",
    ".llamafile",
)


_VERSIONED = re.compile(r"\.so(?:\.\d+)+$")


def native(head: bytes) -> str:
    """Return what kind of compiled program begins like this; empty for none."""
    if head.startswith(_ELF):
        return "ELF"
    if head.startswith(_MACH):
        return "Mach-O"
    if head.startswith(_FAT):
        return "Mach-O or Java class"
    if head.startswith(_WASM):
        return "WebAssembly"
    if head.startswith(b"MZ"):
        at = int.from_bytes(head[60:64], "little")
        return "PE" if head[at : at + 4] == b"PE\0\0" or b"This program" in head[:512] else ""
    return ""


class _Native:
    name = "native"

    def claims(self, head: bytes, name: str) -> bool:
        return bool(native(head)) or name.endswith(_NATIVE_NAMES) or bool(_VERSIONED.search(name))

    def scan(self, content: Content, visit: Visit) -> None:
        kind = native(content.read_at(0, 4096)) or "by its name"
        visit.found(COMPILED, kind, 0)


_SCRIPT_NAMES = (
    ".sh",
    ".bash",
    ".zsh",
    ".ksh",
    ".bat",
    ".cmd",
    ".ps1",
    ".psm1",
    ".vbs",
    ".command",
    ".scpt",
    ".hta",
    ".wsf",
)
_RISKY_SHELL = re.compile(
    rb"""(?ix)
    \b(?:curl|wget|fetch|invoke-webrequest|iwr)\b[^\n]{0,400}?[|]\s*(?:sudo\s+)?(?:ba|z|k|da)?sh\b
    |\b(?:curl|wget)\b[^\n]{0,400}?[|]\s*(?:sudo\s+)?(?:python|perl|ruby|node)\w*\b
    |\b(?:ba|z|da)?sh\s+(?:-\w+\s+)?(?:<\(|["']?\$\()\s*(?:curl|wget)\b
    |\bbase64\s+(?:-d|-D|--decode)\b[^\n]{0,200}?[|]\s*(?:ba|z|da)?sh\b
    |/dev/(?:tcp|udp)/|\bn(?:c|cat|etcat)\b[^\n]{0,80}\s-(?:\w*e|c)\b
    |\bpowershell\b[^\n]{0,200}\s-e(?:nc|ncodedcommand|c)?\b|\biex\b\s*[(&]|\binvoke-expression\b|downloadstring\s*\(
    |\beval\b[^\n]{0,40}\$\([^\n]{0,80}base64|\brm\s+-\w*r\w*f?\w*\s+(?:--no-preserve-root\s+)?/(?:\s|$)
    |\bcrontab\s+-|authorized_keys
    """
)


def _shebang(head: bytes) -> bytes:
    return head[2:].partition(b"\n")[0] if head.startswith(b"#!") else b""


class _Script:
    name = "script"

    def claims(self, head: bytes, name: str) -> bool:
        shebang = _shebang(head)
        return name.endswith(_SCRIPT_NAMES) or (bool(shebang) and b"python" not in shebang)

    def scan(self, content: Content, visit: Visit) -> None:
        cursor = Cursor.over(content, visit.budget)
        data = cursor.bytes(content.size, "the script", cap=_MAX_SOURCE)
        visit.found(SHELL, _shebang(data)[:80].decode("utf-8", "replace") or "by its name", 0)
        joined = re.sub(rb"\\\r?\n", b"  ", data)
        if found := _RISKY_SHELL.search(joined):
            visit.found(FETCHES, found[0][:160].decode("utf-8", "replace").strip(), found.start())


_ACTIVE = re.compile(rb"(?i)<script[\s>]|\bjavascript:|\son(?:load|error|click|mouseover)\s*=")


class _Web:
    name = "web"

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith((".html", ".htm", ".xhtml", ".svg", ".mht"))

    def scan(self, content: Content, visit: Visit) -> None:
        data = content.read_at(0, min(content.size, _MAX_SOURCE))
        visit.budget.step(len(data) >> 6)
        if found := _ACTIVE.search(data):
            visit.found(ACTIVE, found[0].decode("ascii", "replace").strip(), found.start())


_ENTITY = re.compile(rb"(?i)<!ENTITY\s+(?:%\s+)?[^\s>]+\s+(?:SYSTEM|PUBLIC)\b|<\?xml-stylesheet\b")
_ENTITIES = re.compile(rb"(?i)<!ENTITY\s")
_MANY_ENTITIES = 20


class _Xml:
    name = "xml"

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith((".xml", ".pmml", ".svg", ".xhtml", ".xsl", ".rdf")) or head.lstrip()[:5] == b"<?xml"

    def scan(self, content: Content, visit: Visit) -> None:
        data = content.read_at(0, min(content.size, _MAX_SOURCE))
        visit.budget.step(len(data) >> 6)
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            data = data.decode("utf-16", "replace").encode("utf-8", "replace")
        if found := _ENTITY.search(data):
            visit.found(ENTITY, found[0][:120].decode("utf-8", "replace"), found.start())
        elif len(_ENTITIES.findall(data)) > _MANY_ENTITIES:
            visit.found(ENTITY, f"more than {_MANY_ENTITIES} entities of its own", 0)


_STARTUP_NAMES = ("sitecustomize.py", "usercustomize.py")
_IMPORT_LINE = re.compile(rb"(?m)^import[ \t]")


class _Python:
    name = "python"

    def claims(self, head: bytes, name: str) -> bool:
        if name.endswith((".py", ".pyw", ".pyi", ".pyc", ".pyo")) or b"python" in _shebang(head):
            return True
        return name.endswith(".pth") and _IMPORT_LINE.search(head) is not None and b"\0" not in head

    def scan(self, content: Content, visit: Visit) -> None:
        name = visit.name.lower()
        if name.endswith((".pyc", ".pyo")):
            visit.found(BYTECODE, "by its name", 0)
            return
        if name.endswith(".pth") or name.rpartition("/")[2] in _STARTUP_NAMES:
            visit.found(STARTUP, name.rpartition("/")[2], 0)
        cursor = Cursor.over(content, visit.budget)
        data = cursor.bytes(content.size, "Python source", cap=_MAX_SOURCE)
        visit.found(SOURCE, f"{content.size} bytes", 0)
        check_python(data, visit)


def check_python(data: bytes, visit: Visit) -> None:
    """Report what Python source does that a model does not need.

    Args:
        data: The source; it is parsed and never run.
        visit: Told of it.

    Raises:
        Unreadable: It is not Python that can be parsed.
    """
    visit.budget.step(len(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in the source, which is not ours
            tree = ast.parse(data)
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"is not Python that can be read: {type(error).__name__}", 0) from error
    starts = _line_starts(data)
    aliases = _aliases(nodes)
    for node in nodes:
        for rule, detail in _node(node, aliases):
            line = min(getattr(node, "lineno", 1), len(starts)) - 1
            visit.found(rule, detail, starts[line] + getattr(node, "col_offset", 0))


def _line_starts(data: bytes) -> list[int]:
    return [0, *(match.end() for match in re.finditer(rb"\r\n|\n|\r", data))]


def _aliases(nodes: list[ast.AST]) -> dict[str, str]:
    """Return what imported names stand for."""
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.asname or one.name.partition(".")[0]] = one.name if one.asname else one.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                found[one.asname or one.name] = f"{node.module}.{one.name}"
    return found


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Modules that start processes or load native code: naming them is enough.
_PROCESS_MODULES = frozenset(
    ("subprocess", "pty", "ctypes", "cffi", "_posixsubprocess", "winreg", "_winapi", "pexpect")
)
_NETWORK_MODULES = frozenset(
    ("socket", "urllib.request", "http.client", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "telnetlib")
)
_RISKY_CALLS = _names("""
    eval exec compile os.system os.popen os.startfile posix.system nt.system marshal.loads marshal.load
    pickle.loads dill.loads cloudpickle.loads _pickle.loads types.CodeType types.FunctionType builtins.eval
    builtins.exec builtins.compile code.interact runpy.run_path
    runpy.run_module commands.getoutput asyncio.create_subprocess_exec asyncio.create_subprocess_shell
    torch.ops.load_library torch.classes.load_library torch.utils.cpp_extension.load
    torch.utils.cpp_extension.load_inline imp.load_source webbrowser.open os.putenv shutil.rmtree
    multiprocessing.Process
""")
#: Methods of modules that a script may have got hold of without naming them.
_RISKY_METHODS = _names("system popen Popen check_output check_call getoutput execve execv execvp fork spawnl spawnv")
_RISKY_STARTS = ("os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.kill")
_CHOSEN = frozenset(("__import__", "importlib.import_module", "builtins.__import__", "getattr"))
_INTERNALS = frozenset(
    ("__subclasses__", "__globals__", "__builtins__", "__code__", "__bases__", "__mro__", "f_globals", "gi_frame")
)


def _node(node: ast.AST, aliases: dict[str, str]) -> Iterator[tuple[Rule, str]]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _imported(node)
    elif isinstance(node, ast.Call):
        yield from _called(node, aliases)
    elif isinstance(node, ast.Attribute) and node.attr in _INTERNALS:
        yield RISKY, f"reaches {node.attr}"
    elif isinstance(node, ast.Name) and node.id in ("__builtins__", "__loader__"):
        yield RISKY, f"reaches {node.id}"
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in _INTERNALS:
        yield RISKY, f"reaches {node.slice.value!r}"


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[Rule, str]]:
    names = [one.name for one in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
    for name in names:
        if name.partition(".")[0] in _PROCESS_MODULES:
            yield RISKY, f"imports {name}"
            return
        if name in _NETWORK_MODULES or name.partition(".")[0] in _NETWORK_MODULES:
            yield REACHES, f"imports {name}"
            return
        if name in _RISKY_CALLS or name.startswith(_RISKY_STARTS):
            yield RISKY, f"imports {name}"


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _called(node: ast.Call, aliases: dict[str, str]) -> Iterator[tuple[Rule, str]]:
    spelled = _dotted(node.func)
    first, _, rest = spelled.partition(".")
    meant = f"{aliases.get(first, first)}{'.' if rest else ''}{rest}"
    if meant in _RISKY_CALLS or meant.startswith(_RISKY_STARTS):
        yield RISKY, f"calls {meant}"
    elif isinstance(node.func, ast.Attribute) and node.func.attr in _RISKY_METHODS and meant != "platform.system":
        yield RISKY, f"calls {node.func.attr} of something"
    elif meant.rpartition(".")[0] in _NETWORK_MODULES:
        yield REACHES, f"calls {meant}"
    elif meant in _CHOSEN:
        place = 1 if meant == "getattr" else 0
        argument = node.args[place] if len(node.args) > place else None
        if not isinstance(argument, ast.Constant) and (meant != "getattr" or _is_module(node.args[:1], aliases)):
            yield RISKY, f"calls {meant} with a name that is not written down"
        elif isinstance(argument, ast.Constant) and _is_risky_name(argument.value):
            yield RISKY, f"calls {meant} for {argument.value!r}"


def _is_module(arguments: list[ast.expr], aliases: dict[str, str]) -> bool:
    """Return whether the thing whose attribute is asked for is a module that leads to programs."""
    names = [aliases.get(one.id, one.id) for one in arguments if isinstance(one, ast.Name)]
    return any(name in ("os", "sys", "builtins", "__builtins__", "importlib", "posix") for name in names)


def _is_risky_name(value: object) -> bool:
    return isinstance(value, str) and (
        value.partition(".")[0] in _PROCESS_MODULES or value in ("system", "popen", "eval", "exec", *_INTERNALS)
    )


NATIVE = _Native()
SCRIPT = _Script()
WEB = _Web()
XML = _Xml()
PYTHON = _Python()
