"""The demonstration: reference data, people, deliveries and a simulated fleet on a live stack."""

from tracker.demo.run import run_demo

__all__ = ["run_demo"]
