"""`up`: start the services that are down, wait until they are healthy, and explain failures."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx

from deploy.local.configuration import configuration
from deploy.local.down import bring_down, stop_orphans
from deploy.local.processes import describe, listeners, port_is_free, stack_processes
from deploy.local.services import Service, migrate, register_key, services
from deploy.local.settings import Settings, StackError
from deploy.local.supervision import Supervisor

LOG_LINES = 20


def bring_up(settings: Settings, names: Sequence[str] = ()) -> None:
    """Start the named services, or all, unless they are running. Raises StackError."""
    known = services(settings)
    if unknown := set(names) - set(known):
        raise StackError(f"unknown service {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    asked = set(names or known)
    supervisor = Supervisor(settings.var_dir)
    with supervisor.locked():
        text = configuration(settings, known.values())
        if supervisor.is_running() and supervisor.configuration.read_text() != text:
            print("the settings changed since the stack started: restarting it")
            asked |= {name for name, found in supervisor.programs().items() if found.pid}
            bring_down(supervisor)
        wanted = {name: service for name, service in known.items() if name in asked}
        if not supervisor.is_running():
            stop_orphans(supervisor, "left by an earlier stack")
            check_ports(settings, wanted.values())
            supervisor.boot(text)
        else:
            check_ports(settings, wanted.values())
        start_in_order(settings, supervisor, wanted)


def start_in_order(settings: Settings, supervisor: Supervisor, wanted: dict[str, Service]) -> None:
    """Start storage first, then migrate the database, then start the other services. Raises StackError."""
    storage = [service for name, service in wanted.items() if name in ("postgres", "mlflow")]
    serving = [service for name, service in wanted.items() if name not in ("postgres", "mlflow")]
    start_and_wait(supervisor, storage)
    if "api" in wanted:
        prepare_database(settings)
    champion = champion_version(settings) if "bento" in wanted else None
    try:
        start_and_wait(supervisor, serving)
    except StackError as error:
        if "bento" in wanted and not champion:
            raise StackError(f"{error}\nNo model has been promoted: run `make repro promote`") from None
        raise


def check_ports(settings: Settings, wanted: Iterable[Service]) -> None:
    """Raise StackError if a process outside the stack holds a port; name the process and the setting."""
    own = {process.pid for process in stack_processes(settings.var_dir)}
    for service in wanted:
        if service.port is None or port_is_free(service.port):
            continue
        holders = listeners(service.port)
        if own.intersection(process.pid for process in holders):
            continue
        by = " and ".join(map(describe, holders)) or "another user's process"
        name = service.port_variable
        raise StackError(f"{name}={service.port} is in use by {by}: stop it or change {name} in .env")


def start_and_wait(supervisor: Supervisor, wanted: Sequence[Service]) -> None:
    """Start services in parallel and report each once it is healthy. Raises StackError if one fails."""
    for service in wanted:
        supervisor.start(service.name)
    started = time.monotonic()
    waiting = list(wanted)
    while waiting:
        programs = supervisor.programs()
        for service in list(waiting):
            seconds = time.monotonic() - started
            state = programs[service.name].state
            starting = ("STARTING", "RUNNING") if service.port else ("RUNNING",)
            if state in starting and service.healthy():
                print(f"{service.name:<10} ready  {seconds:5.1f} s  {service.url}", flush=True)
                waiting.remove(service)
            elif state not in ("STARTING", "RUNNING"):
                supervisor.stop(service.name)  # ends its restart loop
                raise failure(supervisor, service, f"exited after {seconds:.0f} s")
            elif seconds > service.ready_timeout:
                raise failure(supervisor, service, f"is not ready after {seconds:.0f} s")
        time.sleep(0.1)


def failure(supervisor: Supervisor, service: Service, reason: str) -> StackError:
    """Print the end of the service's log, so that the reason is the last line on the terminal."""
    log = supervisor.log / f"{service.name}.log"
    print("\n".join(("", f"--- {log}", *last_lines(log), "---")))
    return StackError(f"{service.name} {reason}; see {log}")


def last_lines(path: Path) -> list[str]:
    if not path.exists():
        return ["(empty)"]
    with path.open(errors="replace") as lines:
        return [line.rstrip() for line in deque(lines, LOG_LINES)]


def prepare_database(settings: Settings) -> None:
    """Migrate the database and register the key. Raises StackError after printing the output."""
    started = time.monotonic()
    for name, work in (("alembic upgrade head", migrate), ("api.keys create", register_key)):
        done = work(settings)
        if done.returncode:
            print("\n".join(done.stdout.splitlines()[-LOG_LINES:]))
            raise StackError(f"{name} failed with exit code {done.returncode}")
    print(f"{'migrate':<10} done   {time.monotonic() - started:5.1f} s", flush=True)


def champion_version(settings: Settings) -> str | None:
    """Return the version of the alias `champion`; None without one, or if MLflow does not respond."""
    url = f"{settings.mlflow_url}/api/2.0/mlflow/registered-models/alias"
    query = {"name": "sentiment", "alias": "champion"}
    try:
        found = httpx.get(url, params=query, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return None
    return str(found.json()["model_version"]["version"]) if found.is_success else None
