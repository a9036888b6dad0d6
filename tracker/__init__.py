"""Transit and delivery control for customs: telemetry in, evidence, alerts and risk out."""
