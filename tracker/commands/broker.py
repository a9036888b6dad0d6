"""``tracker broker …`` and ``tracker ca …``: a broker of one's own, certificates for pilots."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from tracker.broker.ca import DEVICE_DAYS, CertificateAuthority
from tracker.broker.folder import (
    BrokerFolder,
    Own,
    ingest_environment,
    service_passwords,
    write_secret,
)
from tracker.broker.rules import INGEST_USER, Ports
from tracker.broker.sync import Sync, sync_once
from tracker.errors import SetupError
from tracker.settings import load_settings
from tracker.terminal import stop_on_signal, told_errors

broker_app = typer.Typer(no_args_is_help=True, help="Configuration and users of the broker.")
ca_app = typer.Typer(no_args_is_help=True, help="A small certificate authority for pilots.")

OutOption = Annotated[Path, typer.Option("--out", help="Folder of the broker's files; kept.")]
OwnerOption = Annotated[
    str | None, typer.Option(help="Account that the broker runs under, if it is another.")
]
DirOption = Annotated[Path, typer.Option("--dir", help="Folder of the authority; keep it safe.")]
PortOption = Annotated[int, typer.Option(min=1, max=65535)]
DEFAULT_CA = Path("var/ca")


@broker_app.command("config")
def broker_config(
    out: OutOption,
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address devices use; repeatable.")
    ] = None,
    port: PortOption = 8883,
    certificates_port: PortOption = 8884,
    services_port: PortOption = 8882,
    services_bind: Annotated[str, typer.Option(help="Address for ingest only.")] = "127.0.0.1",
    ca: Annotated[Path | None, typer.Option("--ca", help="The authority; default: OUT/ca.")] = None,
    owner: OwnerOption = None,
) -> None:
    """Write Mosquitto's configuration: TLS, passwords and certificates, an access list."""
    with told_errors():
        out = out.absolute()
        folder = _folder(out, ca, owner)
        ports = Ports(
            devices=port,
            certificates=certificates_port,
            services=services_port,
            services_bind=services_bind,
        )
        hosts = [*(host or []), "localhost", "127.0.0.1"]
        folder.configure(ports, hosts=hosts)
        if not folder.paths.passwords.exists():
            folder.write([])
        passwords = service_passwords(out / "users.json")
        lines = ingest_environment(folder, ports, hosts[0], passwords[INGEST_USER])
        write_secret(out / "ingest.env", lines)
        typer.echo(f"mosquitto -c {folder.paths.config}")
        typer.echo(f"ingest: {out / 'ingest.env'}; devices: tracker broker sync --out {out}")


@broker_app.command("sync")
def broker_sync(
    out: OutOption,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    ca: Annotated[Path | None, typer.Option("--ca", help="The authority; default: OUT/ca.")] = None,
    owner: OwnerOption = None,
) -> None:
    """Write the devices of the database into the broker's files and have it read them."""
    with told_errors():
        settings = load_settings()
        folder = _folder(out.absolute(), ca, owner)
        if not folder.authority.exists:
            raise SetupError(f"{out} holds no broker: run `tracker broker config --out {out}`")
        if watch:
            with stop_on_signal() as stop:
                Sync(folder, settings.database_url, folder.reload).run(stop)
            return
        try:
            changed = sync_once(folder, settings.database_url)
        except psycopg.OperationalError as exc:
            raise SetupError(f"the database cannot be reached: {exc}") from exc
        told = folder.reload()
        typer.echo(f"{'changed' if changed else 'unchanged'}; broker {'told' if told else 'off'}")


@ca_app.command("init")
def ca_init(
    directory: DirOption = DEFAULT_CA,
    name: Annotated[str, typer.Option(help="Name of the authority.")] = "Tracker pilot CA",
) -> None:
    """Make the authority's key and certificate."""
    with told_errors():
        authority = CertificateAuthority(directory)
        authority.init(name)
        typer.echo(str(authority.certificate_path))


@ca_app.command("issue")
def ca_issue(
    device: str,
    directory: DirOption = DEFAULT_CA,
    days: Annotated[int, typer.Option(min=1, max=3650)] = DEVICE_DAYS,
) -> None:
    """Issue a certificate whose common name is the device id."""
    with told_errors():
        for path in CertificateAuthority(directory).issue(device, days=days):
            typer.echo(str(path))


@ca_app.command("revoke")
def ca_revoke(device: str, directory: DirOption = DEFAULT_CA) -> None:
    """Revoke all certificates of a device; a running `broker sync --watch` takes note."""
    with told_errors():
        count = CertificateAuthority(directory).revoke(device)
        typer.echo(f"{device}: {count}")


@ca_app.command("list")
def ca_list(directory: DirOption = DEFAULT_CA) -> None:
    """List the certificates of devices: serial, device, end, revocation."""
    with told_errors():
        for one in CertificateAuthority(directory).certificates():
            state = f"revoked {one.revoked:%Y-%m-%d}" if one.revoked else "valid"
            typer.echo(f"{one.serial}  {one.device}  {one.expires:%Y-%m-%d}  {state}")


def _folder(out: Path, ca: Path | None, owner: str | None) -> BrokerFolder:
    out.mkdir(mode=0o711, parents=True, exist_ok=True)
    authority = CertificateAuthority((ca or out / "ca").absolute())
    return BrokerFolder(
        out / "mosquitto",
        authority=authority,
        services=service_passwords(out / "users.json"),
        own=_owned_by(owner) if owner else _owned_as(out / "mosquitto"),
        traccar_topic=load_settings().traccar_topic,
    )


def _owned_by(owner: str) -> Own:
    def own(path: Path) -> None:
        try:
            shutil.chown(path, owner, None)
        except (LookupError, PermissionError) as exc:
            raise SetupError(f"cannot hand {path} over to {owner}: {exc}") from exc

    return own


def _owned_as(home: Path) -> Own:
    """Files belong to whom the folder belongs, so that nobody has to name the owner again."""

    def own(path: Path) -> None:
        holder = home.stat()
        if path.stat().st_uid != holder.st_uid:
            os.chown(path, holder.st_uid, holder.st_gid)

    return own
