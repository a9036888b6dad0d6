"""Simulated seals and vehicle units. Speaks only the MQTT contract and never imports tracker."""
