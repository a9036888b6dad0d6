"""A small certificate authority for pilots: one key, one folder, certificates for devices.

A national system has its own authority; its certificates work the same way, if the common name is
the device id. Private keys are readable by the owner only.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from tracker.broker.rules import is_device
from tracker.errors import Conflict, Invalid, NotFound, SetupError

CA_DAYS = 3650
DEVICE_DAYS = 730
SERVER_DAYS = 730
RENEW_DAYS = 30
SKEW = timedelta(hours=1)
"""Certificates begin so long before they are made: devices' clocks run late."""


class Issued(Struct, frozen=True, kw_only=True):
    """A certificate of a device. ``serial`` in hex; ``revoked`` None: valid."""

    serial: str
    device: str
    issued: datetime
    expires: datetime
    revoked: datetime | None = None


class CertificateAuthority:
    """The authority kept in a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def certificate_path(self) -> Path:
        """The certificate that clients trust."""
        return self.home / "ca.crt"

    @property
    def crl_path(self) -> Path:
        """The list of revoked certificates."""
        return self.home / "crl.pem"

    @property
    def exists(self) -> bool:
        """Whether it has been made."""
        return self.certificate_path.exists()

    def init(self, name: str = "Tracker pilot CA") -> None:
        """Make the key, the certificate and an empty list of revoked ones.

        Raises:
            Conflict: it exists; a new key would make every certificate worthless.
        """
        if self.exists:
            raise Conflict(f"{self.home} holds an authority already; take another folder")
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, subject, key.public_key(), now, CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(signs_certificates=True), True)
        _write(self.home / "ca.key", _key_pem(key), secret=True)
        with self._locked():
            certificate = builder.sign(key, hashes.SHA256())
            # Last: with the certificate in its place the authority exists.
            self._write_crl(key, certificate, [], now)
            _write(self.certificate_path, _pem(certificate))

    def issue(self, device: str, *, days: int = DEVICE_DAYS) -> tuple[Path, Path]:
        """Issue a certificate whose common name is the device id.

        Returns:
            The files of the certificate and of its key.

        Raises:
            Invalid: the name is no device id.
            SetupError: there is no authority in the folder.
        """
        if not is_device(device):
            raise Invalid(f"{device!r} is no device id: 1 to 64 of A-Z a-z 0-9 _ -")
        with self._locked():
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._sign(device, key, days, ExtendedKeyUsageOID.CLIENT_AUTH, ())
            self._save_index([*self._index(), _issued(certificate, device)])
            folder = self.home / "devices"
            folder.mkdir(mode=0o700, exist_ok=True)
            paths = folder / f"{device}.crt", folder / f"{device}.key"
            _write(paths[1], _key_pem(key), secret=True)
            _write(paths[0], _pem(certificate))
        return paths

    def revoke(self, device: str) -> int:
        """Revoke all certificates of a device; how many.

        Raises:
            NotFound: it has none that is valid.
            SetupError: there is no authority in the folder.
        """
        now = datetime.now(UTC)
        with self._locked():
            key, certificate = self._load()
            index = self._index()
            hit = [i for i in index if i.device == device and i.revoked is None]
            if not hit:
                raise NotFound(f"{device} has no certificate of this authority that is valid")
            index = [msgspec.structs.replace(i, revoked=now) if i in hit else i for i in index]
            # The list first: a crash in between leaves a certificate revoked, never the reverse.
            self._write_crl(key, certificate, index, now)
            self._save_index(index)
        return len(hit)

    def certificates(self) -> list[Issued]:
        """All certificates issued to devices, oldest first."""
        return self._index()

    def barred(self) -> frozenset[str]:
        """Devices whose certificates are all revoked."""
        index = self._index()
        return frozenset(i.device for i in index if i.revoked) - {
            i.device for i in index if not i.revoked
        }

    def changed_ns(self) -> int:
        """When certificates were last issued or revoked, as the file system says."""
        paths = (self.crl_path, self.home / "index.json")
        return max((path.stat().st_mtime_ns for path in paths if path.exists()), default=0)

    def server(self, hosts: Sequence[str], folder: Path) -> bool:
        """Put a certificate for the broker's ``hosts`` into ``folder``, unless a good one is there.

        Returns:
            Whether it was made anew.
        """
        path = folder / "server.crt"
        with self._locked():
            _, authority = self._load()
            if path.exists() and _serves(path, hosts, authority):
                return False
            key = ec.generate_private_key(ec.SECP256R1())
            usage = ExtendedKeyUsageOID.SERVER_AUTH
            certificate = self._sign(hosts[0], key, SERVER_DAYS, usage, hosts)
        _write(folder / "server.key", _key_pem(key), secret=True)
        _write(path, _pem(certificate))
        return True

    # ------------------------------------------------------------ inside

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        days: int,
        purpose: x509.ObjectIdentifier,
        hosts: Sequence[str],
    ) -> x509.Certificate:
        ca_key, ca = self._load()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, ca.subject, key.public_key(), datetime.now(UTC), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(signs_certificates=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        builder = builder.add_extension(authority, False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), False
            )
        return builder.sign(ca_key, hashes.SHA256())

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        self._require()
        pem = (self.home / "ca.key").read_bytes()
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SetupError(f"{self.home / 'ca.key'} is not a key of this tool")
        return key, x509.load_pem_x509_certificate(self.certificate_path.read_bytes())

    def _require(self) -> None:
        if not self.exists:
            raise SetupError(f"no authority in {self.home}: run `tracker ca init` first")

    def _index(self) -> list[Issued]:
        path = self.home / "index.json"
        if not path.exists():
            return []
        return msgspec.json.decode(path.read_bytes(), type=list[Issued])

    def _save_index(self, index: Sequence[Issued]) -> None:
        _write(self.home / "index.json", msgspec.json.encode(list(index)))

    def _write_crl(
        self,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        index: Sequence[Issued],
        now: datetime,
    ) -> None:
        # OpenSSL refuses every client once the list is out of date, so it lives as long as we do.
        builder = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject)
        builder = builder.last_update(self._newer_than_last(now))
        builder = builder.next_update(certificate.not_valid_after_utc)
        for one in index:
            if one.revoked is not None:
                revoked = x509.RevokedCertificateBuilder().serial_number(int(one.serial, 16))
                builder = builder.add_revoked_certificate(
                    revoked.revocation_date(one.revoked).build()
                )
        crl = builder.sign(key, hashes.SHA256())
        _write(self.crl_path, crl.public_bytes(serialization.Encoding.PEM))

    def _newer_than_last(self, now: datetime) -> datetime:
        """A time for the list: a broker that has the last one too takes the newer, by seconds."""
        if not self.crl_path.exists():
            return now - SKEW
        last = x509.load_pem_x509_crl(self.crl_path.read_bytes()).last_update_utc
        return max(now - SKEW, last + timedelta(seconds=1))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.home.is_dir():
            self._require()
        lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _serves(path: Path, hosts: Sequence[str], authority: x509.Certificate) -> bool:
    """Whether a server's certificate is of this authority, for these hosts, and lasts a while."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    lasting = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=RENEW_DAYS)
    ours = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    same_key = ours.key_identifier == own.digest
    return lasting and same_key and set(map(_general_name, hosts)) <= set(names)


def _issued(certificate: x509.Certificate, device: str) -> Issued:
    return Issued(
        serial=f"{certificate.serial_number:x}",
        device=device,
        issued=datetime.now(UTC),
        expires=certificate.not_valid_after_utc,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write whole or not at all; a key is never readable by others, not for a moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    mode = 0o600 if secret else 0o644
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
