"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import ApiWorld


@pytest.fixture
def bare(database: str) -> Iterator[ApiWorld]:
    """The API on an empty database, with its administrator."""
    world = ApiWorld(database)
    yield world
    world.close()


@pytest.fixture
def world(bare: ApiWorld) -> ApiWorld:
    """The API with two posts, a lane, a carrier and a declarant."""
    bare.lane()
    return bare
