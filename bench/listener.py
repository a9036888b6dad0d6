"""Listens to the event stream of a real API and notes when a delivery's cut rope was told."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time

import httpx

OPEN_S = 30.0


class Listener:
    """Reads the stream on a thread of its own, as cheaply as it can."""

    def __init__(self, port: int, username: str, password: str) -> None:
        self.told_s: dict[str, float] = {}
        self.fault = ""
        form = {"username": username, "password": password}
        url = f"http://127.0.0.1:{port}/api/v1/auth/token"
        answer = httpx.post(url, data=form, timeout=OPEN_S).raise_for_status()
        self._conn = http.client.HTTPConnection("127.0.0.1", port, timeout=OPEN_S)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        self._conn.request("GET", "/api/v1/stream", headers=headers)
        self._socket = self._conn.sock
        self._answer = self._conn.getresponse()
        if self._answer.status != 200:
            raise RuntimeError(f"the stream answered {self._answer.status}")
        self._open = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        if not self._open.wait(OPEN_S):
            raise RuntimeError("the stream did not begin")

    def close(self) -> None:
        """End listening."""
        self._closing = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(OPEN_S)
        self._conn.close()

    def _read(self) -> None:
        rest = b""
        try:
            while data := self._answer.read1(1 << 16):
                self._open.set()
                now = time.perf_counter()
                *frames, rest = (rest + data).split(b"\n\n")
                for frame in frames:
                    if b"seal_cut" in frame:
                        self._note(frame, now)
            ended = "the stream ended"
        except (OSError, http.client.HTTPException) as exc:
            ended = str(exc)
        if not self._closing:
            self.fault = ended

    def _note(self, frame: bytes, now: float) -> None:
        lines = dict(line.partition(b": ")[::2] for line in frame.split(b"\n"))
        if lines.get(b"event") == b"alert":
            self.told_s.setdefault(json.loads(lines[b"data"])["delivery_id"], now)
