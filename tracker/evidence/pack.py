"""Writing a pack: files into a zip as they come, each digested on the way."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import IO, Any, Self

from tracker.evidence.manifest import Packed, Signer, manifest
from tracker.evidence.verify_pack import MANIFEST, PUBLIC_KEY, SIGNATURE


class PackWriter:
    """An evidence pack being written; what is added is never held whole in memory."""

    def __init__(self, target: IO[bytes], made_at: datetime) -> None:
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED)
        self._at = made_at.timetuple()[:6]
        self._files: list[Packed] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    def add(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Add a file."""
        digest, size = hashlib.sha256(), 0
        with self._zip.open(self._info(name), "w", force_zip64=True) as file:
            for block in [content] if isinstance(content, bytes) else content:
                digest.update(block)
                size += len(block)
                file.write(block)
        self._files.append(Packed(name=name, sha256=digest.hexdigest(), size=size))

    def seal(self, signer: Signer, about: dict[str, Any]) -> str:
        """Add the manifest and its signature; returns the manifest's SHA-256 in hex."""
        self.add(PUBLIC_KEY, signer.public_pem)
        whole = manifest(self._files, about)
        self._zip.writestr(self._info(MANIFEST), whole)
        self._zip.writestr(self._info(SIGNATURE), signer.sign(whole))
        return hashlib.sha256(whole).hexdigest()

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self._at)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        return info
