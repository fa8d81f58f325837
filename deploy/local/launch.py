"""`python -m deploy.local.launch NAME`: what supervisor runs. Becomes the service's own process."""

import os
import sys

from deploy.local.processes import SERVICE, describe, ours, stop
from deploy.local.services import services
from deploy.local.settings import read_settings


def main(name: str) -> None:
    """Replace this process by the service; never returns."""
    settings = read_settings()
    service = services(settings)[name]
    # A killed parent leaves workers behind that still hold the port.
    leftovers = ours(settings.var_dir, name)
    if leftovers:
        print(f"ending leftovers of {name}: {', '.join(map(describe, leftovers))}", flush=True)
        stop(leftovers, grace=5)
    os.environ.update(service.environment)
    os.environ.update(
        {SERVICE: name, "PYTHONUNBUFFERED": "1", "NO_PROXY": no_proxy(), "no_proxy": no_proxy()}
    )
    service.prepare()
    os.execv(service.command[0], service.command)  # noqa: S606


def no_proxy() -> str:
    """The services talk to each other on loopback: past any proxy."""
    return ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost")))


if __name__ == "__main__":
    main(sys.argv[1])
