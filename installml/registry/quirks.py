"""What the families of registries can do, what they cannot, and what we do about it: one table.

A row is a ``Quirks``; every field in which it differs from the careful default (``UNKNOWN``) has a ``Fact`` that says
what such a registry does, what we do, and how we know. docs/registries.md is written from this table.

The family is told by what a registry's answers carry anyway (headers, the challenge of a 401, the address of an
upload), never by a request of its own, and by the host's name only where the answers say nothing. Nothing that can be
asked is taken from the table: the referrers API is tried, whatever the row says. Not here: requests; pure text rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit

from .sites import canonical_host, hostname

__all__ = ["FAMILIES", "UNKNOWN", "Fact", "Family", "Overrides", "Quirks", "Referrers", "by_host", "recognise"]

MIB = 1 << 20


class Family(StrEnum):
    """Registries that behave alike."""

    UNKNOWN = "unknown"
    OURS = "installml"
    DISTRIBUTION2 = "distribution2"
    DISTRIBUTION3 = "distribution3"
    ZOT = "zot"
    HARBOR = "harbor"
    ECR = "ecr"
    GAR = "gar"
    GHCR = "ghcr"
    DOCKER_HUB = "docker-hub"
    ACR = "acr"
    GITLAB = "gitlab"
    QUAY = "quay"
    GGCR = "ggcr"


class Referrers(StrEnum):
    """What there is of the referrers API (distribution-spec, "Listing Referrers")."""

    UNKNOWN = "unknown"
    YES = "yes"
    NO = "no"
    CLAIMED = "claimed"
    """``OCI-Subject`` is sent, and yet no list is kept."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One way in which a family differs from the careful default.

    Attributes:
        fields: Names of the fields of Quirks that it explains; none for what no field says.
        habit: What the registry does.
        answer: What we do about it.
        source: A document, an issue, or our own test.
    """

    fields: tuple[str, ...]
    habit: str
    answer: str
    source: str


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a registry can do and where its limits are. The defaults are what is safe with a registry nobody knows.

    Attributes:
        family: Which row it is.
        title: Its name for people.
        monolithic: Chunks (PATCH with Content-Range) do not work: one PUT, or nothing.
        streaming: One PATCH of any length, closed by a PUT that names the digest, works: bytes may be sent while they
            are hashed.
        chunk_min: Fewest bytes of a chunk but the last, 0 for none; ``OCI-Chunk-Min-Length`` may ask for more.
        chunk_max: Most bytes of one chunk, 0 for none.
        range_advances: ``Range`` in the answer to a chunk tells how much arrived; else our own count is right.
        resume: The state of an upload can be asked (GET), and an upload goes on after a lost connection. None: not
            known, and tried; the digest at the end tells whether it went well.
        mount: Blobs can be mounted from a neighbour repository.
        referrers: What it has of the referrers API; tried all the same.
        untag: Tags can be removed without their manifest.
        catalog: ``/v2/_catalog`` lists the repositories.
        open_ranges: ``bytes=N-`` works; we always send both ends.
        head_redirects: The place that blobs are redirected to answers HEAD; we never ask it.
        token_seconds: How long its tokens usually live, 0 when not known; what the token server says is what counts.
        rate_headers: Its answers tell how many requests are left.
        creates: A repository comes into being with its first push.
        hints: Pairs of a lowercase piece of a refusal, and what to type or to set then.
        facts: The reasons, one for each difference.
    """

    family: Family = Family.UNKNOWN
    title: str = "any other"
    monolithic: bool = False
    streaming: bool = False
    chunk_min: int = 0
    chunk_max: int = 0
    range_advances: bool = True
    resume: bool | None = None
    mount: bool = True
    referrers: Referrers = Referrers.UNKNOWN
    untag: bool = True
    catalog: bool = True
    open_ranges: bool = True
    head_redirects: bool = True
    token_seconds: int = 0
    rate_headers: bool = False
    creates: bool = True
    hints: tuple[tuple[str, str], ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a user's configuration says about one registry; None leaves the table's word.

    Attributes:
        family: The row to begin with, instead of the one that its answers tell.
        monolithic: As Quirks.
        streaming: As Quirks.
        chunk_min: As Quirks.
        chunk_max: As Quirks.
        resume: As Quirks.
    """

    family: Family | None = None
    monolithic: bool | None = None
    streaming: bool | None = None
    chunk_min: int | None = None
    chunk_max: int | None = None
    resume: bool | None = None

    def over(self, quirks: Quirks) -> Quirks:
        """Return ``quirks`` with what is set here in its place."""
        base = FAMILIES[self.family] if self.family is not None else quirks
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "family"}
        return replace(base, **{name: value for name, value in own.items() if value is not None})


UNKNOWN = Quirks(
    facts=(
        Fact(
            (),
            "may be anything",
            "one PUT with Content-Length for each blob; closed ranges; the referrers API is tried",
            "distribution-spec 1.1",
        ),
    )
)

_SPEC = "distribution-spec 1.1"
_CLAUSES = "own test: tests/contract/registry_protocol"
_DOCKER_WAY = "moby pushes in this way to every registry (distribution/push_v2.go)"

_STREAMS = Fact(
    ("streaming",),
    "takes a blob in one PATCH whose digest only the closing PUT names",
    "new files are hashed while they are sent",
    _DOCKER_WAY,
)
_RESUMES = Fact(
    ("resume",), "tells how far an upload is", "an upload goes on where it was cut off", f"{_SPEC}; {_CLAUSES}"
)
_NO_REFERRERS = Fact(
    ("referrers",), "has no referrers API: 404", "the tag schema, written until our entry is in it", _CLAUSES
)
_HAS_REFERRERS_SPEC = Fact(("referrers",), "has the referrers API", "it is used", _SPEC)

_TYPES_HINT = "the package's media types (application/vnd.cncf.model.*)"
_QUAY_HINT = (
    "Quay takes only the types that its owner allows: FEATURE_GENERAL_OCI_SUPPORT: true and IGNORE_UNKNOWN_MEDIATYPES: "
    f"true in its config.yaml, or ALLOWED_OCI_ARTIFACT_TYPES with {_TYPES_HINT}."
)

_ROWS = (
    UNKNOWN,
    Quirks(
        Family.OURS,
        "installml registry serve",
        streaming=True,
        resume=True,
        referrers=Referrers.YES,
        token_seconds=300,
        facts=(
            Fact(("streaming", "resume", "referrers"), "keeps every clause", "everything is used", _CLAUSES),
            Fact(
                ("token_seconds",),
                "gives tokens for 5 minutes",
                "a new one 30 seconds before",
                "installml.registry_server",
            ),
        ),
    ),
    Quirks(
        Family.DISTRIBUTION2,
        "distribution 2.8",
        streaming=True,
        resume=False,
        referrers=Referrers.NO,
        untag=False,
        hints=(("unsupported", "Its owner allows deletion with storage.delete.enabled: true."),),
        facts=(
            _STREAMS,
            Fact(
                ("resume",),
                "throws an upload away when it is asked for after a cut: its address says how far it was before",
                "the blob is sent anew; blobs that are there whole are not",
                "own test: tests/integration/test_push_resumed.py",
            ),
            Fact(
                (),
                "knows an upload at its newest Location only; takes chunks in any order",
                "each new Location is followed, chunks are sent one after the other",
                _CLAUSES,
            ),
            _NO_REFERRERS,
            Fact(("untag",), "removes no tag without its manifest: 400", "we say so", _CLAUSES),
            Fact((), "ignores n= in lists", "a page of any length is taken", _CLAUSES),
            Fact((), "sends a 416 that promises the blob's Content-Length", "the connection is closed", _CLAUSES),
        ),
    ),
    Quirks(
        Family.DISTRIBUTION3,
        "distribution 3",
        streaming=True,
        resume=True,
        referrers=Referrers.NO,
        hints=(("unsupported", "Its owner allows deletion with storage.delete.enabled: true."),),
        facts=(
            _STREAMS,
            _RESUMES,
            _NO_REFERRERS,
            Fact((), "answers several ranges at once in a way of its own", "one range a request", _CLAUSES),
        ),
    ),
    Quirks(
        Family.ZOT,
        "zot",
        streaming=True,
        resume=True,
        referrers=Referrers.YES,
        facts=(
            _STREAMS,
            Fact(
                ("resume",),
                "tells how far an upload is",
                "an upload goes on where it was cut off",
                "github.com/opencontainers/distribution-spec/issues/590",
            ),
            _HAS_REFERRERS_SPEC,
        ),
    ),
    Quirks(
        Family.HARBOR,
        "Harbor",
        streaming=True,
        resume=True,
        referrers=Referrers.YES,
        catalog=False,
        token_seconds=1800,
        hints=(
            ("quota", "The project's storage quota is used up; its administrator raises it under Project Quotas."),
            (
                "will exceed the configured upper limit",
                "The project's storage quota is used up; its administrator raises it under Project Quotas.",
            ),
        ),
        facts=(
            Fact(
                ("streaming", "resume"), "carries distribution behind its own API", "as with distribution", _DOCKER_WAY
            ),
            _HAS_REFERRERS_SPEC,
            Fact(
                ("catalog",),
                "gives no token for _catalog",
                "we say that it does not list repositories",
                "github.com/goharbor/harbor/issues/22118",
            ),
            Fact(
                ("token_seconds",),
                "gives tokens for 30 minutes",
                "a new one is asked for between the requests of a long push",
                "Harbor documentation, Token Expiration",
            ),
            Fact(
                ("hints",),
                "checks the project's quota at the manifest, after all blobs",
                "the refusal says who can raise it; the blobs are there for the next try",
                "Harbor documentation, Configure Project Quotas",
            ),
        ),
    ),
    Quirks(
        Family.ECR,
        "Amazon ECR",
        monolithic=True,
        range_advances=False,
        chunk_min=5 * MIB,
        mount=False,
        head_redirects=False,
        catalog=False,
        token_seconds=43200,
        creates=False,
        hints=(
            (
                "does not exist in the registry with id",
                "Create it first: aws ecr create-repository --repository-name NAME",
            ),
            (
                "repository with name",
                "Create it first: aws ecr create-repository --repository-name NAME",
            ),
        ),
        facts=(
            Fact(
                ("monolithic", "range_advances"),
                "answers chunks with 201, its Range stands still, and bytes after the first chunk may be lost",
                "one PUT for each blob; where configured otherwise, 201 is accepted and our own count is right",
                "github.com/aws/containers-roadmap/issues/2831",
            ),
            Fact(
                ("chunk_min",),
                "makes S3 parts of chunks: 5 MiB at least",
                "never smaller ones",
                "Amazon S3, UploadPart",
            ),
            Fact(
                ("mount",),
                "mounts only where the registry's owner has allowed it",
                "a refusal to mount is no failure: the blob is sent",
                "Amazon ECR, Blob mounting",
            ),
            Fact(
                ("head_redirects",),
                "redirects blobs to S3 with 307, signed for GET",
                "HEAD stays at the registry; credentials never travel along",
                "github.com/containerd/stargz-snapshotter/pull/167",
            ),
            Fact(("catalog",), "has no _catalog", "we say so", "Amazon ECR, API reference"),
            Fact(
                ("token_seconds",),
                "asks for Basic; the password lives 12 hours",
                "Basic is answered with Basic",
                "Amazon ECR, GetAuthorizationToken",
            ),
            Fact(
                ("creates", "hints"),
                "does not make repositories",
                "the refusal says what to type",
                "Amazon ECR, Creating a private repository",
            ),
        ),
    ),
    Quirks(
        Family.GAR,
        "Google Artifact Registry",
        monolithic=True,
        token_seconds=3600,
        creates=False,
        hints=(
            (
                'repository "',
                "Create it first: gcloud artifacts repositories create NAME --repository-format=docker "
                "--location=PLACE",
            ),
        ),
        facts=(
            Fact(
                ("monolithic",),
                "takes no chunks",
                "one PUT for each blob",
                "cloud.google.com/artifact-registry/docs/reference/docker-api; kitops-ml/kitops#777",
            ),
            Fact(
                ("token_seconds",),
                "gives tokens for an hour",
                "a new one 30 seconds before",
                "Google Cloud, access tokens",
            ),
            Fact(
                ("creates", "hints"),
                "does not make repositories",
                "the refusal says what to type",
                "cloud.google.com/artifact-registry/docs/repositories/create-repos",
            ),
        ),
    ),
    Quirks(
        Family.GHCR,
        "GitHub Container Registry",
        chunk_max=4 * MIB - 64 * 1024,
        referrers=Referrers.NO,
        head_redirects=False,
        catalog=False,
        facts=(
            Fact(
                ("chunk_max",),
                "refuses chunks of more than 4 MiB, with 416 or 413; one PUT may be larger",
                "one PUT for each blob; chunks only to resume, below 4 MiB",
                "github.com/oras-project/rust-oci-client/issues/35; ocx-sh/ocx#237",
            ),
            Fact(
                ("referrers",),
                "has no referrers API",
                "the tag schema, written until our entry is in it",
                "github.com/orgs/community/discussions/208530",
            ),
            Fact(
                ("head_redirects",),
                "redirects to a storage that answers 403 to HEAD",
                "HEAD stays at the registry",
                "github.com/containerd/stargz-snapshotter/pull/167",
            ),
            Fact(("catalog",), "keeps _catalog to itself", "we say so", _SPEC),
            Fact(
                (),
                "gives an upload 10 minutes, and a layer 10 GB",
                "the size is the registry's to refuse",
                "docs.github.com, Working with the Container registry, Troubleshooting",
            ),
        ),
    ),
    Quirks(
        Family.DOCKER_HUB,
        "Docker Hub",
        streaming=True,
        referrers=Referrers.CLAIMED,
        catalog=False,
        token_seconds=300,
        rate_headers=True,
        hints=(
            ("pull rate limit", "Log in with: installml login docker.io, or use a mirror (docs/guides/registries.md)."),
        ),
        facts=(
            _STREAMS,
            Fact(
                ("referrers",),
                "has sent OCI-Subject without keeping a list",
                "the API must answer with an index before it is believed; else the tag schema",
                "docker/hub-feedback#2372; by awslabs/soci-snapshotter#1828 it keeps one since 2025",
            ),
            Fact(("catalog",), "keeps _catalog to itself", "we say so", _SPEC),
            Fact(
                ("token_seconds",),
                "gives tokens for 5 minutes",
                "a new one 30 seconds before",
                "expires_in of its tokens",
            ),
            Fact(
                ("rate_headers", "hints"),
                "limits pulls and says how many are left",
                "doctor shows it; a 429 says when to come back",
                "docs.docker.com/docker-hub/usage/pulls",
            ),
        ),
    ),
    Quirks(
        Family.ACR,
        "Azure Container Registry",
        streaming=True,
        referrers=Referrers.YES,
        token_seconds=4500,
        facts=(
            _STREAMS,
            Fact(
                ("referrers",),
                "has the referrers API",
                "it is used",
                "learn.microsoft.com/azure/container-registry/container-registry-manage-artifact",
            ),
            Fact(
                ("token_seconds",),
                "wants identity tokens exchanged (oauth2), refuses when asked too often: 429 with Retry-After",
                "identity tokens are exchanged; Retry-After is kept",
                "learn.microsoft.com/azure/container-registry/container-registry-skus; Azure/acr docs/AAD-OAuth.md",
            ),
        ),
    ),
    Quirks(
        Family.GITLAB,
        "GitLab Container Registry",
        streaming=True,
        resume=True,
        token_seconds=300,
        hints=(
            (
                "unknown media type",
                f"GitLab takes only media types that it knows; ask its owner to allow {_TYPES_HINT}, or use a Harbor, "
                "zot or distribution registry.",
            ),
        ),
        facts=(
            Fact(("streaming", "resume"), "is a fork of distribution", "as with distribution", _DOCKER_WAY),
            Fact(
                ("token_seconds",),
                "gives tokens for 5 minutes unless its owner says otherwise",
                "a new one 30 seconds before",
                "docs.gitlab.com, Container registry token duration",
            ),
            Fact(
                ("hints",),
                "refuses config and artifact types that it does not know: MANIFEST_INVALID, unknown media type",
                "the refusal says so",
                "gitlab.com/gitlab-org/container-registry/-/issues/951; ocx-sh/ocx#480",
            ),
        ),
    ),
    Quirks(
        Family.QUAY,
        "Quay",
        streaming=True,
        referrers=Referrers.YES,
        hints=(
            (
                "media type",
                _QUAY_HINT,
            ),
            (
                "mediatype",
                _QUAY_HINT,
            ),
        ),
        facts=(
            _STREAMS,
            Fact(("referrers",), "has the referrers API", "it is used", "github.com/sigstore/docs/issues/372"),
            Fact(
                ("hints",),
                "refuses config types that its owner has not allowed",
                "the refusal says which setting",
                "docs.redhat.com, Red Hat Quay, Configuring artifact types; oras-project/oras#738",
            ),
        ),
    ),
    Quirks(
        Family.GGCR,
        "go-containerregistry",
        streaming=True,
        mount=False,
        referrers=Referrers.NO,
        open_ranges=False,
        facts=(
            _STREAMS,
            Fact(("mount",), "opens an upload instead of mounting", "that upload is used", _CLAUSES),
            _NO_REFERRERS,
            Fact(("open_ranges",), "answers bytes=N- with 416", "both ends of a range are always given", _CLAUSES),
        ),
    ),
)

FAMILIES: Mapping[Family, Quirks] = MappingProxyType({row.family: row for row in _ROWS})
"""Every row by its family."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """A header whose value, when ``pattern`` is found in it, tells the family."""

    header: str
    pattern: str  # in any case; compiled when an answer has the header, which is true of few of them
    family: Family


_CHALLENGE = "WWW-Authenticate"
_SIGNS = (
    _Sign("GitLab-Container-Registry-Version", "", Family.GITLAB),
    _Sign("Server", r"^installml-registry\b", Family.OURS),
    _Sign("Server", r"^AzureContainerRegistry", Family.ACR),
    _Sign("Server", r"^zot\b", Family.ZOT),
    _Sign("X-GitHub-Request-Id", "", Family.GHCR),
    _Sign(_CHALLENGE, r'realm="installml registry"|service="installml-registry"', Family.OURS),
    _Sign(_CHALLENGE, r'service="harbor-registry"|realm="harbor"', Family.HARBOR),
    _Sign(_CHALLENGE, r'service="ecr\.amazonaws\.com"|service="public\.ecr\.aws"', Family.ECR),
    _Sign(_CHALLENGE, r'service="ghcr\.io"', Family.GHCR),
    _Sign(_CHALLENGE, r'service="registry\.docker\.io"', Family.DOCKER_HUB),
    _Sign(_CHALLENGE, r'realm="https?://[^"/]+/oauth2/token",\s*service="[^"]+\.azurecr\.[a-z]+"', Family.ACR),
    _Sign(_CHALLENGE, r'realm="https?://[^"/]+/jwt/auth",\s*service="container_registry"', Family.GITLAB),
    _Sign(_CHALLENGE, r'realm="https?://[^"/]+/v2/auth"', Family.QUAY),
    _Sign(_CHALLENGE, r'realm="https?://(?:[^"/]+\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)/v2/token"', Family.GAR),
    _Sign(_CHALLENGE, r'service="(?:[^"]+\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)"', Family.GAR),
    _Sign(_CHALLENGE, r'realm="zot"|realm="https?://[^"]*/zot/auth', Family.ZOT),
    _Sign("Blob-Upload-UUID", "", Family.ZOT),
    # distribution carries the state of an upload in its address; version 3 numbers uploads with UUIDs that hold the
    # time (version 7), version 2 with random ones (version 4): own observation.
    _Sign("Location", r"/blobs/uploads/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]+\?_state=", Family.DISTRIBUTION3),
    _Sign("Location", r"/blobs/uploads/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f-]+\?_state=", Family.DISTRIBUTION2),
    _Sign("Location", r"/blobs/uploads/\d{10,20}$", Family.GGCR),
)
"""In this order: what a family says of itself before what it merely has. Sources: the answers themselves, as their
users have recorded them, and own observation of those that run in our tests."""

_NAMES = {
    "docker.io": Family.DOCKER_HUB,
    "gcr.io": Family.GAR,
    "ghcr.io": Family.GHCR,
    "public.ecr.aws": Family.ECR,
    "quay.io": Family.QUAY,
    "registry.gitlab.com": Family.GITLAB,
}
_ENDINGS = {
    ".gcr.io": Family.GAR,
    ".pkg.dev": Family.GAR,
    ".azurecr.io": Family.ACR,
    ".azurecr.cn": Family.ACR,
    ".azurecr.us": Family.ACR,
}
_ECR = r"\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$"


def by_host(host: str) -> Quirks:
    """Return the row that the name of a registry tells, ``UNKNOWN`` for most."""
    name = hostname(canonical_host(host))
    family = _NAMES.get(name) or next((known for ending, known in _ENDINGS.items() if name.endswith(ending)), None)
    if family is None and ".dkr.ecr" in name and re.search(_ECR, name):
        family = Family.ECR
    return FAMILIES[family] if family else UNKNOWN


def recognise(headers: Mapping[str, str], status: int = 200) -> Quirks | None:
    """Return the row that the head of an answer tells, or None when it says nothing.

    Args:
        headers: Of any answer of the registry itself; names in any case.
        status: Its status: the address in a redirect says nothing about who redirects.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    for sign in _SIGNS:
        value = by_name.get(sign.header.lower())
        if value is None or (sign.header == "Location" and status not in {202, 204}):
            continue
        if re.search(sign.pattern, _shown(value) if sign.header == "Location" else value, re.IGNORECASE):
            return FAMILIES[sign.family]
    return None


def _shown(location: str) -> str:
    """Return path and query of an address, whichever form it has."""
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
