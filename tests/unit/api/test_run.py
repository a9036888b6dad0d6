"""The server as a process module runs it: started with settings, ended by an event."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import httpx
import pytest

from tests.support.waiting import wait_until
from tracker.api.app import create_app, run
from tracker.errors import SetupError
from tracker.settings import Settings

SECRET = "a secret of at least thirty-two characters"
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_it_serves_until_it_is_told_to_stop() -> None:
    settings = Settings(secret_key=SECRET, database_url=NOWHERE, http_port=_free_port())
    stop = threading.Event()
    server = threading.Thread(target=run, args=(settings, stop))
    server.start()
    base = f"http://127.0.0.1:{settings.http_port}"

    def status() -> int:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{base}/api/openapi.json", trust_env=False, timeout=30).status_code
        return 0

    try:
        wait_until(lambda: status() == 200, 60, "the server's answer")
        form = {"username": "u", "password": "p"}
        answer = httpx.post(f"{base}/api/v1/auth/token", data=form, trust_env=False, timeout=60)
        assert answer.status_code == 503  # no database; said so, not a fault
        assert answer.headers["content-type"] == "application/problem+json"
    finally:
        stop.set()
        server.join(60)
    assert not server.is_alive()


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        settings = Settings(secret_key=SECRET, database_url=NOWHERE, http_port=port)
        with pytest.raises(SetupError, match="TRACKER_HTTP_PORT"):
            run(settings, threading.Event())


def test_it_needs_a_secret() -> None:
    with pytest.raises(SetupError, match="TRACKER_SECRET_KEY"):
        create_app(Settings())
