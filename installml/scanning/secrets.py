"""Keys, tokens and passwords that were left in a package. What is found is never shown: only its kind and length.

The forms are those that their makers document, so that they can be found: most tokens have a fixed beginning and a
checkable alphabet. Placeholders such as ``hf_xxxx`` and texts without entropy are not reported.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from installml.scanning.cursor import Blocks
from installml.scanning.finding import Content, Rule, Severity, Visit

__all__ = ["RULES", "SECRETS"]

_WINDOW, _OVERLAP = 1 << 20, 8 << 10
_MAX_TEXT = 256 << 20
_REVOKE = "Revoke it where it was issued, because it must be taken for known; then remove it from the package."

KEY = Rule(
    "secret-private-key",
    Severity.high,
    "A package holds a private key",
    "Everybody who has the package can act as the key's owner.",
    _REVOKE,
)
TOKEN = Rule(
    "secret-token",
    Severity.high,
    "A package holds an access token",
    "Everybody who has the package can use the account that the token belongs to.",
    _REVOKE,
)
PASSWORD = Rule(
    "secret-password",
    Severity.medium,
    "A package seems to hold a password or key",
    "A setting with such a name has a value that looks made up by chance.",
    _REVOKE,
)
FILE = Rule(
    "secret-file",
    Severity.medium,
    "A package holds a file in which programs keep passwords",
    "Such files belong to a person or machine and came along by accident.",
    "Look into it, revoke what stands there, and add the file to the recipe's exclude.",
)
RULES = (KEY, TOKEN, PASSWORD, FILE)


@dataclass(frozen=True, slots=True)
class _Form:
    """One kind of secret: a group of the pattern is the secret itself, the whole match where there is none."""

    kind: str
    rule: Rule
    hint: bytes  # stands in every match; looked for first, which is fast
    pattern: re.Pattern[bytes]
    entropy: float = 3.0


def _form(kind: str, rule: Rule, hint: bytes, pattern: bytes, entropy: float = 3.0) -> _Form:
    return _Form(kind, rule, hint, re.compile(pattern), entropy)


_FORMS = (
    _form(
        "private key", KEY, b"PRIVATE KEY",
        rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----((?:\s|\\n|\\r|[A-Za-z0-9+/=:,.-]){64,})",
    ),
    _form("AWS access key", TOKEN, b"A", rb"(?<![A-Za-z0-9])((?:AKIA|ASIA)[A-Z2-7]{16})(?![A-Za-z0-9])", 2.5),
    _form(
        "AWS secret key", TOKEN, b"ecret",
        rb"(?i:aws_?secret_?(?:access_?)?key)[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        3.5,
    ),
    _form("GitHub token", TOKEN, b"gh", rb"(?<![A-Za-z0-9_])(gh[pousr]_[A-Za-z0-9]{36,255})"),
    _form("GitHub token", TOKEN, b"github_pat_", rb"(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})"),
    _form("GitLab token", TOKEN, b"gl", rb"(?<![A-Za-z0-9_])(gl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20,})"),
    _form("Hugging Face token", TOKEN, b"hf_", rb"(?<![A-Za-z0-9_])(hf_[A-Za-z0-9]{34})(?![A-Za-z0-9])"),
    _form("OpenAI key", TOKEN, b"T3BlbkFJ", rb"(sk-[A-Za-z0-9_-]{16,}T3BlbkFJ[A-Za-z0-9_-]{16,})"),
    _form("Anthropic key", TOKEN, b"sk-ant-", rb"(sk-ant-[a-z]+[0-9]{2}-[A-Za-z0-9_-]{80,})"),
    _form("Slack token", TOKEN, b"xox", rb"(xox[abeprs]-[0-9]{6,}-[0-9A-Za-z-]{12,})"),
    _form("Slack webhook", TOKEN, b"hooks.slack.com", rb"(https://hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,})"),
    _form("Google API key", TOKEN, b"AIza", rb"(?<![A-Za-z0-9_-])(AIza[0-9A-Za-z_-]{35})(?![A-Za-z0-9_-])"),
    _form("Google OAuth secret", TOKEN, b"GOCSPX-", rb"(GOCSPX-[A-Za-z0-9_-]{28})"),
    _form("Stripe key", TOKEN, b"_live_", rb"((?:sk|rk)_live_[0-9a-zA-Z]{24,})"),
    _form("npm token", TOKEN, b"npm_", rb"(?<![A-Za-z0-9_])(npm_[A-Za-z0-9]{36})(?![A-Za-z0-9])"),
    _form("PyPI token", TOKEN, b"pypi-AgE", rb"(pypi-AgE[A-Za-z0-9_-]{60,})"),
    _form("Azure storage key", TOKEN, b"AccountKey=", rb"AccountKey=([A-Za-z0-9+/]{86}==)"),
    _form("Databricks token", TOKEN, b"dapi", rb"(?<![A-Za-z0-9])(dapi[0-9a-f]{32})(?![0-9a-f])"),
    _form("Docker token", TOKEN, b"dckr_", rb"(dckr_(?:pat|oat)_[A-Za-z0-9_-]{24,})"),
    _form("Weights & Biases key", TOKEN, b"WANDB", rb"WANDB_API_KEY[\"']?\s*[:=,]\s*[\"']?([0-9a-f]{40})(?![0-9a-f])"),
    _form("Telegram token", TOKEN, b":AA", rb"(?<![0-9A-Za-z])([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?![A-Za-z0-9_-])"),
    _form("JSON web token", PASSWORD, b"eyJ", rb"(eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,})"),
    _form(
        "password in an address", PASSWORD, b"://",
        rb"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>{}$]{1,80}:([^\s/:@\"'<>{}$*]{8,80})@[A-Za-z0-9.-]+",
        2.8,
    ),
    _form(
        "password", PASSWORD, b"",
        rb"(?i:(?<![A-Za-z0-9])(?:[a-z0-9]+_)?(?:api[_-]?key|secret(?:[_-]?key)?|password|passwd|auth[_-]?token|access[_-]?token|client[_-]?secret))"
        rb"[\"']?\s*[:=]\s*[\"']([A-Za-z0-9+/=_.!@#%^&*-]{16,128})[\"']",
        3.6,
    ),
)  # fmt: skip
_WORDY = re.compile(
    rb"(?i)example|sample|placeholder|your[_-]?|change[_-]?me|dummy|xxxx|\*\*\*\*|<[a-z]|fake|redacted|1234567890|abcdefgh|test[_-]?(?:key|token)"
)
_NAMES = re.compile(
    r"(?:^|/)(?:\.env(?:\.[a-z]+)?|\.netrc|_netrc|\.npmrc|\.pypirc|\.git-credentials|\.pgpass|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|\.aws/credentials|\.docker/config\.json|\.kube/config|\.ssh/.+|\.htpasswd|kaggle\.json|cosign\.key)$"
)
_TEXTS = (
    ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".config", ".env", ".md", ".txt",
    ".rst", ".py", ".ipynb", ".sh", ".properties", ".xml", ".html", ".js", ".ts", ".tf", ".pem", ".key",
    ".p8", ".log", ".csv", ".tsv", ".jinja", ".j2", ".bat", ".ps1", ".lock", ".netrc", ".npmrc", ".pypirc",
    ".r", ".sql", "dockerfile", "makefile", "readme",
)  # fmt: skip
_TEMPLATES = (".env.example", ".env.sample", ".env.template", ".env.dist")


class _Secrets:
    name = "secrets"

    def claims(self, head: bytes, name: str) -> bool:
        if name.endswith(_TEXTS) or _NAMES.search(name):
            return b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff"))
        plain = "." not in name.rpartition("/")[2].lstrip(".")
        return (plain and b"\0" not in head and bool(head)) or b"PRIVATE KEY-----" in head

    def scan(self, content: Content, visit: Visit) -> None:
        if _NAMES.search(visit.name.lower()) and not visit.name.lower().endswith(_TEMPLATES) and content.size:
            visit.found(FILE, visit.name.rpartition("/")[2], 0)
        blocks, at = Blocks(content), 0
        while (window := blocks.read(at, _WINDOW)) and at < _MAX_TEXT:
            visit.budget.step(len(window) >> 6)
            _check(window, at, visit)
            if len(window) < _WINDOW:
                return
            at += _WINDOW - _OVERLAP


def _check(window: bytes, at: int, visit: Visit) -> None:
    if window.startswith((b"\xff\xfe", b"\xfe\xff")):
        window = window.decode("utf-16", "replace").encode("utf-8", "replace")
    covered: list[tuple[int, int]] = []
    for form in _FORMS:
        if form.hint and form.hint not in window:
            continue
        for match in form.pattern.finditer(window):
            start, end = match.span(1)
            if any(first < end and start < last for first, last in covered) or not _is_secret(match[1], form):
                continue
            covered.append((start, end))
            visit.found(form.rule, f"{form.kind}, {len(match[1])} characters, not shown", at + start)


def _is_secret(value: bytes, form: _Form) -> bool:
    if form.rule is KEY:
        return entropy(value) >= 4.0 and len(set(value)) > 20
    if _WORDY.search(value) or len(set(value)) < 8:
        return False
    mixed = re.search(rb"\d", value) is not None and re.search(rb"[A-Za-z]", value) is not None
    return entropy(value) >= form.entropy and (mixed or form.rule is TOKEN)


def entropy(value: bytes) -> float:
    """Return the bits a byte of ``value`` carries (Shannon): 0 for one repeated, about 4 for random hexadecimal."""
    counts, size = Counter(value), len(value)
    return -sum(n / size * math.log2(n / size) for n in counts.values())


SECRETS = _Secrets()
