"""`python3 -m deploy.env`: create `.env` from its example and fill in the missing secrets.

Imports only the standard library: a machine that runs the containers may have nothing else installed.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

ENV_FILE = Path(".env")
EXAMPLE = Path(".env.example")
CONTAINERS = (
    *("POSTGRES_PASSWORD", "REVIEWS_DATABASE_PASSWORD", "MLFLOW_DATABASE_PASSWORD", "API_KEY"),
    *("METRICS_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
)
"""The secrets that docker-compose.yml requires."""
MOUNTED = Path("deploy/docker/postgres/databases.sql")
"""A file that containers read; all have the mode that the umask gave them."""


def ensure_env_file() -> bool:
    """Create `.env` from its example if it is missing; return False if the example is missing as well."""
    if not ENV_FILE.exists():
        if not EXAMPLE.exists():
            return False
        write_private(ENV_FILE, EXAMPLE.read_text())
    return True


def fill_secrets(names: Iterable[str]) -> list[str]:
    """Generate a secret for each of these variables that has no value in `.env`; return their names."""
    missing = [name for name in names if not has_value(ENV_FILE.read_text(), name)]
    for name in missing:
        write_private(ENV_FILE, with_value(ENV_FILE.read_text(), name, new_secret(name)))
    return missing


def new_secret(name: str) -> str:
    """Return random hex digits, which need no quoting in a URL; API_KEY has the format of api.keys."""
    if name == "API_KEY":
        return f"mrs_{secrets.token_hex(8)}_{secrets.token_hex(32)}"
    return secrets.token_hex(16)


def has_value(text: str, name: str) -> bool:
    return re.search(rf"^{name}=[^\S\n]*[^\s#]", text, flags=re.MULTILINE) is not None


def with_value(text: str, name: str, value: str) -> str:
    """Set `name` in the text of an env file: fill in its empty line, or append a line."""
    filled, count = re.subn(rf"^{name}=[^\S\n]*$", f"{name}={value}", text, count=1, flags=re.MULTILINE)
    return filled if count else f"{text.rstrip()}\n{name}={value}\n".lstrip()


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically. Only its owner may read it: it holds passwords."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)


def main() -> None:
    if not ensure_env_file():
        raise SystemExit(f"no .env and no .env.example in {Path.cwd()}: run this in the project folder")
    generated = fill_secrets(CONTAINERS)
    print(f"generated {', '.join(generated)} in .env" if generated else "every secret is already set in .env")
    if MOUNTED.exists() and not MOUNTED.stat().st_mode & stat.S_IROTH:
        print("the accounts in the containers cannot read this checkout: clone it again after `umask 022`")


if __name__ == "__main__":
    main()
