"""`python3 -m deploy.env`: make `.env` from its example, and the secrets in it that are still empty.

Needs nothing but Python, since whoever runs the containers may have nothing else.
"""

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

ENV_FILE = Path(".env")
EXAMPLE = Path(".env.example")
CONTAINERS = ("POSTGRES_PASSWORD", "REVIEWS_DATABASE_PASSWORD", "MLFLOW_DATABASE_PASSWORD", "API_KEY")
"""What docker-compose.yml does not start without."""


def ensure() -> bool:
    """Make `.env` from its example unless it is there; False where there is no example either."""
    if not ENV_FILE.exists():
        if not EXAMPLE.exists():
            return False
        write_private(ENV_FILE, EXAMPLE.read_text())
    return True


def fill(names: Iterable[str]) -> list[str]:
    """Give these variables of `.env` a new secret where they have no value; returns which."""
    missing = [name for name in names if not has_value(ENV_FILE.read_text(), name)]
    for name in missing:
        write_private(ENV_FILE, with_value(ENV_FILE.read_text(), name, new_secret(name)))
    return missing


def new_secret(name: str) -> str:
    """Hex digits, which need no quoting in a URL; a key looks as api.keys makes them."""
    if name == "API_KEY":
        return f"mrs_{secrets.token_hex(8)}_{secrets.token_hex(32)}"
    return secrets.token_hex(16)


def has_value(text: str, name: str) -> bool:
    return re.search(rf"^{name}=[^\S\n]*[^\s#]", text, flags=re.MULTILINE) is not None


def with_value(text: str, name: str, value: str) -> str:
    """The text of an env file with `name` set: its empty line filled in, or a line added at the end."""
    filled, count = re.subn(rf"^{name}=[^\S\n]*$", f"{name}={value}", text, count=1, flags=re.MULTILINE)
    return filled if count else f"{text.rstrip()}\n{name}={value}\n".lstrip()


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only: it holds passwords."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.touch(mode=0o600)
    aside.write_text(text)
    aside.replace(path)


def main() -> None:
    if not ensure():
        raise SystemExit(f"no .env and no .env.example in {Path.cwd()}: run this in the project's folder")
    made = fill(CONTAINERS)
    print(f"made {', '.join(made)} in .env" if made else "every secret is in .env already")


if __name__ == "__main__":
    main()
