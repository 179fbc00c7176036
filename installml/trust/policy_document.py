"""How a trust policy is written: TOML, strict, every violation at once. ``policy.schema.json`` says the same.

What stands in the document is described there and in docs/reference/policy.md, which is made from it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ..spec.node import Node
from .errors import PolicyInvalid
from .keys import PublicKey
from .patterns import AllOf, AnyOf, IdentityIs, IdentityLike, KeyIs, Not, Pattern, UnsafeAnyone, is_too_wide
from .policy import (
    SEVERITIES,
    Condition,
    Equals,
    FirstUse,
    Level,
    NoWorseThan,
    Place,
    Policy,
    RequiredAttestation,
    Revocation,
    Rollback,
    Rule,
    Trusted,
)
from .statement import ML_BOM, PROVENANCE, SCAN

__all__ = ["ATTESTATIONS", "MAX_POLICY", "parse_duration", "parse_fingerprint", "parse_policy"]

MAX_POLICY = 1 << 20
"""Bytes of a policy document that are read."""
ATTESTATIONS: Mapping[str, str] = {
    "scan": SCAN,
    "sbom": ML_BOM,
    "provenance": PROVENANCE,
}
"""Short names of predicate types."""

_MOST_RULES = 1000
_MOST_SIGNERS = 100
_DEEPEST = 8
_VERSION = 1
_NAME = "[a-z0-9][a-z0-9._-]{0,62}"
_URI = r"[a-z][a-z0-9+.-]{0,20}:[!-~]{1,1000}"
_ISSUER = r"https?://[!-~]{1,1000}"
_PRINTABLE = r"[^\x00-\x1f\x7f]{1,2048}"
_PATH = r"[^.\x00-\x1f\x7f]{1,200}(?:\.[^.\x00-\x1f\x7f]{1,200}){0,15}"
_FINGERPRINT = "sha256:[0-9a-f]{64}"
_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FORMS = ("key", "identity", "identity_glob", "any_of", "all_of", "not", "unsafe_anyone")
_SIGNER_KEYS = (*_FORMS, "issuer")
_RULE_KEYS = (
    "prefix", "level", "signers", "threshold", "first_use", "rollback", "max_age", "mirror_of", "attestations",
)  # fmt: skip
_REVOKED_KEYS = (*_SIGNER_KEYS, "since", "reason")

E = TypeVar("E", Level, FirstUse, Rollback)


def parse_policy(data: bytes, origin: str) -> Policy:
    """Return the policy that a TOML document spells.

    Args:
        data: The document, UTF-8.
        origin: Where it came from, for errors and for whoever asks which rule decided.

    Raises:
        PolicyInvalid: Every violation at once.
    """
    root = Node(_table(data, origin))
    keys = root.mapping(("version", "signers", "rules", "revoked"))
    keys["version"].integer(_VERSION, least=_VERSION, most=_VERSION)
    reader = _Reader(keys["signers"], origin)
    rules = tuple(reader.rule(node) for node in keys["rules"].sequence(_MOST_RULES))
    revoked = tuple(reader.revocation(node) for node in keys["revoked"].sequence(_MOST_RULES))
    reader.finish()
    if not root.violations:
        _check_unique(root, rules)
    if root.violations:
        raise PolicyInvalid(origin, root.violations)
    return Policy(rules, revoked, tuple(reader.keys.values()), origin)


def _table(data: bytes, origin: str) -> Mapping[str, Any]:
    if len(data) > MAX_POLICY:
        raise PolicyInvalid(origin, [f"it has {len(data)} bytes, at most {MAX_POLICY} are read"])
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PolicyInvalid(origin, [f"not TOML: {reason}"]) from None


def _check_unique(root: Node, rules: tuple[Rule, ...]) -> None:
    seen: set[Place] = set()
    for rule in rules:
        if rule.prefix in seen:  # one of the two would decide by its position
            root.fail(f"the prefix {rule.prefix} has two rules; make them one")
        seen.add(rule.prefix)


@dataclass(slots=True)
class _Reader:
    """Reads one document.

    Attributes:
        named: Node of its table of named signers.
        origin: Where the document came from.
        keys: Public keys met so far, by fingerprint.
    """

    named: Node
    origin: str
    keys: dict[str, PublicKey] = field(default_factory=dict)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _found: dict[str, Pattern | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, node in self.named.items():
            if re.fullmatch(_NAME, name):
                self._nodes[name] = node
            else:
                node.fail("a name has lowercase letters, digits, dots, underscores and dashes")

    def finish(self) -> None:
        """Read the named signers that nobody uses, so that a mistake in them is told too."""
        for name in self._nodes:
            self._by_name(name, self.named)

    def _by_name(self, name: str, asked_by: Node) -> Pattern | None:
        if name not in self._nodes:
            asked_by.fail(f"there is no signer {name[:80]!r}; define it in [signers.{name[:80]}]")
            return None
        if name not in self._found:
            self._found[name] = None
            self._found[name] = self.bounded(self._nodes[name])
        return self._found[name]

    def bounded(self, node: Node) -> Pattern | None:
        """Return the condition at ``node``; one that means everybody but a few is a violation."""
        pattern = self.pattern(node)
        if pattern is not None and not pattern.bounded:
            node.fail("means everybody but a few; put it into all_of, beside who is meant")
            return None
        return pattern

    def signers(self, node: Node) -> tuple[Trusted, ...]:
        """Return a list of names and conditions."""
        if isinstance(node.value, list) and not node.value:
            node.fail("is empty; leave it out where nobody is known in advance")
        found = []
        for child in node.sequence(_MOST_SIGNERS):
            name = child.value if isinstance(child.value, str) else ""
            pattern = self._by_name(name, child) if isinstance(child.value, str) else self.bounded(child)
            if pattern is not None:
                found.append(Trusted(pattern, name))
        return tuple(found)

    def pattern(self, node: Node, depth: int = 0) -> Pattern | None:
        """Return the condition that a table spells: one form, and the issuer where there is an identity."""
        if depth > _DEEPEST:
            node.fail(f"nested deeper than {_DEEPEST}")
            return None
        keys = node.mapping(_SIGNER_KEYS)
        return self._form(node, keys, depth)

    def _form(self, node: Node, keys: Mapping[str, Node], depth: int) -> Pattern | None:
        forms = [name for name in _FORMS if keys[name]]
        if not isinstance(node.value, dict):
            return None
        if len(forms) != 1:
            node.fail(f"names {' and '.join(forms) or 'nobody'}; write one of {', '.join(_FORMS)}")
            return None
        form = forms[0]
        if bool(keys["issuer"]) != form.startswith("identity"):
            node.fail("an identity needs its issuer" if not keys["issuer"] else f"a {form} has no issuer")
            return None
        readers: Mapping[str, Callable[[], Pattern | None]] = {
            "key": lambda: self._key(keys["key"]),
            "identity": lambda: self._identity(keys),
            "identity_glob": lambda: self._identities(keys),
            "any_of": lambda: self._several(AnyOf, keys["any_of"], depth),
            "all_of": lambda: self._several(AllOf, keys["all_of"], depth),
            "not": lambda: self._inverse(keys["not"], depth),
            "unsafe_anyone": lambda: _anyone(keys["unsafe_anyone"]),
        }
        return readers[form]()

    def _key(self, node: Node) -> Pattern | None:
        text = node.string(pattern=r"[\x20-\x7e\r\n\t]*", noun="a fingerprint or PEM text", most=1 << 15)
        if "-----BEGIN" not in text:
            fingerprint = node.parsed(parse_fingerprint) if text or node.value == "" else None
            return KeyIs(fingerprint) if fingerprint else None
        key = node.parsed(lambda pem: PublicKey.parse(pem, "the key"))
        if key is None:
            return None
        self.keys[key.fingerprint] = key
        return KeyIs(key.fingerprint)

    @staticmethod
    def _identity(keys: Mapping[str, Node]) -> Pattern:
        return IdentityIs(keys["identity"].string(pattern=_PRINTABLE, noun="an identity"), _issuer(keys))

    @staticmethod
    def _identities(keys: Mapping[str, Node]) -> Pattern | None:
        node = keys["identity_glob"]
        glob = node.string(pattern=_PRINTABLE, noun="an identity with * and **")
        if glob and is_too_wide(glob):
            node.fail(f"{glob[:80]!r} means everybody; write unsafe_anyone = true if that is what you want")
            return None
        return IdentityLike(glob, _issuer(keys))

    def _several(self, kind: type[AnyOf] | type[AllOf], node: Node, depth: int) -> Pattern | None:
        children = node.sequence(_MOST_SIGNERS)
        if isinstance(node.value, list) and not children:
            node.fail("is empty: of nothing, all_of would mean everybody and any_of nobody")
        members = tuple(self.pattern(child, depth + 1) for child in children)
        whole = tuple(member for member in members if member is not None)
        return kind(whole) if whole and len(whole) == len(members) else None

    def _inverse(self, node: Node, depth: int) -> Pattern | None:
        member = self.pattern(node, depth + 1)
        return Not(member) if member is not None else None

    def rule(self, node: Node) -> Rule:
        """Return one rule."""
        keys = node.mapping(_RULE_KEYS, ("prefix",))
        signers = self.signers(keys["signers"])
        threshold = keys["threshold"].integer(1, least=1, most=_MOST_SIGNERS)
        if threshold > max(1, len(keys["signers"].value or ()) if isinstance(keys["signers"].value, list) else 1):
            keys["threshold"].fail(f"{threshold} of {len(signers)} signers can never be met")
        first_use = _one(keys["first_use"], FirstUse, FirstUse.NEVER if signers else FirstUse.ASK)
        if first_use is FirstUse.ASK and threshold > 1:
            keys["first_use"].fail("one person's answer does not make a threshold; write never")
        return Rule(
            prefix=keys["prefix"].parsed(Place.parse) or Place(),
            level=_one(keys["level"], Level, Level.ENFORCE),
            signers=signers,
            threshold=threshold,
            first_use=first_use,
            rollback=_one(keys["rollback"], Rollback, Rollback.REFUSE),
            max_age=_duration(keys["max_age"]),
            mirror_of=_mirrored(keys["mirror_of"]),
            attestations=tuple(self.attestation(child) for child in keys["attestations"].sequence(_MOST_SIGNERS)),
            origin=self.origin,
        )

    def attestation(self, node: Node) -> RequiredAttestation:
        """Return one required attestation."""
        keys = node.mapping(("type", "signers", "max_severity", "equals", "max_age"), ("type",))
        named = keys["type"].string(
            pattern=f"(?:{'|'.join(ATTESTATIONS)}|{_URI})", noun="scan, sbom, provenance or a URI"
        )
        kind = ATTESTATIONS.get(named, named)
        conditions: list[Condition] = []
        if keys["max_severity"]:
            conditions.append(NoWorseThan(keys["max_severity"].choice(("none", *SEVERITIES), "none")))
            if kind != SCAN:
                keys["max_severity"].fail("only a scan has severities")
        for path, child in keys["equals"].items():
            conditions.append(_equals(path, child))
        return RequiredAttestation(kind, self.signers(keys["signers"]), tuple(conditions), _duration(keys["max_age"]))

    def revocation(self, node: Node) -> Revocation:
        """Return one revocation. ``not`` and ``all_of`` are as good as any here: to revoke too much is safe."""
        keys = node.mapping(_REVOKED_KEYS)
        pattern = self._form(node, keys, 0)
        reason = keys["reason"].string(pattern=r"[^\x00-\x1f\x7f]{0,500}", noun="one line of text")
        return Revocation(pattern or UnsafeAnyone(), _moment(keys["since"]), reason)


def parse_fingerprint(text: str) -> str:
    """Return ``text`` when it is a key's fingerprint.

    Raises:
        KeyInvalid: It is none.
    """
    from .errors import KeyInvalid

    if not re.fullmatch(_FINGERPRINT, text):
        raise KeyInvalid(
            f"{text[:80]!r} is neither a fingerprint nor a public key",
            hint="Write sha256: and 64 hexadecimal digits, or the PEM text. See: installml keys list",
            subject=text[:80],
        )
    return text


def parse_duration(text: str) -> int:
    """Return the seconds that ``text`` means: ``90d``, ``12h``, ``30m``, ``10s``, ``2w``.

    Raises:
        QuantityInvalid: It is no number with such a unit.
    """
    from ..spec.units import QuantityInvalid

    match = _DURATION.fullmatch(text)
    if match is None:
        raise QuantityInvalid(f"{text[:80]!r} is not a length of time; write for example 90d or 12h")
    return int(match[1]) * _SECONDS[match[2]]


def _duration(node: Node) -> int | None:
    return node.parsed(parse_duration)


def _mirrored(node: Node) -> Place | None:
    place = node.parsed(Place.parse)
    if place == Place():
        node.fail("name the registry whose packages these are")
    return place


def _issuer(keys: Mapping[str, Node]) -> str:
    return keys["issuer"].string(pattern=_ISSUER, noun="the URL of an issuer, which is never a glob")


def _anyone(node: Node) -> Pattern | None:
    if node.value is not True:
        node.fail("must be true")
        return None
    return UnsafeAnyone()


def _equals(path: str, node: Node) -> Equals:
    if not re.fullmatch(_PATH, path):
        node.fail("the key is names joined by dots, such as runDetails.builder.id")
    if not isinstance(node.value, (str, int, bool)):
        node.fail("must be text, a whole number or true/false")
        return Equals(path, "")
    return Equals(path, node.value)


def _moment(node: Node) -> int | None:
    """Return seconds since the epoch of a TOML date-time, or of the same as text (RFC 3339)."""
    value = node.value
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            pass
    if not isinstance(value, datetime) or value.tzinfo is None:
        node.fail("must be a moment with its time zone, such as 2026-03-01T00:00:00Z")
        return None
    return int(value.timestamp())


def _one(node: Node, kind: type[E], default: E) -> E:
    return kind(node.choice([member.value for member in kind], default.value))
