"""Mosquitto's configuration, access list and password file as texts.

A device's name is its id: as the user name where it logs in by password, as the common name of its
certificate. The server's own users have a dot in their names, which no device id may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from tracker.adapters import OWNTRACKS_FILTERS, TRACCAR_TOPIC
from tracker.payload import ROOT

INGEST_USER = "tracker.ingest"
TRACCAR_USER = "tracker.traccar"
SERVICE_USERS = (INGEST_USER, TRACCAR_USER)

DEVICE_WRITES = ("tlm", "evt", "state", "rsp")
DEVICE_READS = ("cmd",)

LOOPBACK = "127.0.0.1"

LIMITS = {
    # A broker killed outright loses what came after the last save; the devices send it again.
    "autosave_interval": "2",
    # Past this Mosquitto drops in silence; a minute of 10,000 devices and a good margin fit in.
    "max_queued_messages": "1000000",
    # Must not be below the ReceiveMaximum of ingest, or its batches starve.
    "max_inflight_messages": "8000",
    # Well above the 64 KiB of the contract, so that oversized messages reach the quarantine.
    "max_packet_size": "1048576",
    # Longer than the longest backlog a device may bring (30 days).
    "persistent_client_expiration": "60d",
    # Ingest and the start of a stack wait for its counters.
    "sys_interval": "1",
    "set_tcp_nodelay": "true",
}

_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HASH = re.compile(r"[A-Za-z0-9$+/=]+")


class Login(Struct, frozen=True, kw_only=True):
    """A device as the broker must know it.

    ``password_hash`` None: it has no password. ``may_own_tracks``: it need not sign, so it may
    speak OwnTracks.
    """

    device: str
    password_hash: str | None = None
    may_own_tracks: bool = False


class Ports(Struct, frozen=True, kw_only=True):
    """Where the broker listens.

    ``devices``: TLS and a password. ``certificates``: TLS and a client certificate. ``services``:
    ingest and Traccar, on an address of their own that devices need not reach.
    """

    devices: int
    certificates: int
    services: int
    bind: str = ""
    services_bind: str = LOOPBACK


class Paths(Struct, frozen=True, kw_only=True):
    """Files that the broker reads, as the broker sees them."""

    home: Path

    @property
    def config(self) -> Path:
        return self.home / "mosquitto.conf"

    @property
    def passwords(self) -> Path:
        return self.home / "passwords"

    @property
    def acl(self) -> Path:
        return self.home / "acl"

    @property
    def pid(self) -> Path:
        return self.home / "mosquitto.pid"

    def tls(self, name: str) -> Path:
        """A file of TLS: ``ca.crt``, ``server.crt``, ``server.key`` or ``crl.pem``."""
        return self.home / "tls" / name


def common_lines(data: Path) -> list[str]:
    """Persistence, limits and logging: the same for every broker of ours."""
    return [
        "persistence true",
        f"persistence_location {data}/",
        *(f"{name} {value}" for name, value in LIMITS.items()),
        "connection_messages false",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice")),
    ]


def open_config(*, port: int, data: Path, bind: str = LOOPBACK) -> str:
    """A broker that takes anybody: for the loopback only."""
    return _text([f"listener {port} {bind}", "allow_anonymous true", *common_lines(data)])


def secure_config(ports: Ports, paths: Paths, data: Path) -> str:
    """A broker with TLS on every listener, nobody anonymous, and the access list in force."""
    server = [f"certfile {paths.tls('server.crt')}", f"keyfile {paths.tls('server.key')}"]
    # A client's own choice of its id would let it take over another's session and its queue.
    own_name = "use_username_as_clientid true"
    return _text(
        [
            # Not per listener: Mosquitto 2.0 then forgets the rules of restored sessions.
            "per_listener_settings false",
            "allow_anonymous false",
            f"password_file {paths.passwords}",
            f"acl_file {paths.acl}",
            f"pid_file {paths.pid}",
            *(_listener(ports.devices, ports.bind), *server, own_name),
            *(_listener(ports.certificates, ports.bind), *server, own_name),
            f"cafile {paths.tls('ca.crt')}",
            f"crlfile {paths.tls('crl.pem')}",
            "require_certificate true",
            "use_identity_as_username true",
            *(_listener(ports.services, ports.services_bind), *server),
            *common_lines(data),
        ]
    )


def _listener(port: int, bind: str) -> str:
    return f"listener {port} {bind}".rstrip()


def acl_text(
    logins: Iterable[Login], barred: Sequence[str] = (), *, traccar_topic: str = TRACCAR_TOPIC
) -> str:
    """The access list: the server's users, then what each device may do with its own name.

    ``barred``: devices with neither a password nor a valid certificate. A connection that one of
    them opened before may stay open; it can write nothing any more. ``traccar_topic``: where a
    Traccar server forwards its positions.
    """
    lines = [
        f"user {INGEST_USER}",
        *(f"topic read {ROOT}/+/+/+/{channel}" for channel in DEVICE_WRITES),
        *(f"topic write {ROOT}/+/+/+/{channel}" for channel in DEVICE_READS),
        *(f"topic read {name}" for name in (*OWNTRACKS_FILTERS, traccar_topic, "$SYS/#")),
        f"user {TRACCAR_USER}",
        f"topic write {traccar_topic}",
    ]
    for device in barred:
        lines += [f"user {device}", "topic deny #"]
    shut = frozenset(barred)
    for login in logins:
        if login.may_own_tracks and login.device not in shut:
            lines += _owntracks(login.device)
    lines += [f"pattern write {ROOT}/+/+/%u/{channel}" for channel in DEVICE_WRITES]
    lines += [f"pattern read {ROOT}/+/+/%u/{channel}" for channel in DEVICE_READS]
    return _text(lines)


def _owntracks(device: str) -> Iterator[str]:
    """The OwnTracks topics of a device: ``owntracks/{user}/{device}`` stands for user-device.

    Not a pattern with the user's name: user ``a`` would reach the device ``a-b`` of another.
    """
    cuts = [i for i, c in enumerate(device) if c == "-" and 0 < i < len(device) - 1]
    if not cuts:
        return
    yield f"user {device}"
    for i in cuts:
        topic = f"owntracks/{device[:i]}/{device[i + 1 :]}"
        yield from (f"topic write {topic}", f"topic write {topic}/event")


def password_text(services: Mapping[str, str], logins: Iterable[Login]) -> str:
    """The password file: name and hash, the server's users first."""
    lines = [f"{name}:{hash_}" for name, hash_ in services.items()]
    for login in logins:
        # One name with a colon or a line break would make a second login out of one.
        if login.password_hash and is_device(login.device) and _HASH.fullmatch(login.password_hash):
            lines.append(f"{login.device}:{login.password_hash}")
    return _text(lines)


def is_device(name: str) -> bool:
    """Whether a name may be that of a device."""
    return _DEVICE.fullmatch(name) is not None


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
