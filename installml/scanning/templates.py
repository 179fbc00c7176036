"""Chat templates: Jinja that every program which talks to a language model runs. Does one reach for more than messages?

Escapes from Jinja's sandbox, and from its absence (CVE-2024-34359), have one thing in common: an attribute that begins
with an underscore or belongs to Python's own machinery, named plainly, by a text, or by a text that is put together
while the template runs. Real chat templates do none of it; what they call is a short list (`_METHODS`, `_FUNCTIONS`),
so that everything else is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from installml.scanning.cursor import Cursor
from installml.scanning.finding import Content, Rule, Severity, Visit
from installml.scanning.jinja import Node, NotATemplate, Statement, parse

__all__ = ["RULES", "TEMPLATES", "check_template", "looks_like_template"]

_MAX_TEMPLATE = 4 << 20
_LARGE_LOOP = 1_000_000
_LOOK = (
    "Look at the template; compare it with that of the model's maker, or load the model with a template of your own."
)

ESCAPE = Rule(
    "template-escape",
    Severity.critical,
    "A chat template reaches for Python's internals",
    "It names an attribute such as __class__ or __globals__, from which any Python function can be reached. Programs "
    "that render templates outside a sandbox run what it asks for.",
    "Do not load this model. " + _LOOK,
)
DYNAMIC = Rule(
    "template-dynamic",
    Severity.high,
    "A chat template chooses attributes while it runs",
    "It puts a name together, or takes it through the filter attr, and looks that up: this is how internals are "
    "reached without being named.",
    _LOOK,
)
FORMAT = Rule(
    "template-format",
    Severity.high,
    "A chat template formats text in a way that reaches attributes",
    "str.format can read attributes of what it formats, and %c makes any character: both are used to get out of "
    "sandboxes.",
    _LOOK,
)
LOADS = Rule(
    "template-import",
    Severity.high,
    "A chat template loads another template",
    "import, from, include and extends read files that the template names. No chat template needs them.",
    _LOOK,
)
UNKNOWN = Rule(
    "template-unknown",
    Severity.high,
    "A chat template calls something that chat templates do not have",
    "Messages, tools and texts have a known set of methods, and programs give templates a known set of functions. This "
    "call is none of them.",
    _LOOK,
)
UNPARSED = Rule(
    "template-unparsed",
    Severity.high,
    "A chat template cannot be read",
    "It is not Jinja to its end, so that nobody can say what a more lenient program makes of it.",
    _LOOK,
)
LOOP = Rule(
    "template-loop",
    Severity.medium,
    "A chat template counts very far",
    "A loop or a repeated text of this size makes the program that renders it wait or run out of memory.",
    _LOOK,
)
HIDDEN = Rule(
    "template-hidden",
    Severity.medium,
    "A chat template holds characters that nobody sees",
    "Zero-width, direction and tag characters hide text from the reader that the model is given.",
    _LOOK,
)
LINK = Rule(
    "template-link",
    Severity.low,
    "A chat template has an address in it",
    "The text is given to the model with every conversation; an address in it may end up in its answers.",
    "Check that the address belongs there.",
)
RULES = (ESCAPE, DYNAMIC, FORMAT, LOADS, UNKNOWN, UNPARSED, LOOP, HIDDEN, LINK)

_DUNDER = re.compile(
    r"__(?:class|globals|init|new|subclasses|mro|bases?|builtins|import|dict|getattribute|getattr|getitem|setattr|reduce"
    r"|reduce_ex|module|code|closure|func|self|loader|spec|call|wrapped|subclasshook|init_subclass|kwdefaults|defaults"
    r"|annotations|weakref|slots|enter|exit|del|format|str|repr|add|mod|qualname)__",
    re.IGNORECASE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Attributes without underscores that lead into Python's machinery (jinja2.sandbox, UNSAFE_*_ATTRIBUTES, and frames).
_INTROSPECTION = _words("""
    func_closure func_code func_dict func_defaults func_globals im_class im_func im_self mro gi_frame gi_code
    gi_yieldfrom cr_frame cr_code cr_await cr_origin ag_code ag_frame ag_await f_globals f_locals f_builtins f_code
    f_back tb_frame tb_next co_consts co_code co_names exported_vars
""")
#: Methods of JSON's values, of what templates make of them, and of a date; none reaches further.
_METHODS = _words("""
    append capitalize casefold center clear copy count difference endswith expandtabs extend find get index insert
    intersection isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle
    isupper items join keys ljust lower lstrip partition pop popitem remove removeprefix removesuffix replace reverse
    rfind rindex rjust rpartition rsplit rstrip setdefault sort split splitlines startswith strip swapcase title union
    update upper values zfill strftime isoformat date time year month day add cycle changed is_integer bit_length
    format format_map
""")
#: What Jinja, transformers, vLLM and llama.cpp give to templates.
_FUNCTIONS = _words("""
    range dict namespace cycler joiner lipsum raise_exception strftime_now caller loop super zip enumerate len str int
    float bool list min max sum sorted abs round reversed tuple set
""")
_FOREIGN = _words("self request os sys subprocess url_for get_flashed_messages")
_LOADERS = frozenset(("import", "from", "include", "extends"))
#: Filters whose first argument, or the named one, is an attribute's name.
_BY_ATTRIBUTE = frozenset(
    ("map", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max", "attr", "join")
)
_BY_POSITION = frozenset(("map", "selectattr", "rejectattr", "groupby"))
_BUILDING = frozenset(("join", "format", "replace", "reverse", "center", "tojson", "urlencode", "wordwrap", "truncate"))
_COUNTING = frozenset(("length", "count", "int", "float", "abs", "round", "sum", "wordcount"))
_COMPARING = frozenset(("==", "!=", "<", ">", "<=", ">=", "in", "unarynot"))
_CHOOSING = frozenset(("and", "or", "if", "else"))
_FIELD = re.compile(r"\{[^{}]*[.\[{][^{}]*\}?")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
_ADDRESS = re.compile(r"(?i)\b(?:https?|ftp|file|javascript|data)://[^\s'\"<>)\]}\\]{3,200}|<script\b")
_MARK = re.compile(r"\{[%{]")


def looks_like_template(text: str) -> bool:
    """Return whether a text, wherever it stands, is one that a template engine would do something with."""
    return _MARK.search(text) is not None and ("%}" in text or "}}" in text)


class _Templates:
    name = "template"

    def claims(self, head: bytes, name: str) -> bool:
        named = name.rpartition("/")[2].startswith("chat_template") and not name.endswith(".json")
        return named or name.endswith((".jinja", ".jinja2", ".j2"))

    def scan(self, content: Content, visit: Visit) -> None:
        cursor = Cursor.over(content, visit.budget)
        check_template(cursor.text(content.size, "the template", cap=_MAX_TEMPLATE), visit)


def check_template(
    text: str, visit: Visit, *, offset: int = 0, where: str = "the template", certain: bool = True
) -> None:
    """Report what a chat template does that chat templates do not.

    Args:
        text: The template.
        visit: Told of it.
        offset: Where the template begins in the file, in bytes.
        where: What it is, for findings in files that hold more than the template.
        certain: Whether it is Jinja for sure. Other texts have braces too (BibTeX, Go templates); of those only what
            reaches for internals is reported.
    """
    visit.budget.step(len(text))
    if certain:
        _check_text(text, visit, offset, where)
    try:
        statements = list(parse(text))
    except NotATemplate as error:
        if certain:
            visit.found(UNPARSED, f"{where} {error.reason}", offset + error.offset)
        elif internals := _DUNDER.search(text):
            visit.found(ESCAPE, f"{where}: {internals[0]!r}", offset)
        return
    for rule, detail, at in sorted(set(_problems(statements)), key=lambda problem: (problem[2], problem[0].id)):
        if not certain and rule is not ESCAPE:
            continue
        visit.found(rule, f"{where}: {detail}", offset + len(text[:at].encode("utf-8", "replace")))


def _check_text(text: str, visit: Visit, offset: int, where: str) -> None:
    def at(position: int) -> int:
        return offset + len(text[:position].encode("utf-8", "replace"))

    if hidden := _INVISIBLE.search(text):
        visit.found(HIDDEN, f"{where}: U+{ord(hidden[0]):04X}", at(hidden.start()))
    for address in list(_ADDRESS.finditer(text))[:5]:
        visit.found(LINK, f"{where}: {address[0][:100]}", at(address.start()))


Problem = tuple[Rule, str, int]


def _problems(statements: list[Statement]) -> Iterator[Problem]:
    kinds = _Kinds(statements)
    macros = {one.names[0] for one in statements if one.kind == "macro"}
    assigned = {name for one in statements if one.kind not in ("macro", "call") for name in one.names}
    known = frozenset(macros | assigned)
    for statement in statements:
        if statement.kind in _LOADERS:
            yield LOADS, f"the statement {statement.kind}", statement.offset
        for name in statement.names:
            yield from _named(name.rpartition(".")[2], statement.offset)
        for expression in statement.expressions:
            for node in expression.walk():
                yield from _node(node, kinds)
                if node.kind == "call":
                    yield from _call(node, known, kinds)


def _node(node: Node, kinds: _Kinds) -> Iterator[Problem]:
    if node.kind in ("attribute", "name", "keyword"):
        yield from _named(node.value, node.offset)
        if node.kind == "attribute" and re.match("_[^_]", node.value):
            yield UNKNOWN, f"the private attribute {node.value[:60]!r}", node.offset
    elif node.kind == "text":
        if found := _DUNDER.search(node.value):
            yield ESCAPE, f"the text {found[0]!r}", node.offset
        if "%c" in node.value and "%}" not in node.value:
            yield FORMAT, f"the format {node.value[:60]!r}", node.offset
    elif node.kind == "index":
        yield from _index(node, kinds)
    elif node.kind == "filter":
        yield from _filter(node)
        if node.value in _BY_ATTRIBUTE and any(
            kinds.of(one) == BUILT for one in node.children[1 + (node.value == "join") :]
        ):
            yield DYNAMIC, f"the filter {node.value} with a name that is put together", node.offset
    elif node.kind == "operation":
        yield from _operation(node)


def _named(name: str, offset: int) -> Iterator[Problem]:
    if name.startswith("__") or _DUNDER.search(name) or name in _INTROSPECTION:
        yield ESCAPE, f"the name {name[:60]!r}", offset
    elif name in _FOREIGN:
        yield UNKNOWN, f"the object {name!r}", offset


def _index(node: Node, kinds: _Kinds) -> Iterator[Problem]:
    for part in node.children[1:]:
        if part.kind == "text" and (part.value.startswith("__") or part.value in _INTROSPECTION):
            yield ESCAPE, f"the key {part.value[:60]!r}", part.offset
        elif part.kind != "slice" and kinds.of(part) == BUILT:
            yield DYNAMIC, "a key that is put together", node.offset


def _filter(node: Node) -> Iterator[Problem]:
    name, arguments = node.value, node.children[1:]
    if name == "attr":
        yield DYNAMIC, "the filter attr", node.offset
    if name not in _BY_ATTRIBUTE or name == "attr":
        return
    named = [one.children[0] for one in arguments if one.kind == "keyword" and one.value == "attribute"]
    first = [one for one in arguments[:1] if one.kind != "keyword" and name in _BY_POSITION]
    for one in (*named, *first):
        if one.kind == "number":
            continue
        if one.kind != "text":
            yield DYNAMIC, f"the filter {name} with a name that is not written down", node.offset
        elif any(part.startswith("_") or part in _INTROSPECTION for part in one.value.split(".")):
            yield ESCAPE, f"the filter {name} with {one.value[:60]!r}", node.offset
    if name == "map" and any(one.kind == "text" and one.value in ("attr", "format") for one in first):
        yield DYNAMIC, f"the filter map with {first[0].value!r}", node.offset


def _operation(node: Node) -> Iterator[Problem]:
    if {"*", "**"} & set(node.value.split()) and any(
        child.kind == "number" and _number(child) >= _LARGE_LOOP for child in node.children
    ):
        yield LOOP, "a very large multiplication", node.offset


def _call(node: Node, known: frozenset[str], kinds: _Kinds) -> Iterator[Problem]:
    target, arguments = node.children[0], node.children[1:]
    if target.kind == "attribute":
        if target.value in ("format", "format_map"):
            yield from _format(node)
        elif target.value not in _METHODS and target.value not in known and not _is_macro(target, known):
            yield UNKNOWN, f"the method {target.value[:60]!r}", target.offset
    elif target.kind == "name":
        if target.value not in _FUNCTIONS and target.value not in known:
            yield UNKNOWN, f"the function {target.value[:60]!r}", target.offset
        if target.value == "range" and any(one.kind == "number" and _number(one) >= _LARGE_LOOP for one in arguments):
            yield LOOP, "range counts very far", node.offset
    elif not _is_table(target, known, kinds):
        yield UNKNOWN, "a call of something without a name", node.offset


def _is_table(target: Node, known: frozenset[str], kinds: _Kinds) -> bool:
    """Return whether one of the template's own macros is called that it has put into a list."""
    owner, *keys = target.children if target.kind == "index" else (target,)
    return owner.value in known and owner.kind == "name" and all(kinds.of(key) == NUMBER for key in keys)


def _is_macro(target: Node, known: frozenset[str]) -> bool:
    """Return whether a namespace's member is called to which something was assigned."""
    owner = target.children[0]
    return owner.kind == "name" and f"{owner.value}.{target.value}" in known


def _format(node: Node) -> Iterator[Problem]:
    owner = node.children[0].children[0]
    if owner.kind != "text":
        yield FORMAT, "format of a text that is not written down", node.offset
    elif _FIELD.search(owner.value):
        yield FORMAT, f"the format {owner.value[:60]!r}", node.offset


def _number(node: Node) -> float:
    try:
        return float(int(node.value.replace("_", ""), 0)) if "." not in node.value else float(node.value)
    except (ValueError, OverflowError):
        return float("inf")


NUMBER, DATA, TEXT, BUILT = range(4)


class _Kinds:
    """What names stand for: numbers, data from outside, texts of the template, or texts put together from such.

    The order of statements does not matter: a name is the worst of all that is assigned to it.
    """

    def __init__(self, statements: list[Statement]) -> None:
        self._known: dict[str, int] = {}
        for _ in range(3):  # what is assigned from what is assigned later
            for statement in statements:
                self._learn(statement)

    def _learn(self, statement: Statement) -> None:
        if statement.kind in ("set", "for", "with"):
            kinds = [self.of(one) for one in statement.expressions]
            for position, name in enumerate(statement.names):
                kind = kinds[position] if statement.kind == "with" and position < len(kinds) else max(kinds)
                self._is(name, kind)
        elif statement.kind == "set-block":
            for name in statement.names:
                self._is(name, BUILT)
        elif statement.kind == "macro":
            for name in statement.names[1:]:
                self._is(name, self._known.get(f"macro {statement.names[0]}", DATA))
        for expression in statement.expressions:
            for node in expression.walk():
                if node.kind == "call":
                    self._called(node)

    def _called(self, node: Node) -> None:
        target, arguments = node.children[0], node.children[1:]
        if target.kind != "name":
            return
        if target.value == "namespace":
            for one in arguments:
                if one.kind == "keyword":
                    self._is(f".{one.value}", self.of(one.children[0]))
        elif arguments:
            self._is(f"macro {target.value}", max(self.of(one) for one in arguments))

    def _is(self, name: str, kind: int) -> None:
        key = name if "." not in name else f".{name.rpartition('.')[2]}"
        self._known[key] = max(kind, self._known.get(key, NUMBER))

    def of(self, node: Node) -> int:
        """Return the kind of what an expression gives."""
        return getattr(self, f"_{node.kind}")(node)  # type: ignore[no-any-return]

    def _text(self, _: Node) -> int:
        return TEXT

    def _number(self, _: Node) -> int:
        return NUMBER

    def _test(self, _: Node) -> int:
        return NUMBER

    def _name(self, node: Node) -> int:
        return NUMBER if node.value in ("true", "false", "True", "False") else self._known.get(node.value, DATA)

    def _keyword(self, node: Node) -> int:
        return self.of(node.children[0])

    def _list(self, node: Node) -> int:
        return max((self.of(child) for child in node.children), default=DATA)

    def _slice(self, node: Node) -> int:
        return DATA

    def _attribute(self, node: Node) -> int:
        owner = node.children[0]
        if owner.kind == "name" and owner.value == "loop":
            return DATA if node.value in ("previtem", "nextitem") else NUMBER
        return self._known.get(f".{node.value}", DATA) if owner.kind == "name" else DATA

    def _index(self, node: Node) -> int:
        owner = self.of(node.children[0])
        return BUILT if owner == TEXT and any(child.kind == "slice" for child in node.children[1:]) else owner

    def _filter(self, node: Node) -> int:
        if node.value in _COUNTING:
            return NUMBER
        return BUILT if node.value in _BUILDING else self.of(node.children[0])

    def _call(self, node: Node) -> int:
        target = node.children[0]
        if target.kind == "name":
            return NUMBER if target.value in ("range", "len", "int") else DATA
        if target.kind == "attribute":
            return BUILT if target.value in ("join", "replace", "format", "zfill") else self.of(target.children[0])
        return DATA

    def _operation(self, node: Node) -> int:
        operators = node.value.split()
        if _COMPARING & set(operators) and not _CHOOSING & set(operators):
            return NUMBER
        if node.value.startswith("unary"):
            return NUMBER
        kinds = [self.of(child) for child in node.children]
        worst, start = NUMBER, 0
        for position, operator in enumerate((*operators, "or")):
            if operator in _CHOOSING:
                worst = max(worst, self._segment(operators[start:position], kinds[start : position + 1]))
                start = position + 1
        return worst

    @staticmethod
    def _segment(operators: list[str], kinds: list[int]) -> int:
        """Return the kind of operands that are joined without a choice between them."""
        joining = set(operators)
        if not joining or _COMPARING & joining:
            return kinds[0] if not joining else NUMBER
        if "~" in joining or max(kinds) >= TEXT:
            return BUILT
        return NUMBER if NUMBER in kinds or not joining & {"+", "*", "%"} else BUILT


TEMPLATES = _Templates()
