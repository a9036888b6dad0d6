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
        wait_until(lambda: not port_is_free(port), 10, "the port to be served")
        assert metric in httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    finally:
        stop.set()
        process.join()
    assert port_is_free(port)


def test_without_a_port_nothing_is_served() -> None:
    before = threading.active_count()
    with exported_metrics(load_settings()):
        assert threading.active_count() == before


def test_a_taken_port_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings(metrics_port=taken.getsockname()[1])
        with (
            pytest.raises(SetupError, match=r"TRACKER_METRICS_PORT of its own"),
            exported_metrics(settings),
        ):
            pytest.fail("it must not begin")
