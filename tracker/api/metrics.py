"""Prometheus metrics: what this process did, and what the database says of the whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracker.db import leases
from tracker.db import reading_health as health
from tracker.db.connect import Database, raw

log = structlog.get_logger(__name__)


class Metrics:
    """The registry of one application."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(DatabaseCollector(database))
        labels = ("method", "route", "status")
        self.requests = Counter(
            "tracker_http_requests", "HTTP calls answered.", labels, registry=self._registry
        )
        self.seconds = Histogram(
            "tracker_http_request_seconds",
            "Time until the answer began, s.",
            ("method", "route"),
            registry=self._registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )

    def render(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self._registry)


class DatabaseCollector(Collector):
    """Gauges read from the database when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing: registering must not open a connection."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the gauges; without a database there is only ``tracker_database_up 0``."""
        try:
            with self._database.read() as session:
                found = list(_gauges(raw(session)))
        except (psycopg.Error, SQLAlchemyError) as exc:
            log.warning("metrics_without_database", error=str(exc))
            found = []
        yield _gauge("tracker_database_up", "Whether the database answers.", int(bool(found)))
        yield from found


def _gauges(conn: psycopg.Connection[Any]) -> Iterator[Metric]:
    yield _gauge(
        "tracker_dirty_deliveries", "Deliveries not judged yet.", health.dirty_deliveries(conn)
    )
    yield _gauge(
        "tracker_evaluator_lag_seconds", "Age of the oldest mark.", health.evaluator_lag_s(conn)
    )
    yield _gauge(
        "tracker_telemetry_rows_estimate",
        "Stored records, by the planner's estimate.",
        health.telemetry_estimate(conn),
    )
    yield _gauge("tracker_outbox_newest_id", "Newest event.", health.outbox_newest(conn))
    yield _gauge(
        "tracker_quarantine_over_limit",
        "Refused records beyond a device's bound: counted, not kept.",
        health.quarantine_over_limit(conn),
    )
    yield _family(
        "tracker_quarantine_records",
        "Refused records that are kept.",
        "reason",
        health.quarantine_by_reason(conn),
    )
    yield _family(
        "tracker_alerts_unresolved",
        "Alerts that somebody must handle.",
        "severity",
        health.unresolved_alerts(conn),
    )
    yield _family("tracker_deliveries", "Deliveries.", "status", health.deliveries_by_status(conn))
    yield from _ingest(leases.fleet(conn))


def _ingest(fleet: leases.Fleet) -> Iterator[Metric]:
    yield _gauge("tracker_ingest_workers", "Live ingest workers.", fleet.workers)
    yield _gauge("tracker_ingest_sessions", "Their sessions at the broker.", fleet.sessions_up)
    yield _gauge(
        "tracker_broker_messages_dropped",
        "Messages the broker dropped since its start: its queue was full.",
        fleet.dropped,
    )
    yield _gauge("tracker_broker_messages_held", "Messages the broker stores.", fleet.held)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


def _family(name: str, words: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


class HttpMetrics:
    """Counts calls by the route's template, never by the address: addresses are without bound."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, counted)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
