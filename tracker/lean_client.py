"""A paho client that reads and acknowledges many messages in one go.

paho asks the socket for each byte of a packet's head, and writes each acknowledgement by itself:
some fifteen microseconds a message. Here the socket is read in large pieces, which are cut into
packets; a PUBLISH is taken out as it is, everything else is handed to paho.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator

import paho.mqtt.client as mqtt
from msgspec import Struct

READ_BYTES = 256 * 1024
_PUBLISH, _PUBACK = 0x30, 0x40


class Published(Struct, frozen=True, gc=False):
    """A PUBLISH as it came. ``mid`` 0: of QoS 0, which has none."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retain: bool


class LeanClient(mqtt.Client):
    """A client of MQTT 5 for a loop of one's own: call `arrived` instead of ``loop_read``."""

    _ahead = b""
    _tail = b""
    _lost: BaseException | None = None
    _ended = False

    def arrived(self) -> list[Published]:
        """Read what there is, up to a few hundred messages; what was published, in order.

        Everything else, the end of the connection included, goes its way through paho.
        """
        sock = self._sock
        if sock is None:
            return []
        try:
            data = sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return []
        except ssl.SSLWantWriteError:
            self._call_socket_register_write()
            return []
        except OSError as exc:
            self._lost = exc
            self.loop_read()
            return []
        if not data:
            self._ended = True
            self.loop_read()
            return []
        return list(self._packets(data))

    def _packets(self, data: bytes) -> Iterator[Published]:
        stream = self._tail + data if self._tail else data
        at = 0
        while (bounds := packet_at(stream, at)) is not None:
            body, end = bounds
            published = publish_of(stream, at, body, end)
            if published is not None:
                yield published
            else:
                self._ahead = stream[at:end]
                self.loop_read()
                if self._sock is None:
                    self._tail = b""
                    return
            at = end
        self._tail = stream[at:]

    def _sock_recv(self, bufsize: int) -> bytes:
        """What paho reads: the packet set before it, then nothing more for now."""
        if self._ahead:
            taken, self._ahead = self._ahead[:bufsize], self._ahead[bufsize:]
            return taken
        if self._lost is not None:
            raise self._lost
        if self._ended:
            return b""
        raise BlockingIOError

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Acknowledge messages of QoS 1, in one write."""
        packets = b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])
        if packets:
            self._packet_queue(_PUBACK, packets, 0, 1)


def packet_at(stream: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet that begins at ``at`` begins and ends; None: not all here.

    Raises:
        ValueError: no packet of MQTT begins so.
    """
    length, shift, here = 0, 0, at + 1
    while here < len(stream):
        byte = stream[here]
        length |= (byte & 127) << shift
        here += 1
        if byte < 128:
            return (here, here + length) if here + length <= len(stream) else None
        shift += 7
        if shift > 21:
            raise ValueError("a packet's length of more than four bytes")
    return None


def publish_of(stream: bytes, at: int, body: int, end: int) -> Published | None:
    """The PUBLISH (MQTT 5) between these places; None: another packet, or one for paho."""
    head = stream[at]
    qos = head >> 1 & 3
    if head & 0xF0 != _PUBLISH or qos > 1:
        return None
    here = body + 2 + int.from_bytes(stream[body : body + 2], "big")
    name, mid = stream[body + 2 : here], 0
    if qos:
        mid = int.from_bytes(stream[here : here + 2], "big")
        here += 2
    properties = packet_at(stream, here - 1)  # a length in the same form, then so many bytes
    if properties is None or properties[1] > end:
        return None
    try:
        topic = name.decode()
    except UnicodeDecodeError:
        return None
    return Published(topic, stream[properties[1] : end], mid, qos, head & 1 == 1)
