"""Metrics of a worker process for Prometheus, on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import start_http_server

from tracker.errors import SetupError
from tracker.settings import Settings

log = structlog.get_logger(__name__)


@contextmanager
def exported_metrics(settings: Settings) -> Iterator[None]:
    """Serve this process's metrics while the context lasts, if the settings name a port.

    Raises:
        SetupError: the port is taken or the address is not this machine's.
    """
    port, host = settings.metrics_port, settings.metrics_host
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as exc:
        raise SetupError(
            f"metrics cannot be served on {host}:{port} ({exc.strerror}): give each process "
            "a TRACKER_METRICS_PORT of its own, or none"
        ) from exc
    log.info("metrics", host=host, port=port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
