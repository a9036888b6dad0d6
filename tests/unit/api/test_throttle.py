"""The brake on guessing passwords, with a clock of its own."""

from __future__ import annotations

import pytest

from tracker.api import throttle
from tracker.api.problems import TooManyAttempts
from tracker.api.throttle import MAX_FAILURES, WINDOW_S, Throttle


class Clock:
    """A clock that stands until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_refuses_after_too_many_failures_until_the_window_ends() -> None:
    clock = Clock()
    brake = Throttle(clock)
    for _ in range(MAX_FAILURES):
        brake.check("u", "1.2.3.4")
        brake.failed("u", "1.2.3.4")
    with pytest.raises(TooManyAttempts) as refusal:
        brake.check("u", "1.2.3.4")
    assert refusal.value.retry_after_s == WINDOW_S + 1
    brake.check("u", "5.6.7.8")
    brake.check("other", "1.2.3.4")
    clock.now += WINDOW_S
    brake.check("u", "1.2.3.4")


def test_a_success_forgets_the_failures() -> None:
    brake = Throttle(Clock())
    for _ in range(MAX_FAILURES):
        brake.failed("u", "a")
    brake.succeeded("u", "a")
    brake.check("u", "a")


def test_it_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_KEYS", 3)
    brake = Throttle(Clock())
    for _ in range(MAX_FAILURES):
        brake.failed("first", "a")
    for n in range(3):
        brake.failed(f"u{n}", "a")
    brake.check("first", "a")
