"""The server's figures in Prometheus's text format, under KServe's names where it has one."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

from ..plan import ServePlan

__all__ = ["Metrics"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The figures of one server, in a registry of their own.

    Args:
        plan: What is served.
        pending: Returns how many requests are in flight.

    Attributes:
        predict_seconds: Time from a request's arrival in full to its answer.
    """

    def __init__(self, plan: ServePlan, pending: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        label, name = ("model_name",), plan.name
        seconds = Histogram(
            "request_predict_seconds", "Seconds to answer a request.", label, buckets=BUCKETS, registry=self._registry
        )
        flight = Gauge(
            "installml_requests_in_flight", "Requests taken in and not answered.", label, registry=self._registry
        )
        info = Info("installml_model", "The model being served.", label, registry=self._registry)
        flight.labels(name).set_function(pending)
        info.labels(name).info({"version": plan.version, "digest": plan.digest, "engine": plan.runtime.engine})
        self.predict_seconds = seconds.labels(name)

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its media type, as the scraper's ``Accept`` header wishes."""
        encoder, media_type = choose_encoder(accept)
        return encoder(self._registry), media_type
