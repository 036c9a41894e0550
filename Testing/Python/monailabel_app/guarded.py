"""A server as a hospital would run it: TLS, tokens of every role, an audit log; on every address of this machine."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from Testing.Python.servers import ROOT, environment, find_free_port, poll, stop
from uncertaintyseg.tokens import Role, add_token

NAME = "seg.example.org"


@dataclass
class Guarded:
    """The process, its folders, and a client for each role."""

    process: subprocess.Popen
    url: str
    folder: Path
    certificate: Path
    tokens: dict[str, str]
    clients: dict[str, httpx.Client]

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")

    @property
    def studies(self) -> Path:
        return self.folder / "studies"

    def lines(self, event: str | None = None) -> list[dict]:
        entries = reversed(self.clients["admin"].get("/uncertainty/v1/audit?last=10000").json())
        return [entry for entry in entries if event in (None, entry["event"])]

    def stop(self) -> None:
        """End it; clients first, since a TLS connection that stays open is waited for."""
        for client in self.clients.values():
            client.close()
        stop(self.process)

    def ended(self, job_id: str) -> dict:
        viewer = self.clients["viewer"]

        def state() -> dict | None:
            answer = viewer.get(f"/uncertainty/v1/jobs/{job_id}").json()
            return answer if answer["state"] in ("done", "failed", "cancelled") else None

        return poll(state, 120)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.timezone.utc)
    names = [x509.DNSName(NAME), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    paths[1].chmod(0o600)
    return paths


def start_guarded(command: list[str], folder: Path, **options: object) -> Guarded:
    """Start a server with a token of each role and wait until it answers."""
    certificate, key = write_certificate(folder)
    tokens = {role.name: add_token(folder / "tokens", f"{role.name}-person", role) for role in Role}
    port = find_free_port()
    arguments = {
        "studies": folder / "studies",
        "port": port,
        "host": "0.0.0.0",
        "allowed-host": NAME,
        "token-file": folder / "tokens",
        "ssl-certfile": certificate,
        "ssl-keyfile": key,
        "audit": folder / "audit",
        "cache": folder / "cache",
        **options,
    }
    line = command + [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(line, cwd=ROOT, env=environment(folder), stdout=log, stderr=subprocess.STDOUT)
    url = f"https://127.0.0.1:{port}"
    context = ssl.create_default_context(cafile=str(certificate))

    def answers() -> bool:
        assert process.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")[-4000:]
        try:
            return httpx.get(f"{url}/uncertainty/v1/health", verify=context).status_code == 200
        except httpx.TransportError:
            return False

    poll(answers, seconds=240, every=0.2)
    clients = {
        name: httpx.Client(
            base_url=url, verify=context, timeout=120, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        for name, token in {**tokens, "nobody": ""}.items()
    }
    return Guarded(process, url, folder, certificate, tokens, clients)


def command_line(process: subprocess.Popen) -> str:
    """What everyone on this machine can see of a process."""
    return Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8") if Path("/proc").is_dir() else ""
