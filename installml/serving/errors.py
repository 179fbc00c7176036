"""What can go wrong while serving, each with the HTTP status that the protocol's front gives it."""

from __future__ import annotations

from typing import ClassVar

from ..errors import ModelError, NotFound, UsageError

__all__ = [
    "EngineUnsupported",
    "ModelFailed",
    "ModelUnavailable",
    "ModelUnknown",
    "RequestInvalid",
    "RequestTooLarge",
    "ServerFailed",
    "ServerNotFound",
    "TokenMissing",
    "WorkerFailed",
]


class RequestInvalid(UsageError):
    """An inference request that the model cannot take; the message names the input."""

    reference = "request-invalid"
    default_hint = "See what the model takes with: curl URL/v2/models/NAME"
    status: ClassVar[int] = 400


class RequestTooLarge(RequestInvalid):
    """A request body beyond the server's limit."""

    reference = "request-too-large"
    default_hint = "Send fewer rows in one request."
    status = 413


class ModelUnknown(NotFound):
    """The server has no model, or no version of it, under that name."""

    reference = "model-unknown"
    default_hint = "See what is being served with: installml ps"
    status: ClassVar[int] = 404


class ModelFailed(ModelError):
    """The model raised an exception, or answered with what the protocol cannot carry."""

    reference = "model-failed"
    default_hint = "See where with: installml logs NAME"
    status: ClassVar[int] = 500


class ModelUnavailable(ModelError):
    """The model cannot answer now: loading, restarting, too many requests at once."""

    reference = "model-unavailable"
    default_hint = "Try again in a moment; see why with: installml logs NAME"
    status: ClassVar[int] = 503


class WorkerFailed(ModelError):
    """The model's process could not be started or could not load the model."""

    reference = "worker-failed"


class EngineUnsupported(ModelError):
    """No worker of this version knows the package's engine."""

    reference = "engine-unsupported"


class ServerFailed(ModelError):
    """The server did not come up, or does not answer."""

    reference = "model-server-failed"


class ServerNotFound(NotFound):
    """No server of that name runs on this machine."""

    reference = "server-not-found"
    default_hint = "See what is being served with: installml ps"


class TokenMissing(UsageError):
    """A server that others can reach needs a token."""

    reference = "token-missing"
    default_hint = "Serve on 127.0.0.1, or give a token with --token-file FILE."
