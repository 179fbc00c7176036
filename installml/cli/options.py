"""Every flag and argument spelled once, with its help; verbs take them as annotations.

``Common`` are the flags of every verb, accepted before its name and after it; the later one wins.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from .complete import complete_installed, complete_key, complete_reference
from .screen import Color

__all__ = [
    "AdvisoriesOpt",
    "AllOpt",
    "AllowDowngradeOpt",
    "AllowUnsignedOpt",
    "AnonymousPullOpt",
    "AttestationsOpt",
    "BlockFrom",
    "BlockOpt",
    "CheckpointOpt",
    "Classic",
    "ClassicOpt",
    "ColorOpt",
    "Common",
    "CosignOpt",
    "DebugOpt",
    "DecidedArg",
    "DescribedArg",
    "DestinationArg",
    "DetachOpt",
    "DryRunOpt",
    "EndedOpt",
    "ExaminedArg",
    "ExpiresOpt",
    "FolderArg",
    "FollowOpt",
    "ForceOpt",
    "Format",
    "FormatOpt",
    "FromOpt",
    "HomeOpt",
    "HostOpt",
    "HtpasswdOpt",
    "IdentityGlobOpt",
    "IdentityOpt",
    "IdentityTokenOpt",
    "InputOpt",
    "InsecureOpt",
    "InstalledArg",
    "IssuerOpt",
    "JobsOpt",
    "KeyArg",
    "KeyOpt",
    "KeySourceArg",
    "KeylessOpt",
    "LimitRateOpt",
    "LocalOpt",
    "NameOpt",
    "NewKeyArg",
    "NewTagArg",
    "NoPassphraseOpt",
    "OfflineOpt",
    "OnlyOpt",
    "OpinionsOpt",
    "OptionalDestinationArg",
    "OptionalKeyArg",
    "OptionalPrefixArg",
    "OptionalRefArg",
    "OptionalServerArg",
    "OutputOpt",
    "PasswordStdinOpt",
    "PatchFromOpt",
    "PathArg",
    "PlaceArg",
    "PolicyOpt",
    "PolicyVerb",
    "PolicyVerbArg",
    "PortOpt",
    "PredicateOpt",
    "PrefixArg",
    "Progress",
    "ProgressOpt",
    "ProvenanceOpt",
    "PublicKeyOpt",
    "QuietOpt",
    "RecordOpt",
    "RefArg",
    "RegistryArg",
    "RootOpt",
    "RotationOpt",
    "RuntimeOpt",
    "SbomOpt",
    "SbomSpec",
    "ScanFormat",
    "ScanFormatOpt",
    "ScanOpt",
    "ScannedArg",
    "ServedArg",
    "ServerArg",
    "SignOpt",
    "SourceArg",
    "SpecOpt",
    "StatementOpt",
    "SuppressionsOpt",
    "TagOpt",
    "TlsCertOpt",
    "TlsKeyOpt",
    "ToOpt",
    "TokenFileOpt",
    "TokenOpt",
    "ToleranceOpt",
    "TypeOpt",
    "UsernameOpt",
    "VerboseOpt",
    "VerifiedArg",
    "VersionOpt",
    "WriteOpt",
    "YesOpt",
]

_PANEL = "Options of every verb"


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


class BlockFrom(StrEnum):
    """From which severity a scan blocks: the values of ``--block``."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
    NEVER = "never"


class ScanFormat(StrEnum):
    """How a scan is written: the values of its ``--format``."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class SbomSpec(StrEnum):
    """How a bill of materials is written: the values of ``--spec``."""

    CYCLONEDX = "cyclonedx"
    CYCLONEDX_1_7 = "cyclonedx-1.7"
    SPDX = "spdx"


class Classic(StrEnum):
    """When to sign in cosign's classic form: the values of ``--cosign-classic``."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Progress(StrEnum):
    """How progress is shown: the values of ``--progress``."""

    AUTO = "auto"
    PLAIN = "plain"
    JSON = "json"


class PolicyVerb(StrEnum):
    """What can be done with the policy."""

    SHOW = "show"


FormatOpt = Annotated[
    Format | None,
    typer.Option(
        "--format", metavar="text|json", help="Text for people, or one JSON document.", rich_help_panel=_PANEL
    ),
]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notices.", rich_help_panel=_PANEL)]
VerboseOpt = Annotated[bool, typer.Option("--verbose", "-v", help="Name every blob.", rich_help_panel=_PANEL)]
OfflineOpt = Annotated[
    bool, typer.Option("--offline", help="Use nothing but what is on this machine.", rich_help_panel=_PANEL)
]
HomeOpt = Annotated[
    str, typer.Option("--home", metavar="DIR", help="Folder of store, models and runtimes.", rich_help_panel=_PANEL)
]
InsecureOpt = Annotated[
    bool, typer.Option("--insecure", help="Speak plain http to registries.", rich_help_panel=_PANEL)
]
JobsOpt = Annotated[
    int | None,
    typer.Option("--jobs", metavar="N", help="Most connections at once.", min=1, max=64, rich_help_panel=_PANEL),
]
LimitRateOpt = Annotated[
    str,
    typer.Option(
        "--limit-rate",
        metavar="RATE",
        help="Most bytes a second to move in all: 10MiB/s, 10M, 80Mbit/s; 0 is no limit.",
        rich_help_panel=_PANEL,
    ),
]
PolicyOpt = Annotated[
    str,
    typer.Option(
        "--policy", metavar="FILE", help="Trust policy, asked before your own trust.toml.", rich_help_panel=_PANEL
    ),
]
ProgressOpt = Annotated[
    Progress | None,
    typer.Option(
        "--progress",
        metavar="auto|plain|json",
        help="How waiting looks: bars or lines as the terminal can, lines, or JSON lines on standard output.",
        rich_help_panel=_PANEL,
    ),
]
ColorOpt = Annotated[
    Color | None,
    typer.Option(
        "--color", metavar="auto|always|never", help="When to colour; NO_COLOR is honoured.", rich_help_panel=_PANEL
    ),
]
DebugOpt = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.", rich_help_panel=_PANEL)]


@dataclass(frozen=True, slots=True)
class Common:
    """What the flags of every verb said; the default means: not given."""

    format: FormatOpt = None
    quiet: QuietOpt = False
    verbose: VerboseOpt = False
    offline: OfflineOpt = False
    home: HomeOpt = ""
    insecure: InsecureOpt = False
    jobs: JobsOpt = None
    limit_rate: LimitRateOpt = ""
    policy: PolicyOpt = ""
    progress: ProgressOpt = None
    color: ColorOpt = None
    debug: DebugOpt = False

    def over(self, earlier: Common) -> Common:
        """Return what holds when ``earlier`` stood before the verb and these after it."""
        given = {f.name: value for f in dataclasses.fields(self) if (value := getattr(self, f.name)) not in (None, "")}
        return dataclasses.replace(earlier, **{k: v or getattr(earlier, k) for k, v in given.items()})

    def settings(self) -> dict[str, Any]:
        """Return what they say about settings, for ``installml.config.load``."""
        return {
            "home": self.home,
            "jobs": self.jobs,
            "limit_rate": self.limit_rate,
            "policy": self.policy,
            "offline": self.offline or None,
            "insecure": ("*",) if self.insecure else (),
        }


def _argument(metavar: str, text: str, **more: Any) -> Any:
    return typer.Argument(metavar=metavar, help=text, show_default=False, **more)


RefArg = Annotated[
    str, _argument("REF", "[registry/]name[:tag|@digest]: which package.", autocompletion=complete_reference)
]
OptionalRefArg = Annotated[
    str,
    _argument("REF", "Only this package; all when left out.", autocompletion=complete_reference),
]
InstalledArg = Annotated[str, _argument("REF", "The installed model.", autocompletion=complete_installed)]
ServedArg = Annotated[
    str, _argument("TARGET", "Installed model, package or model folder.", autocompletion=complete_installed)
]
ServerArg = Annotated[str, _argument("SERVER", "Model name, or id of a server or transfer.")]
OptionalServerArg = Annotated[str, _argument("SERVER", "Model name, or id of a server or transfer.")]
FolderArg = Annotated[str, _argument("DIR", "The model's folder.")]
SourceArg = Annotated[
    str, _argument("SOURCE", "Package in the local store, or a model folder.", autocompletion=complete_reference)
]
DescribedArg = Annotated[str, _argument("REF", "Which package, or a model folder.", autocompletion=complete_reference)]
PlaceArg = Annotated[
    str, _argument("SOURCE", "Reference, oci-layout:PATH[:tag] or dir:PATH.", autocompletion=complete_reference)
]
DestinationArg = Annotated[str, _argument("DESTINATION", "Reference, or oci-layout:PATH[:tag].")]
OptionalDestinationArg = Annotated[str, _argument("DESTINATION", "Where to; the source's own name when left out.")]
PathArg = Annotated[str, _argument("PATH", "Folder to write: PATH or oci-layout:PATH[:tag].")]
NewTagArg = Annotated[str, _argument("TAG", "The new tag.")]
RegistryArg = Annotated[str, _argument("REGISTRY", "Host and optional port, such as ghcr.io.")]
ExaminedArg = Annotated[
    str,
    _argument(
        "REGISTRY",
        "Look at this registry instead of this machine; with a repository, REGISTRY/NAME, at what is in it too.",
    ),
]

AllowUnsignedOpt = Annotated[bool, typer.Option("--allow-unsigned", help="Accept a package that nobody vouches for.")]
OnlyOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="GLOB",
        help="Only the files that it means, such as '*.safetensors'; may be given several times.",
        show_default=False,
    ),
]
CheckpointOpt = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="NAME",
        help="Only the files of this checkpoint, and those that belong to none.",
        show_default=False,
    ),
]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; change nothing.")]
WriteOpt = Annotated[
    bool,
    typer.Option("--write", help="Push a few small things into the repository to see what it takes; remove them."),
]
YesOpt = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
FromOpt = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="VERSION|REF",
        help="Also say how many bytes an update from there would fetch.",
        show_default=False,
    ),
]
SpecOpt = Annotated[
    SbomSpec,
    typer.Option(
        "--spec",
        metavar="cyclonedx|cyclonedx-1.7|spdx",
        help="CycloneDX 1.6 (ML-BOM) or 1.7, or SPDX 3.0 (AI profile).",
    ),
]
ScannedArg = Annotated[
    str, _argument("TARGET", "Which package, or a folder or file.", autocompletion=complete_reference)
]
BlockOpt = Annotated[
    BlockFrom,
    typer.Option(
        "--block", metavar="SEVERITY", help="Exit 4 from this severity on: info, low, medium, high, critical or never."
    ),
]
SuppressionsOpt = Annotated[
    str,
    typer.Option(
        "--suppressions",
        metavar="FILE",
        help="TOML file of findings that somebody answers for, each with reason and expiry.",
        show_default=False,
    ),
]
AdvisoriesOpt = Annotated[
    str,
    typer.Option(
        "--advisories",
        metavar="PATH",
        help="File or folder of OSV documents to compare locked Python packages with.",
        show_default=False,
    ),
]
OpinionsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--opinion",
        metavar="SCANNER",
        help="Ask picklescan, modelaudit-picklescan or trivy as well; may be given several times.",
        show_default=False,
    ),
]
ScanFormatOpt = Annotated[
    ScanFormat | None,
    typer.Option(
        "--format", metavar="text|json|sarif", help="Text for people, one JSON document, or SARIF 2.1.0 for code hosts."
    ),
]
OutputOpt = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="File to write instead.", show_default=False)
]
PrefixArg = Annotated[str, _argument("PREFIX", "Registry, with or without a path, such as ghcr.io/acme.")]
OptionalPrefixArg = Annotated[str, _argument("PREFIX", "Only what is under it; everything when left out.")]
DecidedArg = Annotated[
    str, _argument("REF", "Also say which rule decides about this package.", autocompletion=complete_reference)
]
PolicyVerbArg = Annotated[PolicyVerb, _argument("show", "What to do with it: show.")]
PublicKeyOpt = Annotated[
    str,
    typer.Option(
        "--key", metavar="KEY", help="Public key file, name of a key here, or sha256:<hex>.", show_default=False
    ),
]
IdentityOpt = Annotated[
    str,
    typer.Option(
        "--identity", metavar="WHO", help="E-mail address or URI of a certificate, exactly.", show_default=False
    ),
]
IdentityGlobOpt = Annotated[
    str,
    typer.Option(
        "--identity-glob",
        metavar="GLOB",
        help="The same with * (no / and no @) and ** (anything).",
        show_default=False,
    ),
]
IssuerOpt = Annotated[
    str, typer.Option("--issuer", metavar="URL", help="Who vouches for the identity, exactly.", show_default=False)
]
StatementOpt = Annotated[
    str,
    typer.Option(
        "--statement",
        metavar="FILE",
        help="Statement by which the trusted key hands over to the next.",
        show_default=False,
    ),
]
AllowDowngradeOpt = Annotated[
    bool, typer.Option("--allow-downgrade", help="Accept a package that is older than one seen under its name.")
]
NewKeyArg = Annotated[str, _argument("NAME", "What the key will be called here.")]
KeyArg = Annotated[str, _argument("NAME", "The key: NAME, or NAME@VERSION.", autocompletion=complete_key)]
OptionalKeyArg = Annotated[
    str, _argument("NAME", "What the key will be called here; the file's name without its ending when left out.")
]
KeySourceArg = Annotated[
    str, _argument("SOURCE", "PEM file, cosign.key, or a URI such as hsm:2?label=token or awskms:alias/release.")
]
NoPassphraseOpt = Annotated[
    bool, typer.Option("--no-passphrase", help="Keep the private key open: whoever can read the file can sign.")
]
CosignOpt = Annotated[
    str,
    typer.Option(
        "--cosign",
        metavar="PREFIX",
        help="Write PREFIX.key and PREFIX.pub for cosign, under the same passphrase.",
        show_default=False,
    ),
]
KeyOpt = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="NAME|FILE|URI",
        help="Sign with this key: its name here, a key file, or the URI of a device or service.",
        show_default=False,
    ),
]
VerifiedArg = Annotated[
    str, _argument("TARGET", "Which package, or a folder with model.sig in it.", autocompletion=complete_reference)
]
ClassicOpt = Annotated[
    Classic,
    typer.Option(
        "--cosign-classic",
        metavar="auto|on|off",
        help="Sign in cosign's classic form too: where the registry needs it, always, never.",
    ),
]
ExpiresOpt = Annotated[
    str,
    typer.Option(
        "--expires", metavar="DURATION", help="How long the signature counts, such as 90d.", show_default=False
    ),
]
KeylessOpt = Annotated[
    bool,
    typer.Option("--keyless", help="Sign as yourself or as this CI job, by Sigstore; who that is becomes public."),
]
IdentityTokenOpt = Annotated[
    str,
    typer.Option(
        "--identity-token",
        metavar="FILE",
        help="Identity token to sign as, with --keyless; - is stdin.",
        show_default=False,
    ),
]
SbomOpt = Annotated[bool, typer.Option("--sbom", help="Also sign and attach the bill of materials.")]
ProvenanceOpt = Annotated[bool, typer.Option("--provenance", help="Also sign and attach how it was built.")]
ScanOpt = Annotated[bool, typer.Option("--scan", help="Also scan it, and sign and attach what was found.")]
SignOpt = Annotated[bool, typer.Option("--sign", help="Sign what was pushed.")]
PredicateOpt = Annotated[
    str, typer.Option("--predicate", metavar="FILE", help="JSON object with what is said; - is stdin.")
]
TypeOpt = Annotated[
    str,
    typer.Option("--type", metavar="TYPE", help="A URI, or sbom, spdx, provenance or scan: what kind of statement."),
]
AttestationsOpt = Annotated[
    bool, typer.Option("--attestations", help="Also list what is signed about it; that is not trust yet.")
]
RotationOpt = Annotated[
    bool, typer.Option("--rotation", help="Print the statement by which the version before handed over to this one.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace the recipe that is there.")]
NameOpt = Annotated[str, typer.Option("--name", metavar="NAME", help="The package's name.", show_default=False)]
VersionOpt = Annotated[str, typer.Option("--version", metavar="VERSION", help="Its version.", show_default=False)]
TagOpt = Annotated[
    str, typer.Option("--tag", "-t", metavar="REF", help="Reference to build under.", show_default=False)
]
PatchFromOpt = Annotated[
    str,
    typer.Option(
        "--patch-from",
        metavar="REF",
        help="Also attach patches from this version, for those who have it.",
        show_default=False,
    ),
]
ToOpt = Annotated[str, typer.Option("--to", metavar="REF", help="Build straight into a registry.", show_default=False)]
LocalOpt = Annotated[bool, typer.Option("--local", help="The local store instead of the registry.")]
RuntimeOpt = Annotated[
    bool, typer.Option("--runtime/--no-runtime", help="Make the runtime environment.", show_default=False)
]
UsernameOpt = Annotated[
    str,
    typer.Option("--username", "-u", metavar="NAME", help="User name; asked for when left out.", show_default=False),
]
PasswordStdinOpt = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
HostOpt = Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen on.")]
PortOpt = Annotated[int, typer.Option("--port", metavar="PORT", help="Port; 0 takes a free one.", min=0, max=65535)]
TokenFileOpt = Annotated[
    str,
    typer.Option("--token-file", metavar="FILE", help="File with the bearer token; - is stdin.", show_default=False),
]
TlsCertOpt = Annotated[
    str, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.", show_default=False)
]
TlsKeyOpt = Annotated[str, typer.Option("--tls-key", metavar="FILE", help="Its key, PEM.", show_default=False)]
DetachOpt = Annotated[bool, typer.Option("--detach", "-d", help="Leave it running and return.")]
InputOpt = Annotated[
    str,
    typer.Option(
        "--input",
        "-i",
        metavar="FILE",
        help='JSON: a v2 inference request or {"input": values}; - is stdin. The packaged example when left out.',
        show_default=False,
    ),
]
RecordOpt = Annotated[bool, typer.Option("--record", help="Write the answer as the expected one.")]
ToleranceOpt = Annotated[
    float | None,
    typer.Option("--tolerance", metavar="NUMBER", help="Allowed difference; the package's own when left out."),
]
FollowOpt = Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")]
AllOpt = Annotated[bool, typer.Option("--all", help="Every server and transfer of this machine.")]
EndedOpt = Annotated[bool, typer.Option("--all", "-a", help="Also transfers whose end was shown before.")]
RootOpt = Annotated[str, typer.Option("--root", metavar="DIR", help="The registry's folder.", show_default=False)]
HtpasswdOpt = Annotated[
    str, typer.Option("--htpasswd", metavar="FILE", help="Names and bcrypt hashes.", show_default=False)
]
AnonymousPullOpt = Annotated[bool, typer.Option("--anonymous-pull", help="Let everybody read.")]
TokenOpt = Annotated[bool, typer.Option("--token", help="Issue bearer tokens instead of Basic.")]
