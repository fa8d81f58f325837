import signal
import socket
import subprocess
import sys

import asyncpg
import httpx
import psutil
import pytest

from tests.deploy.queries import ROOT
from tests.deploy.stack import Stack, is_alive, stack_folder, wait_for


async def connect(stack: Stack, password: str | None = None) -> asyncpg.Connection:
    return await asyncpg.connect(
        host="127.0.0.1",
        port=stack.ports["POSTGRES_PORT"],
        user="postgres",
        password=password or stack.setting("POSTGRES_PASSWORD"),
        database="postgres",
    )


async def test_up_completes_an_interrupted_up(fresh: Stack) -> None:
    with fresh.begin("up", "postgres", "mlflow") as process:
        assert process.stdout
        first = process.stdout.readline()
        assert first.startswith("postgres   ready"), first + process.stdout.read()
        process.send_signal(signal.SIGINT)
        assert "interrupted: run `up` again" in process.communicate(timeout=120)[0]
    assert process.returncode == 130
    postmaster = fresh.pid("postgres")
    assert fresh.supervisor.programs()["mlflow"].state in ("STARTING", "RUNNING")
    assert fresh.run("up", "postgres").startswith("postgres   ready")
    assert fresh.pid("postgres") == postmaster


async def test_postgres_requires_the_password_of_the_env_file(stack: Stack) -> None:
    stack.run("up", "postgres")
    connection = await connect(stack)
    assert (await connection.fetchval("SHOW server_version")).startswith("16.")
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(stack, password="wrong")


async def test_a_new_password_applies_to_existing_data(stack: Stack) -> None:
    stack.run("up", "postgres")
    env = stack.root / ".env"
    env.write_text(env.read_text().replace(stack.setting("POSTGRES_PASSWORD"), "it's%new"))
    assert "the settings changed" in stack.run("up", "postgres")
    connection = await connect(stack, password="it's%new")
    await connection.close()


async def test_postgres_restarts_when_killed_and_keeps_its_data(stack: Stack) -> None:
    stack.run("up", "postgres")
    connection = await connect(stack)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (x int)")
    await connection.close()
    killed = stack.pid("postgres")
    psutil.Process(killed).kill()
    wait_for(lambda: stack.pid("postgres") not in (0, killed))
    stack.run("up", "postgres")  # waits until it is healthy
    connection = await connect(stack)
    assert await connection.fetch("SELECT * FROM kept") == []
    await connection.close()


def test_up_recovers_from_a_killed_supervisord(stack: Stack) -> None:
    stack.run("up", "postgres")
    postmaster, supervisord = stack.pid("postgres"), stack.supervisord()
    supervisord.kill()
    wait_for(lambda: not is_alive(supervisord))
    assert is_alive(psutil.Process(postmaster))
    assert "left by an earlier stack" in stack.run("up", "postgres")
    assert stack.pid("postgres") not in (0, postmaster)


def test_changed_settings_restart_every_running_service(stack: Stack) -> None:
    stack.run("up", "postgres", "worker")
    before = stack.pid("worker")
    with (stack.root / ".env").open("a") as env:
        env.write("API_LIMIT_READ=1/minute\n")
    assert "the settings changed" in stack.run("restart", "postgres")
    assert stack.supervisor.programs()["worker"].state == "RUNNING"
    assert stack.pid("worker") != before


def test_up_leaves_running_services_alone(stack: Stack) -> None:
    stack.run("up", "postgres", "worker")
    before = stack.long_lived_pids()
    stack.run("up", "postgres", "worker")
    assert stack.long_lived_pids() == before


def test_a_port_in_use_is_reported(fresh: Stack) -> None:
    port = fresh.ports["POSTGRES_PORT"]
    script = f"import socket, time; _ = socket.create_server(('', {port})); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        output = fresh.run("up", "postgres", code=1)
        holder.kill()
    assert output.startswith(f"POSTGRES_PORT={port} is in use by pid {holder.pid} (")
    assert output.endswith("stop it or change POSTGRES_PORT in .env\n")
    assert fresh.processes() == []


def test_the_log_of_a_failed_service_is_shown(fresh: Stack) -> None:
    (fresh.var / "postgres").mkdir(parents=True)
    output = fresh.run("up", "postgres", code=1)
    assert "postgres failed with exit code 1:\n" in output
    assert output.splitlines()[-1].startswith("postgres exited after")
    assert fresh.supervisor.programs()["postgres"].state != "BACKOFF"


def test_an_unknown_service_is_reported(fresh: Stack) -> None:
    assert fresh.run("up", "redis", code=1).startswith("unknown service redis: choose from postgres, mlflow")


TUNNEL = "MLFLOW_SERVER_ALLOWED_HOSTS=tunnel.test:5001"


@pytest.mark.process
def test_a_long_path_with_special_characters_does_not_break_the_stack() -> None:
    """Nor does a password with them, and the database of MLflow is where it belongs.

    MLflow accepts the host name of a tunnel.
    """
    with stack_folder() as folder:
        deep = folder.joinpath("100%20 a?b", *(["a-long-folder-name"] * 6))
        deep.mkdir(parents=True)
        stack = Stack(deep)
        try:
            with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError, match="too long"):
                probe.bind(str(stack.var / "run" / "supervisor.sock"))
            (deep / "alembic.ini").write_text((ROOT / "alembic.ini").read_text())
            (deep / "alembic").symlink_to(ROOT / "alembic")
            example = (deep / ".env.example").read_text()
            (deep / ".env").write_text(f"{example}POSTGRES_PASSWORD='p%20 w?o@r#d'\n{TUNNEL}\n")
            stack.run("up", "postgres", "mlflow")
            assert (stack.var / "mlflow.db").is_file()
            for host, status in (("tunnel.test:5001", 200), ("tunnel.test", 403)):
                url = stack.url("MLFLOW_PORT", "/api/2.0/mlflow/experiments/search?max_results=1")
                assert httpx.get(url, headers={"Host": host}).status_code == status
            stack.run("migrate")
        finally:
            stack.destroy()
    assert stack.supervisor.socket.parent != stack.supervisor.run
    assert not stack.supervisor.socket.parent.exists()
