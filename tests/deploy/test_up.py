import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tests.deploy.stack import Stack, is_alive, wait_for

STORAGE = ("up", "postgres", "mlflow")


async def connect(stack: Stack, password: str | None = None) -> asyncpg.Connection:
    return await asyncpg.connect(
        host="127.0.0.1",
        port=stack.ports["POSTGRES_PORT"],
        user="postgres",
        password=password or stack.password(),
        database="postgres",
    )


async def test_an_interrupted_up_is_finished_by_the_next(fresh: Stack) -> None:
    with fresh.begin(*STORAGE) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("postgres   ready")
        process.send_signal(signal.SIGINT)
        assert "interrupted: run `up` again" in process.communicate(timeout=30)[0]
    assert process.returncode == 130
    postmaster = fresh.pid("postgres")
    assert fresh.supervisor.programs()["mlflow"].state in ("STARTING", "RUNNING")
    assert fresh.run("up", "postgres").startswith("postgres   ready")
    assert fresh.pid("postgres") == postmaster


async def test_postgres_asks_for_the_password_of_the_env_file(stack: Stack) -> None:
    stack.run("up", "postgres")
    connection = await connect(stack)
    assert (await connection.fetchval("SHOW server_version")).startswith("16.")
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(stack, password="wrong")


async def test_a_new_password_reaches_the_old_data(fresh: Stack) -> None:
    fresh.run("up", "postgres")
    env = fresh.root / ".env"
    env.write_text(env.read_text().replace(fresh.password(), "it's%new"))
    assert "the settings changed" in fresh.run("up", "postgres")
    connection = await connect(fresh, password="it's%new")
    await connection.close()


def test_what_ran_before_the_settings_changed_runs_afterwards(fresh: Stack) -> None:
    fresh.run(*STORAGE)
    with (fresh.root / ".env").open("a") as env:
        env.write("API_LIMIT_READ=1/minute\n")
    said = fresh.run("restart", "postgres")
    assert "the settings changed" in said
    assert httpx.get(fresh.url("MLFLOW_PORT", "/health")).status_code == 200


def test_mlflow_answers_to_its_own_name_only(stack: Stack) -> None:
    stack.run(*STORAGE)
    url = stack.url("MLFLOW_PORT", "/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert httpx.get(url, timeout=60).status_code == 200
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403


def test_up_again_changes_nothing(stack: Stack) -> None:
    stack.run(*STORAGE)
    before = stack.lasting()
    stack.run(*STORAGE)
    assert stack.lasting() == before


async def test_postgres_is_restarted_when_killed_and_keeps_its_data(stack: Stack) -> None:
    stack.run("up", "postgres")
    connection = await connect(stack)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (x int)")
    await connection.close()
    killed = stack.pid("postgres")
    psutil.Process(killed).kill()
    wait_for(lambda: stack.pid("postgres") not in (0, killed))
    stack.run("up", "postgres")  # waits until it serves
    connection = await connect(stack)
    assert await connection.fetch("SELECT * FROM kept") == []
    await connection.close()


def test_mlflow_is_restarted_when_its_parent_is_killed(stack: Stack) -> None:
    """The orphaned worker keeps the port, so it has to go before a new one can serve."""
    stack.run(*STORAGE)
    parent = psutil.Process(stack.pid("mlflow"))
    workers = parent.children(recursive=True)
    assert workers
    parent.kill()
    wait_for(lambda: stack.pid("mlflow") not in (0, parent.pid))
    stack.run(*STORAGE)
    assert not [worker for worker in workers if is_alive(worker)]


def test_up_recovers_from_a_killed_supervisord(stack: Stack) -> None:
    stack.run("up", "postgres")
    postmaster, supervisord = stack.pid("postgres"), stack.supervisord()
    supervisord.kill()
    wait_for(lambda: not is_alive(supervisord))
    assert is_alive(psutil.Process(postmaster))
    assert "left by an earlier stack" in stack.run("up", "postgres")
    assert stack.pid("postgres") not in (0, postmaster)


def test_a_taken_port_is_refused_by_name(fresh: Stack) -> None:
    port = fresh.ports["POSTGRES_PORT"]
    script = f"import socket, time; _ = socket.create_server(('', {port})); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        output = fresh.run("up", "postgres", code=1)
        holder.kill()
    assert output.startswith(f"POSTGRES_PORT={port} is taken by pid {holder.pid} (")
    assert output.endswith("stop it or set POSTGRES_PORT in .env\n")
    assert fresh.processes() == []


def test_a_failing_service_shows_its_log(fresh: Stack) -> None:
    (fresh.var / "postgres").mkdir(parents=True)
    output = fresh.run("up", "postgres", code=1)
    assert "postgres failed with exit code 1:\n" in output
    assert output.splitlines()[-1].startswith("postgres ended after")
    assert fresh.supervisor.programs()["postgres"].state != "BACKOFF"


def test_an_unknown_service_is_named(fresh: Stack) -> None:
    assert fresh.run("up", "redis", code=1).startswith("no service redis: there are postgres, mlflow")


def test_a_long_path_does_not_break_the_socket(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["a-long-folder-name"] * 6))
    deep.mkdir(parents=True)
    stack = Stack(deep)
    try:
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError, match="too long"):
            probe.bind(str(stack.var / "run" / "supervisor.sock"))
        stack.run("up", "postgres")
    finally:
        stack.destroy()
    assert stack.supervisor.socket.parent != stack.supervisor.run
    assert not stack.supervisor.socket.parent.exists()
