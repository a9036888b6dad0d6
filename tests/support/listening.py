"""Listens to the event stream of the API."""

from __future__ import annotations

import threading
from typing import Any

import httpx


class Listener:
    """Reads the event stream on a thread and waits for events."""

    def __init__(
        self, client: httpx.Client, headers: dict[str, str] | None = None, **params: str
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self.news = threading.Condition()
        self._ended = threading.Event()
        self._opened = threading.Event()
        self._client = client
        self.fault = ""
        self._thread = threading.Thread(target=self._run, args=(headers or {}, params), daemon=True)
        self._thread.start()
        assert self._opened.wait(60)

    def _run(self, headers: dict[str, str], params: dict[str, str]) -> None:
        try:
            with self._client.stream(
                "GET", "/api/v1/stream", headers=headers, params=params, timeout=60
            ) as answer:
                self.status, self.type = answer.status_code, answer.headers["content-type"]
                event: dict[str, Any] = {}
                for line in answer.iter_lines():
                    if self._ended.is_set():
                        return
                    if line == ": ready":  # the headers come before it is listened for
                        self._opened.set()
                    elif line == "":
                        if event:
                            with self.news:
                                self.events.append(event)
                                self.news.notify_all()
                        event = {}
                    elif not line.startswith(":"):
                        key, _, value = line.partition(":")
                        event[key] = value.strip()
        except httpx.HTTPError as exc:
            self.fault = str(exc)  # the stack ends before its listeners
        finally:
            self._opened.set()

    def wait(self, kind: str, text: str, timeout: float = 60) -> dict[str, Any]:
        """The first event of this kind whose data holds the text."""

        def found() -> dict[str, Any] | None:
            return next(
                (e for e in self.events if e.get("event") == kind and text in e.get("data", "")),
                None,
            )

        with self.news:
            assert self.news.wait_for(found, timeout), (kind, text, self.events)
            return found() or {}
