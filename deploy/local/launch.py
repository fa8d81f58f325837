"""`python -m deploy.local.launch NAME`: run by supervisor, becomes the service's process."""

import os
import sys

from deploy.local.processes import SERVICE, describe, stack_processes, stop
from deploy.local.services import services
from deploy.local.settings import read_settings


def main(name: str) -> None:
    """Replace this process with the service; never returns."""
    settings = read_settings()
    service = services(settings)[name]
    # Workers of a killed parent keep running and hold the port.
    leftovers = stack_processes(settings.var_dir, name)
    if leftovers:
        print(f"stopping leftovers of {name}: {', '.join(map(describe, leftovers))}", flush=True)
        stop(leftovers, grace=5)
    os.environ.update(service.environment)
    os.environ.update(
        {SERVICE: name, "PYTHONUNBUFFERED": "1", "NO_PROXY": no_proxy(), "no_proxy": no_proxy()}
    )
    service.prepare()
    os.execv(service.command[0], service.command)  # noqa: S606


def no_proxy() -> str:
    """Exclude loopback, where the services talk to each other, from any proxy."""
    # Programs differ in which spelling they read, and `*` counts only if it stands alone.
    given = [value for name in ("NO_PROXY", "no_proxy") if (value := os.environ.get(name))]
    return "*" if "*" in given else ",".join(dict.fromkeys([*given, "127.0.0.1", "localhost"]))


if __name__ == "__main__":
    main(sys.argv[1])
