"""Sequence numbers received and what a device is told (contract mqtt.md, "Ack")."""

from __future__ import annotations

from tracker.received import MAX_MISSING, Received, ack_of


def having(*seqs: int, lo: int = 1) -> Received:
    return Received(lo=lo).add(seqs)


def ack(received: Received) -> tuple[int, int, list[list[int]]]:
    told = ack_of(3, received)
    assert told["op"] == "ack"
    assert told["gen"] == 3
    return told["upto"], told["high"], told["missing"]


def test_nothing_received() -> None:
    assert ack(Received()) == (0, 0, [])


def test_all_in_order() -> None:
    assert ack(having(1, 2, 3)) == (3, 3, [])


def test_one_is_missing() -> None:
    assert ack(having(2, 3)) == (0, 3, [[1, 1]])


def test_holes_between() -> None:
    assert ack(having(1, 2, 5, 6, 10)) == (2, 10, [[3, 4], [7, 9]])


def test_holes_below_lo_are_final_and_count_as_covered() -> None:
    assert ack(having(5, lo=5)) == (5, 5, [])
    assert ack(having(2, 9, lo=6)) == (5, 9, [[6, 8]])
    assert ack(having(lo=6)) == (5, 5, [])


def test_lo_never_comes_down() -> None:
    assert having(lo=9).raise_lo(4).lo == 9
    assert having(lo=4).raise_lo(9).lo == 9


def test_high_is_lowered_until_64_ranges_tell_all() -> None:
    odd = having(*range(1, 2 * 200, 2))
    upto, high, missing = ack(odd)
    assert MAX_MISSING == 64
    assert upto == 1
    assert missing == [[n, n] for n in range(2, 2 * 65, 2)]
    assert high == 129


def test_membership_at_the_edges_of_ranges() -> None:
    received = having(1, 2, 7)
    assert [n for n in range(10) if n in received] == [1, 2, 7]
    assert 7 in having(7, lo=5)
    assert 5 not in having(7, lo=6), "a final hole has not been received"


def test_adding_is_quiet_about_what_is_there() -> None:
    received = having(1, 2, 3)
    assert received.add([]) is received
    assert received.add([2, 2, 1]) == received
    assert received.add([4]).ranges == ((1, 5),)
