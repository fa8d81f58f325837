import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deploy.local.processes import SERVICE, STACK, listeners, port_is_free, stack_processes, stop
from tests.deploy.stack import is_alive

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.mark.process
def test_stop_kills_a_process_that_ignores_sigterm() -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        stubborn = psutil.Process(process.pid)
        assert stop([stubborn], grace=0.5) == []
        assert not is_alive(stubborn)


@pytest.mark.process
def test_stack_processes_are_found_by_their_environment(tmp_path: Path) -> None:
    environment = {STACK: str(tmp_path), SERVICE: "mlflow"}
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout
        process.stdout.readline()
        assert [found.pid for found in stack_processes(tmp_path)] == [process.pid]
        assert [found.pid for found in stack_processes(tmp_path, "mlflow")] == [process.pid]
        assert stack_processes(tmp_path, "bento") == []
        assert stack_processes(tmp_path / "other") == []
        process.kill()
        process.wait()
        assert stack_processes(tmp_path) == []


def test_listeners_are_found_on_any_address() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
        assert [process.pid for process in listeners(port)] == [psutil.Process().pid]
    assert port_is_free(port)
