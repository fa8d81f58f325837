from tests.deploy.stack import Stack, is_alive, wait_for


def test_down_stops_every_process_and_keeps_the_data(stack: Stack) -> None:
    stack.run("up", "postgres")
    started = stack.processes()
    assert len(started) >= 5
    assert "the data is kept" in stack.run("down")
    assert not [process for process in started if is_alive(process)]
    assert not stack.supervisor.is_running()
    assert (stack.var / "postgres" / "PG_VERSION").exists()
    assert not (stack.var / "postgres" / "postmaster.pid").exists()


def test_down_accepts_a_stack_that_is_not_running(fresh: Stack) -> None:
    assert fresh.run("down") == "nothing was running\n"


def test_down_stops_the_processes_of_a_killed_supervisord(stack: Stack) -> None:
    stack.run("up", "postgres")
    started = stack.processes()
    supervisord = stack.supervisord()
    supervisord.kill()
    wait_for(lambda: not is_alive(supervisord))
    assert len(stack.processes()) >= 4
    stack.run("down")
    assert stack.processes() == []
    assert not [process for process in started if is_alive(process)]
    assert not stack.supervisor.socket.exists()


def test_down_leaves_another_stack_running(stack: Stack, fresh: Stack) -> None:
    stack.run("up", "postgres")
    fresh.run("up", "postgres")
    other = fresh.pid("postgres")
    stack.run("down")
    assert fresh.pid("postgres") == other
    assert "postgres   running" in fresh.run("status", code=1)
