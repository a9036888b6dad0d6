"""Metrics of worker processes: served while they work, a taken port told in one line."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import httpx
import pytest

from tests.support.waiting import wait_until
from tracker import evaluate, watch
from tracker.embedded.children import free_port, port_is_free
from tracker.errors import SetupError
from tracker.exporter import exported_metrics
from tracker.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("run", "metric"),
    [
        (watch.run, "tracker_clocks_total"),
        (evaluate.run, "tracker_judge_batch_seconds_count"),
    ],
    ids=["watch", "evaluate"],
)
def test_a_process_serves_its_metrics_until_it_ends(
    database: str, run: Callable[[Settings, threading.Event], None], metric: str
) -> None:
    port, stop = free_port(), threading.Event()
    settings = load_settings(database_url=database, metrics_port=port)
    process = threading.Thread(target=run, args=(settings, stop))
    process.start()
    try:
        wait_until(lambda: not port_is_free(port), 60, "the port to be served")
        url = f"http://127.0.0.1:{port}/metrics"
        assert metric in httpx.get(url, trust_env=False, timeout=60).text
    finally:
        stop.set()
        process.join()
    assert port_is_free(port)


def test_without_a_port_nothing_is_served() -> None:
    before = set(threading.enumerate())  # those of earlier tests may be about to end
    with exported_metrics(load_settings()):
        assert set(threading.enumerate()) <= before


def test_a_taken_port_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings(metrics_port=taken.getsockname()[1])
        with (
            pytest.raises(SetupError, match=r"TRACKER_METRICS_PORT of its own"),
            exported_metrics(settings),
        ):
            pytest.fail("it must not begin")
