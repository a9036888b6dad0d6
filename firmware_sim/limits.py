"""What the operating system allows: open files, and ports for connections to one broker."""

from __future__ import annotations

import resource
from ipaddress import ip_address
from pathlib import Path

from firmware_sim.errors import BrokerError

_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Besides the devices' sockets: files, the selector, HTTP connections.
_SPARE_FILES = 200
# Some ports of the range are in use, and closed connections hold theirs for a minute.
_USABLE = 0.85
_DEFAULT_RANGE = (32_768, 60_999)


def allow_files(connections: int) -> None:
    """Raise the limit of open files as far as needed. BrokerError names the remedy."""
    wanted = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        top = hard if hard == resource.RLIM_INFINITY else max(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, top))
    except (ValueError, OSError) as error:
        raise BrokerError(
            f"{connections} connections need {wanted} open files, but the limit is {hard}; "
            f"run `ulimit -n {wanted}` as root first (systemd: LimitNOFILE={wanted}), for the "
            "broker too"
        ) from error


def sources_for(connections: int, broker: str) -> list[str]:
    """Addresses of this machine to connect from; none: the system chooses.

    Connections from one address to one broker differ by the local port alone, and a range of
    ports holds some 28,000. Loopback has as many addresses as one likes.
    """
    first, last = _port_range()
    each = int((last - first + 1) * _USABLE)
    if connections <= each:
        return []
    address = ip_address(broker)
    if address.is_loopback and address.version == 4:
        return [f"127.0.1.{n + 1}" for n in range(-(-connections // each))]
    raise BrokerError(
        f"{connections} connections from one address need as many ports, but only {each} are "
        'free; run `sysctl -w net.ipv4.ip_local_port_range="1024 65535"`, or several simulators '
        "on several machines"
    )


def _port_range() -> tuple[int, int]:
    try:
        first, last = map(int, _PORTS.read_text().split())
    except (OSError, ValueError):
        return _DEFAULT_RANGE
    return first, last
