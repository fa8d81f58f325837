"""What happens to finished backups: encryption, retention, and the age that Prometheus watches."""

import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

from deploy.backup.database import BackupError
from deploy.backup.postgres import last_line

NAME = re.compile(r"\d{8}T\d{6}Z(\.tar\.gpg)?")

METRICS = """\
# HELP backup_last_success_seconds Unix time of the last complete backup
# TYPE backup_last_success_seconds gauge
backup_last_success_seconds {time:.0f}
# HELP backup_size_bytes Size of the last complete backup
# TYPE backup_size_bytes gauge
backup_size_bytes {size}
"""


def encrypt(folder: Path, recipient: str) -> Path:
    """Replace a backup by one file that only the recipient's private key opens. Raises BackupError.

    The private key need not be on this machine.
    """
    file = folder.with_name(f"{folder.name}.tar.gpg")
    partial = file.with_name(f"{file.name}.partial")
    words = ["gpg", "--batch", "--yes", "--trust-model", "always", "--recipient", recipient]
    try:
        with subprocess.Popen(
            [*words, "--output", str(partial), "--encrypt"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as gpg:
            assert gpg.stdin and gpg.stderr  # noqa: S101, PT018
            try:
                with tarfile.open(fileobj=gpg.stdin, mode="w|") as archive:
                    archive.add(folder, folder.name)
                gpg.stdin.close()
            except BrokenPipeError:
                pass  # gpg has ended, and gives the reason
            reason = last_line(gpg.stderr.read().decode())
        if gpg.returncode:
            raise BackupError(f"gpg cannot encrypt for {recipient}: {reason}. {folder} is not encrypted")
        partial.rename(file)
    except FileNotFoundError:
        raise BackupError(f"gpg is not installed, so {folder} is not encrypted") from None
    finally:
        partial.unlink(missing_ok=True)
    shutil.rmtree(folder)
    return file


def prune(into: Path, keep: int) -> None:
    """Delete all complete backups but the newest ones."""
    backups = sorted(path for path in into.iterdir() if NAME.fullmatch(path.name))
    for backup in backups[:-keep]:
        shutil.rmtree(backup) if backup.is_dir() else backup.unlink()
        print(f"{backup}: deleted, as {keep} newer ones exist")


def write_metrics(path: Path, backup: Path) -> None:
    """Write a file for the textfile collector of Prometheus's node exporter."""
    files = [backup, *backup.rglob("*")]
    size = sum(file.stat().st_size for file in files if file.is_file())
    partial = path.with_name(f"{path.name}.partial")  # the collector reads *.prom
    partial.write_text(METRICS.format(time=time.time(), size=size))
    partial.chmod(0o644)
    partial.replace(path)
