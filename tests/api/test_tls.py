"""The API, the worker, the commands and the backup against a PostgreSQL that accepts TLS connections only."""

import datetime
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api import pulse
from api.keys import main as keys
from api.settings import Settings
from benchmarks.processes import free_port
from deploy.backup.local import postgres
from deploy.local.settings import Settings as StackSettings
from tests.api.commands import run_main
from tests.api.conftest import Serve
from tests.api.test_worker import Bento, working
from tests.api.waiting import until
from tests.postgres import migrate

# The wheel's PostgreSQL is built without TLS.
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not DEBIAN, reason="Debian's postgresql is not installed"),
]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not in pytest's temporary directory, which only root can read."""
    with tempfile.TemporaryDirectory(prefix="movie-reviews-tls-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture(scope="module")
def tls_server(folder: Path) -> Iterator[str]:
    """The URL of the server, without parameters."""
    account = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)

    def run(program: str, *words: str) -> None:
        owner = {} if os.geteuid() else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        subprocess.run([DEBIAN[-1] / program, *words], check=True, cwd=folder, capture_output=True, **owner)  # type: ignore[call-overload]

    write_certificate(folder, "server")
    write_certificate(folder, "other")
    os.chown(folder / "server.key", account.pw_uid, account.pw_gid)
    data, port = folder / "data", free_port()
    (folder / "password").write_text("se%ret")
    run("initdb", "-D", str(data), "-U", "postgres", "--auth=scram-sha-256", "--pwfile=password", "--no-sync")
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    options = (
        f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c ssl=on"
    )
    options += f" -c ssl_cert_file={folder}/server.crt -c ssl_key_file={folder}/server.key"
    run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql://postgres:se%25ret@127.0.0.1:{port}/postgres"
    run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")


def write_certificate(folder: Path, stem: str) -> None:
    """Write a self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{stem}.crt").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{stem}.key").write_bytes(private)
    (folder / f"{stem}.key").chmod(0o600)


@pytest.mark.parametrize("parameters", ["sslmode=require", "sslmode=verify-full&sslrootcert={}/server.crt"])
async def test_one_url_is_understood_everywhere(
    tls_server: str, folder: Path, serve: Serve, tmp_path: Path, parameters: str
) -> None:
    url = f"{tls_server}?{parameters.format(folder)}"
    await migrate(url)
    done = await run_main(keys, "list", database_url=url)
    assert done.returncode == 0, done.output
    async with serve(database_url=url) as client:
        assert (await client.get("/api/reviews/tt1", headers={"Authorization": ""})).status_code == 200
    config = Settings(_env_file=None, database_url=url)

    async def beating() -> bool:
        return await pulse.idle_seconds(config) is not None

    async with working(url, Bento()):
        await until(beating)
    database = postgres(StackSettings(_env_file=None, database_url=url))
    database.dump(tmp_path / "dump")
    assert database.read(tmp_path / "dump").counts["review"] == 0
    assert "se%ret" not in " ".join(database.command("pg_dump"))


async def test_a_certificate_that_is_not_trusted_is_refused(
    tls_server: str, folder: Path, serve: Serve
) -> None:
    url = f"{tls_server}?sslmode=verify-full&sslrootcert={folder}/other.crt"
    async with serve(database_url=url) as client:
        assert (await client.get("/api/reviews/tt1", headers={"Authorization": ""})).status_code == 503
