"""A cheap publisher: packets encoded beforehand, QoS 1, over one raw socket (MQTT 3.1.1)."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress

TICK_S = 0.01
ANSWER_S = 20.0

CONNECT, CONNACK, PUBLISH_QOS1, DISCONNECT = 0x10, 0x20, 0x32, b"\xe0\x00"
PUBACK_BYTES = 4


def publish_packet(topic: str, payload: bytes, number: int) -> bytes:
    """A PUBLISH at QoS 1; ``number``: of the packet, for its id of 1–65535."""
    name = topic.encode("ascii")
    id_ = number % 65_535 + 1
    body = len(name).to_bytes(2, "big") + name + id_.to_bytes(2, "big") + payload
    return bytes([PUBLISH_QOS1]) + _length(len(body)) + body


def _length(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


class Publisher:
    """One connection to the broker."""

    def __init__(self, host: str, port: int) -> None:
        self.acked_bytes = 0
        self._socket = socket.create_connection((host, port), ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = b"bench-publisher"
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name
        self._socket.sendall(bytes([CONNECT]) + _length(len(body)) + body)
        answer = self._socket.recv(4)
        if len(answer) != 4 or answer[0] != CONNACK or answer[3] != 0:
            raise RuntimeError(f"the broker refused the publisher: {answer!r}")

    def play(self, packets: Sequence[bytes], rate: float) -> list[float]:
        """Publish at a steady rate; when each packet was handed over (``perf_counter``)."""
        at: list[float] = []
        begin = time.perf_counter()
        while len(at) < len(packets):
            now = time.perf_counter()
            due = min(len(packets), int((now - begin) * rate) + 1)
            if due > len(at):
                chunk = b"".join(packets[len(at) : due])
                at += [now] * (due - len(at))
                self._socket.sendall(chunk)
            self._take_acks()
            time.sleep(TICK_S)
        return at

    def wait_acked(self, packets: int) -> None:
        """Wait until the broker has taken them all."""
        while self.acked_bytes < packets * PUBACK_BYTES:
            self.acked_bytes += len(self._socket.recv(65_536))

    def _take_acks(self) -> None:
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while data := self._socket.recv(65_536):
                self.acked_bytes += len(data)
        self._socket.settimeout(ANSWER_S)

    def close(self) -> None:
        """Leave."""
        with suppress(OSError):
            self._socket.sendall(DISCONNECT)
        self._socket.close()
