"""The supervisord.conf of the stack."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.local.services import Service
from deploy.local.settings import Settings
from deploy.local.supervision import Supervisor


def configuration(settings: Settings, programs: Iterable[Service]) -> str:
    """Return the whole file. `up` compares its digest of the settings to notice that they changed."""
    supervisor = Supervisor(settings.var_dir)
    lines = [
        f"; settings {settings.digest()}",
        "[supervisord]",
        f"pidfile={escaped(supervisor.pidfile)}",
        f"logfile={escaped(supervisor.log / 'supervisord.log')}",
        "logfile_maxbytes=1MB",
        "logfile_backups=1",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={escaped(supervisor.socket)}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for service in programs:
        lines += section(service, supervisor.log)
    return "\n".join(lines) + "\n"


def section(service: Service, log: Path) -> list[str]:
    as_group = str(service.stop_as_group).lower()
    return [
        f"[program:{service.name}]",
        f"command={escaped(shlex.quote(sys.executable))} -m deploy.local.launch {service.name}",
        f"directory={escaped(Path.cwd())}",
        "autostart=false",  # `up` starts the services in order
        "autorestart=true",
        f"startsecs={service.start_seconds}",
        # Each pause is a second longer: a full disk may last for days before supervisor gives up.
        "startretries=1000",
        f"stopsignal={service.stop_signal}",
        f"stopasgroup={as_group}",
        f"killasgroup={as_group}",
        "stopwaitsecs=15",
        "redirect_stderr=true",
        # supervisord expands this value twice.
        f"stdout_logfile={escaped(escaped(log / f'{service.name}.log'))}",
        "stdout_logfile_maxbytes=5MB",
        "stdout_logfile_backups=2",
    ]


def escaped(value: Path | str) -> str:
    """Escape percent signs: supervisord expands `%(name)s` in its configuration."""
    return str(value).replace("%", "%%")
