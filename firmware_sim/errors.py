"""What can go wrong, each with the remedy in its text: it is shown to people as one line."""

from __future__ import annotations


class SimError(Exception):
    """Base of all errors of the simulator. The text says what to do."""


class PlanError(SimError):
    """The plan, a flag or a track file is unusable; exit code 2."""


class BrokerError(SimError):
    """The broker can't be reached or refuses the device; exit code 1."""
