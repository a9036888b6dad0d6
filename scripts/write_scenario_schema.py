"""Write docs/scenario.schema.json from the models that read scenario files."""

from __future__ import annotations

from pathlib import Path

from firmware_sim.scenario_schema import schema_text

FILE = Path(__file__).parents[1] / "docs" / "scenario.schema.json"

if __name__ == "__main__":
    FILE.write_text(schema_text(), encoding="utf-8")
