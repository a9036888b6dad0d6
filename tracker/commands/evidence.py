"""``tracker evidence``: keys that sign evidence packs, and checking packs."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from tracker.errors import SetupError
from tracker.evidence.manifest import Signer, new_key
from tracker.evidence.verify_pack import check, tell
from tracker.settings import load_settings
from tracker.terminal import told_errors

app = typer.Typer(no_args_is_help=True, help="Evidence packs of deliveries.")


@app.command()
def verify(
    pack: Path,
    public_key: Annotated[
        Path | None, typer.Option(help="PEM of the authority that you trust.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help='Devices\' keys: {"device": {"kid": "hex"}}.')
    ] = None,
) -> None:
    """Check a pack: every file, the chain, the signature, each record in its signed message.

    Exit code 0: all is right; 1: something is not; 2: it cannot be read.
    """
    try:
        trusted = public_key.read_bytes() if public_key else None
        known = json.loads(keys.read_text()) if keys else None
        done = check(pack, trusted, known)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as exc:
        typer.echo(f"tracker: {pack} cannot be checked: {exc}", err=True)
        raise typer.Exit(2) from exc
    raise typer.Exit(tell(done))


@app.command("new-key")
def make_key(path: Path) -> None:
    """Make a key that signs packs; set TRACKER_EVIDENCE_KEY to its file."""
    with told_errors():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise SetupError(f"{path} cannot be written: {exc.strerror}") from exc
        with os.fdopen(descriptor, "wb") as file:
            file.write(new_key())


@app.command("public-key")
def show_key() -> None:
    """Print the public half of the key in force, for those who check packs."""
    with told_errors():
        path = load_settings().evidence_key
        if path is None:
            raise SetupError("TRACKER_EVIDENCE_KEY is not set: see `tracker evidence new-key`")
        try:
            pem = path.read_bytes()
        except OSError as exc:
            raise SetupError(f"{path} cannot be read: {exc.strerror}") from exc
        typer.echo(Signer.read(pem).public_pem.decode(), nl=False)
