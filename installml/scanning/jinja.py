"""A reader of Jinja templates: text, statements and expressions become a small tree. Nothing is evaluated.

The grammar is that of Jinja 3 (jinja.palletsprojects.com, "Template Designer Documentation") with the statements that
chat templates add: ``break``, ``continue`` and ``generation``. Operators have no precedence here, because the rules in
`installml.scanning.templates` ask only which things take part in an expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Node", "NotATemplate", "Statement", "parse"]

_MAX_DEPTH = 60
_OPENING = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}")
_END_RAW = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<operator>//|\*\*|==|!=|>=|<=|[-+*/%~<>=()\[\]{},.:|;])""",
    re.VERBOSE | re.DOTALL,
)
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_BINARY = {"+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "<=", ">=", "and", "or", "in", "if", "else"}
_UNARY = {"-", "+", "not"}
_WORDS = {"and", "or", "not", "in", "is", "if", "else", "recursive"}


class NotATemplate(Exception):
    """It is not Jinja, or nests too deeply.

    Args:
        reason: How the sentence "the template ..." goes on.
        offset: Character where reading stopped.
    """

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression.

    Args:
        kind: text, number, name, list, attribute, index, slice, call, filter, test, operation or keyword.
        value: The text, the name, the number's digits, or an operation's operators with spaces between them.
        children: The thing that is looked into, called or filtered first, then its arguments; or operands; or items.
        offset: Character of the template.
    """

    kind: str
    value: str
    children: tuple[Node, ...]
    offset: int

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Statement:
    """A tag of a template, or an expression to print.

    Args:
        kind: The tag's name; "print" for an expression, "data" for the text between.
        names: What it assigns: targets of set and for, a macro with its parameters.
        expressions: What it evaluates.
        data: The text of "data".
        offset: Character of the template.
    """

    kind: str
    names: tuple[str, ...]
    expressions: tuple[Node, ...]
    data: str
    offset: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: str
    offset: int


def parse(source: str) -> Iterator[Statement]:
    """Yield a template's statements in order.

    Args:
        source: The template.

    Raises:
        NotATemplate: It cannot be read to its end.
    """
    at = 0
    while at < len(source):
        opening = _OPENING.search(source, at)
        end = opening.start() if opening else len(source)
        if end > at:
            yield Statement("data", (), (), source[at:end], at)
        if not opening:
            return
        raw = _RAW.match(source, end)
        if raw:
            at, statement = _raw(source, raw.end())
        elif opening[0] == "{#":
            at, statement = _comment(source, end), None
        else:
            at, statement = _tag(source, end)
        if statement:
            yield statement


def _raw(source: str, start: int) -> tuple[int, Statement]:
    end = _END_RAW.search(source, start)
    if not end:
        raise NotATemplate("has a raw block without an end", start)
    return end.end(), Statement("data", (), (), source[start : end.start()], start)


def _comment(source: str, start: int) -> int:
    end = source.find("#}", start + 2)
    if end < 0:
        raise NotATemplate("has a comment without an end", start)
    return end + 2


def _tag(source: str, start: int) -> tuple[int, Statement]:
    closing = "}}" if source.startswith("{{", start) else "%}"
    at = start + 2 + (source[start + 2 : start + 3] in ("-", "+"))
    tokens: list[_Token] = []
    stack: list[str] = []
    while True:
        if not stack and (end := _closed(source, at, closing)):
            break
        token = _TOKEN.match(source, at)
        if not token:
            raise NotATemplate("has a tag that cannot be read", at)
        kind, value = str(token.lastgroup), token[0]
        if value in _PAIRS:
            stack.append(_PAIRS[value])
        elif value in _PAIRS.values() and (not stack or stack.pop() != value):
            raise NotATemplate(f"has a {value} without its opening", at)
        if kind != "space":
            tokens.append(_Token(kind, value, at))
        at = token.end()
    parser = _Parser(tokens, start)
    return end, parser.printed() if closing == "}}" else parser.statement()


def _closed(source: str, at: int, closing: str) -> int:
    """Return where the tag's end ends, if it stands here."""
    if source.startswith(closing, at):
        return at + 2
    return at + 3 if source[at : at + 1] in ("-", "+") and source.startswith(closing, at + 1) else 0


class _Parser:
    """One tag's tokens on their way to nodes."""

    def __init__(self, tokens: list[_Token], offset: int) -> None:
        self._tokens = tokens
        self._next = 0
        self._offset = offset
        self._depth = 0

    # What is next

    def _peek(self, value: str = "") -> _Token | None:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        return token if token is None or not value or (token.value == value and token.kind != "text") else None

    def _take(self, value: str = "") -> _Token:
        token = self._peek(value)
        if token is None:
            raise self._lost()
        self._next += 1
        return token

    def _accept(self, value: str) -> bool:
        found = self._peek(value) is not None
        self._next += found
        return found

    def _name(self) -> str:
        token = self._take()
        if token.kind != "name":
            raise self._lost()
        return token.value

    def _lost(self) -> NotATemplate:
        at = min(self._next, len(self._tokens) - 1)
        return NotATemplate("has a tag that cannot be read", self._tokens[at].offset if at >= 0 else self._offset)

    # Statements

    def printed(self) -> Statement:
        return self._done("print", (), (self._tuple(),))

    def statement(self) -> Statement:
        kind = self._name()
        if kind in ("set", "for", "macro", "call", "filter", "with", "block"):
            return getattr(self, f"_{kind}")()  # type: ignore[no-any-return]
        if kind.startswith("end") or kind in ("import", "from", "include", "extends"):
            self._next = len(self._tokens)
        expressions = [self._tuple()] if self._peek() else []
        return self._done(kind, (), tuple(expressions))

    def _done(self, kind: str, names: tuple[str, ...], expressions: tuple[Node, ...]) -> Statement:
        if self._peek():
            raise self._lost()
        return Statement(kind, names, expressions, "", self._offset)

    def _targets(self) -> tuple[str, ...]:
        """Read what is assigned to: a, (b, c), or ns.d."""
        names: list[str] = []
        while (token := self._peek()) and (token.kind == "name" or token.value in ("(", ")", ",", ".")):
            if token.value == "in":
                break
            if token.value == "." and names:
                self._take()
                names[-1] += f".{self._name()}"
                continue
            if token.kind == "name":
                names.append(token.value)
            self._take()
        return tuple(names)

    def _set(self) -> Statement:
        names = self._targets()
        if self._accept("="):
            return self._done("set", names, (self._tuple(),))
        return self._done("set-block", names, tuple(self._filters(Node("text", "", (), self._offset))))

    def _for(self) -> Statement:
        names = self._targets()
        self._take("in")
        values = self._tuple()
        self._accept("recursive")
        return self._done("for", names, (values,))

    def _macro(self) -> Statement:
        name = self._name()
        names, defaults = self._parameters()
        return self._done("macro", (name, *names), defaults)

    def _parameters(self) -> tuple[tuple[str, ...], tuple[Node, ...]]:
        self._take("(")
        names, defaults = [], []
        while not self._accept(")"):
            names.append(self._name())
            if self._accept("="):
                defaults.append(self._expression())
            if not self._peek(")"):
                self._take(",")
        return tuple(names), tuple(defaults)

    def _call(self) -> Statement:
        names: tuple[str, ...] = ()
        if self._peek("("):
            names, _ = self._parameters()
        return self._done("call", names, (self._tuple(),))

    def _filter(self) -> Statement:
        start = Node("text", "", (), self._offset)
        first = self._one_filter(start)
        return self._done("filter", (), tuple(self._filters(first)))

    def _with(self) -> Statement:
        names, values = [], []
        while self._peek():
            names.append(self._name())
            self._take("=")
            values.append(self._expression())
            if self._peek():
                self._take(",")
        return self._done("with", tuple(names), tuple(values))

    def _block(self) -> Statement:
        name = self._name()
        self._next = len(self._tokens)
        return self._done("block", (name,), ())

    # Expressions

    def _tuple(self) -> Node:
        """Read an expression, or several with commas between them."""
        first = self._expression()
        if not self._peek(","):
            return first
        items = [first]
        while self._accept(","):
            if not self._peek() or (self._peek() or first).value in (")", "]", "}", "="):
                break
            items.append(self._expression())
        return Node("list", "", tuple(items), first.offset)

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise NotATemplate("nests expressions too deeply", self._offset)
        operands, operators = [self._operand()], []
        while operator := self._operator():
            operators.append(operator)
            operands.append(self._operand())
        self._depth -= 1
        if not operators:
            return operands[0]
        return Node("operation", " ".join(operators), tuple(operands), operands[0].offset)

    def _operator(self) -> str:
        token = self._peek()
        if token is None or token.kind not in ("operator", "name"):
            return ""
        following = self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else None
        if token.value == "not" and following and following.value == "in":
            self._next += 2
            return "in"
        if token.value in _BINARY:
            self._next += 1
            return token.value
        return ""

    def _operand(self) -> Node:
        prefix = self._peek()
        if prefix and prefix.kind != "text" and prefix.value in _UNARY:
            self._next += 1
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise NotATemplate("nests expressions too deeply", self._offset)
            inner = self._operand()
            self._depth -= 1
            return Node("operation", f"unary{prefix.value}", (inner,), prefix.offset)
        return self._tests(self._postfix(self._primary()))

    def _tests(self, node: Node) -> Node:
        while self._accept("is"):
            self._accept("not")
            at = self._take()
            name = at.value
            while self._accept("."):
                name += f".{self._name()}"
            arguments: tuple[Node, ...] = ()
            if self._peek("("):
                arguments = self._arguments()
            elif (token := self._peek()) and self._begins(token):
                arguments = (self._postfix(self._primary()),)
            node = Node("test", name, (node, *arguments), at.offset)
        return node

    @staticmethod
    def _begins(token: _Token) -> bool:
        """Return whether the token begins a test's argument that has no parentheses (``is divisibleby 3``)."""
        if token.kind == "name":
            return token.value not in _WORDS
        return token.kind in ("text", "number") or token.value in ("[", "{")

    def _primary(self) -> Node:
        token = self._take()
        if token.kind == "text":
            return self._text(token)
        if token.kind == "number":
            return Node("number", token.value, (), token.offset)
        if token.kind == "name" and token.value not in _WORDS:
            return Node("name", token.value, (), token.offset)
        if token.value in ("(", "["):
            return Node("list", "", self._items(_PAIRS[token.value]), token.offset)
        if token.value == "{":
            return Node("list", "{}", self._items("}"), token.offset)
        self._next -= 1
        raise self._lost()

    def _text(self, token: _Token) -> Node:
        """Read a text; Jinja joins texts that stand beside each other."""
        parts = [_unescaped(token.value)]
        while (following := self._peek()) and following.kind == "text":
            parts.append(_unescaped(self._take().value))
        return Node("text", "".join(parts), (), token.offset)

    def _items(self, end: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept(end):
            items.append(self._expression())
            if self._accept(":"):
                items.append(self._expression())
            if not self._peek(end):
                self._take(",")
        return tuple(items)

    def _postfix(self, node: Node) -> Node:
        links = 0
        while (token := self._peek()) and token.kind == "operator":
            links += 1
            if links > _MAX_DEPTH * 4:
                raise NotATemplate("chains too many things", token.offset)
            if token.value == ".":
                self._next += 1
                node = Node("attribute", self._take().value, (node,), token.offset)
            elif token.value == "[":
                self._next += 1
                node = Node("index", "", (node, *self._subscript()), token.offset)
            elif token.value == "(":
                node = Node("call", "", (node, *self._arguments()), token.offset)
            elif token.value == "|":
                self._next += 1
                node = self._one_filter(node)
            else:
                break
        return node

    def _filters(self, node: Node) -> Iterator[Node]:
        yield node
        while self._accept("|"):
            node = self._one_filter(node)
            yield node

    def _one_filter(self, node: Node) -> Node:
        at = self._take()
        name = at.value
        while self._accept("."):
            name += f".{self._name()}"
        arguments = self._arguments() if self._peek("(") else ()
        return Node("filter", name, (node, *arguments), at.offset)

    def _subscript(self) -> tuple[Node, ...]:
        parts: list[Node] = []
        sliced = False
        start = self._offset
        while not self._accept("]"):
            if self._accept(":"):
                sliced = True
            elif self._accept(","):
                continue
            else:
                parts.append(self._expression())
        return (Node("slice", "", tuple(parts), start),) if sliced else tuple(parts)

    def _arguments(self) -> tuple[Node, ...]:
        self._take("(")
        arguments: list[Node] = []
        while not self._accept(")"):
            arguments.append(self._argument())
            if not self._peek(")"):
                self._take(",")
        return tuple(arguments)

    def _argument(self) -> Node:
        if self._accept("*") or self._accept("**"):
            return self._expression()
        token = self._peek()
        following = self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else None
        if token and token.kind == "name" and following and following.value == "=" and following.kind == "operator":
            self._next += 2
            return Node("keyword", token.value, (self._expression(),), token.offset)
        return self._expression()


def _unescaped(quoted: str) -> str:
    """Return what a quoted text means, as Jinja's lexer does it."""
    try:
        return quoted[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError:
        return quoted[1:-1]
