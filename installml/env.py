"""Every environment variable that InstallML reads for itself, each with its sentence.

The names live here so that documentation and tests have one list. What it hands on to others is listed where that
happens: pip's and uv's variables in ``runtime.index``, a model's in ``serving.plan``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VARIABLES", "Variable"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    Attributes:
        name: The variable.
        setting: The dotted setting that it overrides, or empty when it is read for its own sake.
        summary: One sentence for the reference page.
    """

    name: str
    setting: str
    summary: str


VARIABLES: tuple[Variable, ...] = (
    Variable("INSTALLML_HOME", "home", "Folder of the store, installed models and runtimes."),
    Variable("INSTALLML_REGISTRY", "registry.default", "Registry (and path prefix) that a bare name refers to."),
    Variable("INSTALLML_CONFIG", "", "User configuration file, instead of the platform's place for it."),
    Variable("INSTALLML_JOBS", "jobs", "Most connections at the same time; how many are worth it is measured."),
    Variable("INSTALLML_LIMIT_RATE", "limit_rate", "Most bytes a second to move in all, such as 10MiB/s or 80Mbit/s."),
    Variable("INSTALLML_PART_SIZE", "part_size", "Bytes asked for in one request, such as 8MiB; 0 to find out."),
    Variable("INSTALLML_OFFLINE", "offline", "1 to use nothing but what is on this machine."),
    Variable("INSTALLML_INSECURE", "insecure", "Comma-separated registries that may be spoken to over plain http."),
    Variable("INSTALLML_KEY_PASSWORD", "", "Passphrase of signing keys (and PIN of tokens) where nobody can be asked."),
    Variable("INSTALLML_POLICY", "policy", "Trust policy that is asked before your own trust.toml."),
    Variable("INSTALLML_TRUST_CONFIG", "trust_config", "Sigstore's roots of trust, where not the public instance's."),
    Variable("INSTALLML_INDEX", "runtime.index", "Python package index for runtime environments."),
    Variable("INSTALLML_WHEELS", "runtime.wheels", "Folder of wheels for runtime environments without a network."),
    Variable("HF_HUB_CACHE", "", "Where Hugging Face's tools keep files; those that are named there are not fetched."),
    Variable("HF_HOME", "", "The folder above, whose hub/ it is; ~/.cache/huggingface."),
    Variable("OLLAMA_MODELS", "", "Where Ollama keeps models, which are not fetched either; ~/.ollama/models."),
    Variable("XDG_CACHE_HOME", "", "Where huggingface/hub is when nothing names it; ~/.cache."),
    Variable("NO_COLOR", "", "Any value turns colours off (no-color.org)."),
    Variable("DOCKER_CONFIG", "", "Folder of docker's config.json, where credentials are read and written."),
    Variable("REGISTRY_AUTH_FILE", "", "Podman's credentials file, read before the others."),
    Variable("XDG_RUNTIME_DIR", "", "Where podman keeps its auth.json."),
    Variable("XDG_CONFIG_HOME", "", "Where installml/config.toml and podman's other auth.json are; ~/.config."),
    Variable("XDG_DATA_HOME", "", "Where the store is when nothing names it, in a folder installml; ~/.local/share."),
    Variable("SSL_CERT_FILE", "", "Extra certificate authorities for https registries."),
    Variable("HTTP_PROXY", "", "Proxy for http registries; lower case works too."),
    Variable("HTTPS_PROXY", "", "Proxy for https registries; lower case works too."),
    Variable("ALL_PROXY", "", "Proxy for both, where theirs is not set; lower case works too."),
    Variable("NO_PROXY", "", "Hosts that are reached without the proxy."),
    Variable("SOURCE_DATE_EPOCH", "", "Build time in seconds, for reproducible packages (reproducible-builds.org)."),
)
