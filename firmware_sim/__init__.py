"""Simulated devices by the contracts of MQTT and HTTP alone: it never imports tracker."""
