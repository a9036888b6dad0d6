"""What most tests of the pipeline begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.seed import World


@pytest.fixture
def world(database: str) -> Iterator[World]:
    """An empty database of the test's own, and ways to fill it."""
    made = World(database)
    yield made
    made.close()
