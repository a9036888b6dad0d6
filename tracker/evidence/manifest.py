"""The manifest of an evidence pack: digests in a chain, and a signature. Pure.

The chain makes the order of the files part of what is signed; its head alone, once published,
proves later that no file was added, left out or changed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import Struct

from tracker.errors import SetupError
from tracker.evidence.verify_pack import first_link, link

FORMAT = 1


class Packed(Struct, frozen=True, kw_only=True):
    """A file in the pack: its name, SHA-256 in hex, size in bytes."""

    name: str
    sha256: str
    size: int


class Entry(Struct, frozen=True, kw_only=True):
    """A file as the manifest names it, with its link of the chain."""

    name: str
    sha256: str
    size: int
    chain: str


def chained(files: Iterable[Packed]) -> tuple[Entry, ...]:
    """The files, each with the digest of all up to it."""
    before, entries = first_link(), []
    for file in files:
        before = link(before, file.name, file.sha256)
        entries.append(Entry(name=file.name, sha256=file.sha256, size=file.size, chain=before))
    return tuple(entries)


def manifest(files: Iterable[Packed], about: dict[str, Any]) -> bytes:
    """The manifest as the bytes that are signed.

    Args:
        about: what the pack is of: the delivery, who made it and when, the versions in force.
    """
    entries = chained(files)
    head = entries[-1].chain if entries else first_link()
    whole = {"format": FORMAT, **about, "files": entries, "head": head}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)


class Signer:
    """The authority's key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def read(cls, pem: bytes) -> Signer:
        """A key from its PEM.

        Raises:
            SetupError: it is no unencrypted Ed25519 key.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as exc:
            raise SetupError(f"the evidence key cannot be read: {exc}") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise SetupError("the evidence key must be Ed25519: see `tracker evidence new-key`")
        return cls(key)

    def sign(self, content: bytes) -> bytes:
        """The signature in base64."""
        return base64.b64encode(self._key.sign(content))

    @property
    def public_pem(self) -> bytes:
        """The public half, for those who verify."""
        public = self._key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def new_key() -> bytes:
    """A new key as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
