"""Keys, tokens and passwords that were left in a package. What is found is never shown: only its kind and length.

The forms are those that their makers document, so that they can be found: most tokens have a fixed beginning and a
checkable alphabet. Placeholders such as ``hf_xxxx`` and texts without entropy are not reported.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
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
    """One kind of secret; the pattern's group is the secret itself.

    A pattern is tried only where one of its hints stands: looking for fixed bytes is a hundred times faster.
    """

    kind: str
    rule: Rule
    hints: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    entropy: float = 3.0
    before: int = 0  # bytes in front of the hint at which the pattern may begin
    fold: bool = False  # hints are compared without case


def _form(
    kind: str, rule: Rule, hints: str, pattern: bytes, entropy: float = 3.0, before: int = 0, *, fold: bool = False
) -> _Form:
    return _Form(kind, rule, tuple(hints.encode().split()), re.compile(pattern), entropy, before, fold)


_FORMS = (
    _form(
        "private key", KEY, "-----BEGIN",
        rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----((?:\s|\\n|\\r|[A-Za-z0-9+/=:,.-]){64,})",
    ),
    _form("AWS access key", TOKEN, "AKIA ASIA", rb"(?<![A-Za-z0-9])((?:AKIA|ASIA)[A-Z2-7]{16})(?![A-Za-z0-9])", 2.5),
    _form(
        "AWS secret key", TOKEN, "aws_secret awssecret",
        rb"(?i:aws_?secret_?(?:access_?)?key)[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        3.5, fold=True,
    ),
    _form(
        "GitHub token", TOKEN, "ghp_ gho_ ghu_ ghs_ ghr_", rb"(?<![A-Za-z0-9_])(gh[pousr]_[A-Za-z0-9]{36,255})"
    ),
    _form("GitHub token", TOKEN, "github_pat_", rb"(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})"),
    _form(
        "GitLab token", TOKEN, "glpat- gldt- glrt- glcbt- glptt-",
        rb"(?<![A-Za-z0-9_])(gl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{20,255})",
    ),
    _form("Hugging Face token", TOKEN, "hf_", rb"(?<![A-Za-z0-9_])(hf_[A-Za-z0-9]{34})(?![A-Za-z0-9])"),
    _form(
        "OpenAI key", TOKEN, "T3BlbkFJ", rb"(sk-[A-Za-z0-9_-]{16,200}T3BlbkFJ[A-Za-z0-9_-]{16,200})", before=210
    ),
    _form("Anthropic key", TOKEN, "sk-ant-", rb"(sk-ant-[a-z]{2,20}[0-9]{2}-[A-Za-z0-9_-]{80,255})"),
    _form(
        "Slack token", TOKEN, "xoxa- xoxb- xoxe- xoxp- xoxr- xoxs-",
        rb"(xox[abeprs]-[0-9]{6,}-[0-9A-Za-z-]{12,255})",
    ),
    _form(
        "Slack webhook", TOKEN, "https://hooks.slack.com/services/",
        rb"(https://hooks\.slack\.com/services/T[A-Z0-9]{6,20}/B[A-Z0-9]{6,20}/[A-Za-z0-9]{20,64})",
    ),
    _form("Google API key", TOKEN, "AIza", rb"(?<![A-Za-z0-9_-])(AIza[0-9A-Za-z_-]{35})(?![A-Za-z0-9_-])"),
    _form("Google OAuth secret", TOKEN, "GOCSPX-", rb"(GOCSPX-[A-Za-z0-9_-]{28})"),
    _form("Stripe key", TOKEN, "sk_live_ rk_live_", rb"((?:sk|rk)_live_[0-9a-zA-Z]{24,255})"),
    _form("npm token", TOKEN, "npm_", rb"(?<![A-Za-z0-9_])(npm_[A-Za-z0-9]{36})(?![A-Za-z0-9])"),
    _form("PyPI token", TOKEN, "pypi-AgE", rb"(pypi-AgE[A-Za-z0-9_-]{60,512})"),
    _form("Azure storage key", TOKEN, "AccountKey=", rb"AccountKey=([A-Za-z0-9+/]{86}==)"),
    _form("Databricks token", TOKEN, "dapi", rb"(?<![A-Za-z0-9])(dapi[0-9a-f]{32})(?![0-9a-f])"),
    _form("Docker token", TOKEN, "dckr_", rb"(dckr_(?:pat|oat)_[A-Za-z0-9_-]{24,255})"),
    _form(
        "Weights & Biases key", TOKEN, "WANDB_API_KEY",
        rb"WANDB_API_KEY[\"']?\s*[:=,]\s*[\"']?([0-9a-f]{40})(?![0-9a-f])",
    ),
    _form(
        "Telegram token", TOKEN, ":AA",
        rb"(?<![0-9A-Za-z])([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?![A-Za-z0-9_-])", before=11
    ),
    _form(
        "JSON web token", PASSWORD, "eyJ",
        rb"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{16,4096}\.eyJ[A-Za-z0-9_-]{16,8192}\.[A-Za-z0-9_-]{32,2048})",
    ),
    _form(
        "password in an address", PASSWORD, "://",
        rb"(?<=[a-z0-9])://[^\s/:@\"'<>{}$]{1,80}:([^\s/:@\"'<>{}$*]{8,80})@[A-Za-z0-9.-]", 2.8,
    ),
    _form(
        "password", PASSWORD,
        "api_key api-key apikey secret passw auth_token auth-token authtoken access_token access-token accesstoken",
        rb"(?<![A-Za-z0-9])(?i:api[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|password|passwd|(?:auth|access)[_-]?token)"
        rb"[\"']?\s{0,20}[:=]\s{0,20}[\"']([A-Za-z0-9+/=_.!@#%^&*-]{16,128})[\"']",
        3.6, fold=True,
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
    lower = window.lower()
    for form in _FORMS:
        for match in _matches(form, lower if form.fold else window, window):
            start, end = match.span(1)
            if any(first < end and start < last for first, last in covered) or not _is_secret(match[1], form):
                continue
            covered.append((start, end))
            visit.found(form.rule, f"{form.kind}, {len(match[1])} characters, not shown", at + start)


def _matches(form: _Form, folded: bytes, window: bytes) -> Iterator[re.Match[bytes]]:
    """Yield what matches a form at the places of its hints."""
    for hint in form.hints:
        place = folded.find(hint)
        while place >= 0:
            if form.before:
                match = form.pattern.search(window, max(0, place - form.before), place + 1024)
            else:
                match = form.pattern.match(window, place)
            if match is not None:
                yield match
            place = folded.find(hint, place + len(hint))


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
