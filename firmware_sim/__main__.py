"""``python -m firmware_sim``: the same commands as the console script."""

from firmware_sim.cli import app

app()
