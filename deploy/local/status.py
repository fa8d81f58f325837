"""`status`: a table with one line per service."""

from deploy.local.services import Service, services
from deploy.local.settings import Settings
from deploy.local.supervision import Program, Supervisor

COLUMNS = "{:<10} {:<9} {:>7} {:>9}  {:<9} {}"


def table(settings: Settings) -> tuple[str, bool]:
    """Return the table, and whether every service is healthy."""
    supervisor = Supervisor(settings.var_dir)
    programs = supervisor.programs() if supervisor.is_running() else {}
    rows = [row(service, programs.get(service.name)) for service in services(settings).values()]
    lines = [COLUMNS.format("service", "state", "pid", "uptime", "health", "url")]
    lines += [COLUMNS.format(*words) for words in rows]
    return "\n".join(lines), all(words[4] == "healthy" for words in rows)


def row(service: Service, program: Program | None) -> tuple[str, str, str, str, str, str]:
    if program is None or not program.pid:
        state = program.state.lower() if program else "down"
        return service.name, state, "-", "-", "-", service.url
    health = "healthy" if service.healthy() else "unhealthy"
    # supervisord reports STARTING for startsecs seconds, even if the service already responds.
    state = "running" if service.port and health == "healthy" else program.state.lower()
    uptime = f"{program.uptime // 3600}:{program.uptime // 60 % 60:02}:{program.uptime % 60:02}"
    return service.name, state, str(program.pid), uptime, health, service.url
