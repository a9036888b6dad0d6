"""What can go wrong, each with the remedy in its text: it is shown to people as one line."""

from __future__ import annotations


class SimError(Exception):
    """Base of all errors of the simulator; exit code 2. The text says what to do."""


class PlanError(SimError):
    """The plan, the scenario, a flag or a track file is unusable."""


class BrokerError(SimError):
    """The broker can't be reached or refuses the device, or the system has no room for it."""


class OfficeError(SimError):
    """The HTTP server can't be reached, refuses the log-in, or lacks what a scenario needs."""


class ScoreError(SimError):
    """Truth and server don't belong together, or a file of truth is unreadable."""
