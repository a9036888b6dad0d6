"""Array literals read by the real database: what was meant, to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.services import cloned_database
from tracker.db.arrays import byteas, flags, numbers, uuids, words
from tracker.embedded.postgres import PrivatePostgres


@pytest.fixture(scope="module")
def connection(
    postgres_server: PrivatePostgres, template_database: str
) -> Iterator[psycopg.Connection[Any]]:
    with (
        cloned_database(postgres_server, template_database) as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        yield conn


SOME = settings(max_examples=100, deadline=None)

floats = st.floats(allow_nan=False, allow_infinity=False)
bigints = st.integers(-(2**63), 2**63 - 1)


def read(connection: psycopg.Connection[Any], literal: str, of: str) -> list[Any]:
    row = connection.execute(f"SELECT %s::{of}[]".encode(), (literal,), binary=True).fetchone()
    assert row is not None
    return list(row[0])


@given(st.lists(st.none() | floats))
@SOME
def test_floats(connection: psycopg.Connection[Any], values: list[float | None]) -> None:
    assert read(connection, numbers(values), "float8") == values


@given(st.lists(st.none() | bigints))
@SOME
def test_integers(connection: psycopg.Connection[Any], values: list[int | None]) -> None:
    assert read(connection, numbers(values), "bigint") == values


@given(st.lists(st.none() | st.booleans()), st.lists(st.uuids()), st.lists(st.binary()))
@SOME
def test_the_others(
    connection: psycopg.Connection[Any],
    truths: list[bool | None],
    ids: list[UUID],
    bodies: list[bytes],
) -> None:
    assert read(connection, flags(truths), "bool") == truths
    assert read(connection, uuids(ids), "uuid") == ids
    assert read(connection, byteas(bodies), "bytea") == bodies


def test_words(connection: psycopg.Connection[Any]) -> None:
    assert read(connection, words(["seal_cut", None, "red"]), "text") == ["seal_cut", None, "red"]
