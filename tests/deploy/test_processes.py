import socket
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.local.processes import SERVICE, STACK, listeners, ours, port_is_free, stop
from tests.deploy.stack import is_alive

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"


def test_stop_kills_what_does_not_listen() -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        stubborn = psutil.Process(process.pid)
        assert stop([stubborn], grace=0.5) == []
        assert not is_alive(stubborn)


def test_only_marked_processes_are_ours(tmp_path: Path) -> None:
    environment = {STACK: str(tmp_path), SERVICE: "mlflow"}
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert [found.pid for found in ours(tmp_path)] == [process.pid]
        assert [found.pid for found in ours(tmp_path, "mlflow")] == [process.pid]
        assert ours(tmp_path, "bento") == []
        assert ours(tmp_path / "other") == []
        process.kill()
        process.wait()
        assert ours(tmp_path) == []


def test_a_listener_is_found_on_any_address() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
        assert [process.pid for process in listeners(port)] == [psutil.Process().pid]
    assert port_is_free(port)
