"""Passwords at the broker, in the hash format of Mosquitto 2 (``mosquitto_passwd``)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

PASSWORD_BYTES = 24
ROUNDS = 101
"""Mosquitto's own number. The passwords are random: more rounds would guard nothing, and the broker
checks every connected client again at each reload."""

_HASH = re.compile(r"\$7\$(\d+)\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")


def new_password() -> str:
    """A password that nobody can guess: 24 random bytes in Base64 for addresses."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def hashed(password: str) -> str:
    """The line's part after ``name:`` in Mosquitto's password file."""
    salt = secrets.token_bytes(12)
    return f"$7${ROUNDS}${_text(salt)}${_text(_derive(password, salt, ROUNDS))}"


def matches(password: str, hash_: str) -> bool:
    """Whether a hash of Mosquitto's format is that of the password."""
    parts = _HASH.fullmatch(hash_)
    if parts is None:
        return False
    derived = _derive(password, base64.b64decode(parts[2]), int(parts[1]))
    return hmac.compare_digest(derived, base64.b64decode(parts[3]))


def _derive(password: str, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
