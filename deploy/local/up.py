"""`up`: start what is missing, wait until it serves, and say what is wrong when it does not."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx

from deploy.local.configuration import configuration
from deploy.local.down import bring_down, sweep
from deploy.local.processes import describe, listeners, ours, port_is_free
from deploy.local.services import Service, keep_key, migrate, services
from deploy.local.settings import Settings, StackError
from deploy.local.supervision import Supervisor

LOG_LINES = 20


def bring_up(settings: Settings, names: Sequence[str] = ()) -> None:
    """Start the named services, or all; those that serve already are left alone. Raises StackError."""
    known = services(settings)
    if unknown := set(names) - set(known):
        raise StackError(f"no service {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    asked = set(names or known)
    supervisor = Supervisor(settings.var_dir)
    with supervisor.locked():
        text = configuration(settings, known.values())
        if supervisor.is_running() and supervisor.configuration.read_text() != text:
            print("the settings changed since the stack was started: restarting it")
            asked |= {name for name, found in supervisor.programs().items() if found.pid}
            bring_down(supervisor)
        wanted = {name: service for name, service in known.items() if name in asked}
        if not supervisor.is_running():
            sweep(supervisor, "left by an earlier stack")
            refuse_taken_ports(settings, wanted.values())
            supervisor.boot(text)
        else:
            refuse_taken_ports(settings, wanted.values())
        start_in_order(settings, supervisor, wanted)


def start_in_order(settings: Settings, supervisor: Supervisor, wanted: dict[str, Service]) -> None:
    """Storage first, then the schema, then what serves people."""
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
            raise StackError(f"{error}\nNo model is promoted yet: run `make repro promote`") from None
        raise


def refuse_taken_ports(settings: Settings, wanted: Iterable[Service]) -> None:
    """Raise StackError when somebody else holds a port, naming them and the variable."""
    ids = {process.pid for process in ours(settings.var_dir)}
    for service in wanted:
        if service.port is None or port_is_free(service.port):
            continue
        holders = listeners(service.port)
        if ids.intersection(process.pid for process in holders):
            continue
        by = " and ".join(map(describe, holders)) or "another user's process"
        name = service.port_variable
        raise StackError(f"{name}={service.port} is taken by {by}: stop it or set {name} in .env")


def start_and_wait(supervisor: Supervisor, wanted: Sequence[Service]) -> None:
    """Start services side by side; a line for each that serves. Raises StackError when one fails."""
    for service in wanted:
        supervisor.start(service.name)
    began = time.monotonic()
    waiting = list(wanted)
    while waiting:
        programs = supervisor.programs()
        for service in list(waiting):
            seconds = time.monotonic() - began
            state = programs[service.name].state
            starting = ("STARTING", "RUNNING") if service.port else ("RUNNING",)
            if state in starting and service.healthy():
                print(f"{service.name:<10} ready  {seconds:5.1f} s  {service.url}", flush=True)
                waiting.remove(service)
            elif state not in ("STARTING", "RUNNING"):
                supervisor.stop(service.name)  # do not go on failing in the background
                raise failure(supervisor, service, f"ended after {seconds:.0f} s")
            elif seconds > service.ready_within:
                raise failure(supervisor, service, f"is not ready after {seconds:.0f} s")
        time.sleep(0.1)


def failure(supervisor: Supervisor, service: Service, what: str) -> StackError:
    """The end of the log comes first on the terminal, the cause in one line last."""
    log = supervisor.log / f"{service.name}.log"
    print("\n".join(("", f"--- {log}", *last_lines(log), "---")))
    return StackError(f"{service.name} {what}; its log is {log}")


def last_lines(path: Path) -> list[str]:
    if not path.exists():
        return ["(empty)"]
    with path.open(errors="replace") as lines:
        return [line.rstrip() for line in deque(lines, LOG_LINES)]


def prepare_database(settings: Settings) -> None:
    """Migrate and keep the key, with a line like a service's. Raises StackError after showing why."""
    began = time.monotonic()
    for name, work in (("alembic upgrade head", migrate), ("api.keys create", keep_key)):
        done = work(settings)
        if done.returncode:
            print("\n".join(done.stdout.splitlines()[-LOG_LINES:]))
            raise StackError(f"{name} failed with exit code {done.returncode}")
    print(f"{'migrate':<10} done   {time.monotonic() - began:5.1f} s", flush=True)


def champion_version(settings: Settings) -> str | None:
    """The version that the registry's alias names, None when there is none or MLflow is not up."""
    url = f"{settings.mlflow_url}/api/2.0/mlflow/registered-models/alias"
    words = {"name": "sentiment", "alias": "champion"}
    try:
        found = httpx.get(url, params=words, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return None
    return str(found.json()["model_version"]["version"]) if found.is_success else None
