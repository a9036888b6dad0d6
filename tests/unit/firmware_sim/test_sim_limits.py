"""What the system allows, told with the remedy before anything is begun."""

from __future__ import annotations

import resource
from ipaddress import ip_address

import pytest

from firmware_sim.edge import Broker, Wires
from firmware_sim.errors import BrokerError
from firmware_sim.limits import allow_files, sources_for


def test_few_connections_need_nothing() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_files(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    assert sources_for(100, "10.1.2.3") == []


def test_more_files_than_the_system_gives_are_told_with_the_remedy() -> None:
    with pytest.raises(BrokerError, match=r"ulimit -n \d+` as root first .*for the broker too"):
        allow_files(2**40)


def test_on_loopback_there_are_addresses_enough() -> None:
    sources = sources_for(500_000, "127.0.0.1")
    assert len(set(sources)) == len(sources) > 5
    assert all(ip_address(source).is_loopback for source in sources)


@pytest.mark.parametrize("broker", ["10.1.2.3", "::1"])
def test_elsewhere_too_few_ports_are_told_with_the_remedy(broker: str) -> None:
    with pytest.raises(BrokerError, match=r"sysctl -w net\.ipv4\.ip_local_port_range"):
        sources_for(500_000, broker)


def test_a_brokers_name_that_nobody_knows_is_told() -> None:
    broker = Broker(host="no-such-host.invalid")
    with pytest.raises(BrokerError, match=r"no broker at no-such-host\.invalid:1883"):
        Wires().prepare(broker, 1)
