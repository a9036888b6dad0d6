#!/usr/bin/env python3
"""Check an evidence pack: `python3 verify.py pack.zip`. Needs nothing but Python 3.9.

Every pack carries this file. It checks that each file is the one that the manifest names, that the
chain of digests is unbroken, that each record came in the signed message it refers to, and that the
records' own chain is unbroken. With the package `cryptography` installed it checks the signature of
the manifest too, against the public key you trust (`--public-key`), or else against the one in the
pack, which only shows that the pack is of one piece. With `--keys keys.json`
({"device": {"kid": "secret in hex"}}) it checks every message's MAC.

Exit code 0: all is right; 1: something is not; 2: it cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEED = b"tracker evidence 1"
MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "manifest.sig", "public_key.pem"
RECORDS, MESSAGES = "records.jsonl", "messages.jsonl"


def link(before: str, *parts: str) -> str:
    """The next link of a chain: the digest of the one before and what is added."""
    return hashlib.sha256("\n".join((before, *parts)).encode()).hexdigest()


def first_link() -> str:
    """Where every chain begins."""
    return hashlib.sha256(SEED).hexdigest()


class Check:
    """One look at a pack: what was found wrong, and what could not be checked."""

    def __init__(self, pack: zipfile.ZipFile, public_key: bytes | None, keys: Any) -> None:
        self.pack = pack
        self.public_key = public_key
        self.keys = keys
        self.wrong: list[str] = []
        self.unchecked: list[str] = []
        self.records = 0
        self.messages: dict[str, Any] = {}

    def run(self) -> Check:
        """Check everything; nothing stops at the first fault."""
        manifest = self.pack.read(MANIFEST)
        self._signature(manifest)
        self._files(json.loads(manifest))
        self._messages()
        self._records()
        return self

    def _signature(self, manifest: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
            from cryptography.hazmat.primitives.serialization import load_pem_public_key
        except ImportError:
            self.unchecked.append("the signature: install the package `cryptography`")
            return
        own = self.pack.read(PUBLIC_KEY)
        if self.public_key is None:
            self.unchecked.append("whose signature it is: give --public-key of the authority")
        key = load_pem_public_key(self.public_key or own)
        if not isinstance(key, Ed25519PublicKey):
            self.wrong.append("the public key is no Ed25519 key")
            return
        try:
            key.verify(base64.b64decode(self.pack.read(SIGNATURE)), manifest)
        except (InvalidSignature, ValueError):
            self.wrong.append("the signature does not match the manifest under this key")

    def _files(self, manifest: Any) -> None:
        chain = first_link()
        named = {MANIFEST, SIGNATURE}
        for entry in manifest["files"]:
            name = entry["name"]
            named.add(name)
            chain = link(chain, name, entry["sha256"])
            if chain != entry["chain"]:
                self.wrong.append(f"{name}: the chain of the manifest breaks here")
                chain = entry["chain"]
            try:
                digest = self._digest(name)
            except KeyError:
                self.wrong.append(f"{name}: is missing")
                continue
            if digest != entry["sha256"]:
                self.wrong.append(f"{name}: is not the file that was signed")
        if chain != manifest["head"]:
            self.wrong.append("the head of the manifest is not the end of its chain")
        self.wrong += [f"{n}: was not signed" for n in self.pack.namelist() if n not in named]

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256()
        with self.pack.open(name) as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return digest.hexdigest()

    def _lines(self, name: str) -> Iterator[Any]:
        if name in self.pack.namelist():
            with self.pack.open(name) as file:
                for line in file:
                    yield json.loads(line)

    def _messages(self) -> None:
        for message in self._lines(MESSAGES):
            payload = bytes_of(message, "payload")
            if hashlib.sha256(payload).hexdigest() != message["sha256"]:
                self.wrong.append(f"message {message['sha256'][:12]}: is another payload")
            body, _, trailer = payload.rpartition(b"\n")
            self.messages[message["sha256"]] = _items(body)
            if self.keys is not None:
                self._mac(message, body, trailer.decode("ascii", "replace").strip())

    def _mac(self, message: Any, body: bytes, trailer: str) -> None:
        kid, _, sent = trailer.partition(".")
        secret = self.keys.get(message["device"], {}).get(kid)
        if secret is None:
            self.unchecked.append(f"message {message['sha256'][:12]}: no key {kid!r} was given")
            return
        signed = message["topic"].encode() + b"\0" + body
        mac = hmac.new(bytes.fromhex(secret), signed, hashlib.sha256).digest()[:16]
        right = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        if not hmac.compare_digest(right, sent.rstrip("=")):
            self.wrong.append(f"message {message['sha256'][:12]}: its MAC is wrong")

    def _records(self) -> None:
        chain = first_link()
        for record in self._lines(RECORDS):
            self.records += 1
            body = bytes_of(record, "body")
            name = f"record {record['device']}/{record['gen']}/{record['seq']}"
            chain = link(chain, name, hashlib.sha256(body).hexdigest())
            if chain != record["chain"]:
                self.wrong.append(f"{name}: the chain of records breaks here")
                chain = record["chain"]
            if record["message"] is None:
                continue
            items = self.messages.get(record["message"])
            if items is None:
                self.wrong.append(f"{name}: its signed message is missing")
            elif json.loads(body) not in items:
                self.wrong.append(f"{name}: does not stand in its signed message")


def bytes_of(line: Any, name: str) -> bytes:
    """A field that is text, or base64 where it is no text."""
    if name in line:
        return bytes(line[name], "utf-8")
    return base64.b64decode(line[f"{name}_base64"])


def _items(body: bytes) -> list[Any]:
    parsed = json.loads(body)
    return parsed if isinstance(parsed, list) else [parsed]


def check(path: Path, public_key: bytes | None = None, keys: Any = None) -> Check:
    """Check a pack.

    Raises:
        OSError, zipfile.BadZipFile, KeyError, ValueError: it is no evidence pack.
    """
    with zipfile.ZipFile(path) as pack:
        return Check(pack, public_key, keys).run()


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Check an evidence pack.")
    parser.add_argument("pack", type=Path)
    parser.add_argument("--public-key", type=Path, help="PEM of the authority that you trust")
    parser.add_argument("--keys", type=Path, help='JSON: {"device": {"kid": "hex"}}')
    given = parser.parse_args(arguments)
    try:
        public_key = given.public_key.read_bytes() if given.public_key else None
        keys = json.loads(given.keys.read_text()) if given.keys else None
        done = check(given.pack, public_key, keys)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as exc:
        print(f"{given.pack}: cannot be checked: {exc}", file=sys.stderr)  # noqa: T201
        return 2
    return tell(done)


def tell(done: Check) -> int:
    """Say what was found, and return the exit code."""
    for line in done.wrong:
        print(f"WRONG  {line}")  # noqa: T201
    for line in done.unchecked:
        print(f"NOT CHECKED  {line}")  # noqa: T201
    verdict = f"{len(done.wrong)} faults" if done.wrong else "all that was checked is right"
    print(f"{done.records} records, {len(done.messages)} signed messages: {verdict}")  # noqa: T201
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
