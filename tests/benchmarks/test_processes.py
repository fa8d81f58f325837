import random
import sys
import time
from pathlib import Path

import pytest

from benchmarks.command import BenchmarkError
from benchmarks.processes import ProcessTree, clean_environment, free_ports, run_to_end
from benchmarks.resource_usage import measure_usage

SLEEP = "import time; time.sleep(60)"
# Like Ray: its child is in another session and ignores SIGTERM.
WITH_CHILD = f"""
import subprocess, sys
stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); {SLEEP}"
subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
{SLEEP}
"""
BUSY = """
import time
bytes(50 * 2**20).count(1)
while True: time.sleep(0)
"""


def start(processes: ProcessTree, code: str, folder: Path) -> Path:
    log = folder / f"{processes.cookie}.log"
    processes.start([sys.executable, "-c", code], {}, log, folder)
    return log


@pytest.mark.process
def test_stops_all_processes_of_the_tree_and_no_others(tmp_path: Path) -> None:
    with ProcessTree() as other:
        start(other, SLEEP, tmp_path)
        tree = ProcessTree()
        log = start(tree, WITH_CHILD, tmp_path)
        tree.wait_until(lambda: "ready" in log.read_text(), 20)
        assert len(tree.processes()) == 2
        tree.stop(grace_seconds=0.5)
        assert tree.processes() == []
        assert len(other.processes()) == 1
    assert other.processes() == []


@pytest.mark.process
def test_a_process_that_exits_during_its_start_is_an_error_with_its_output(tmp_path: Path) -> None:
    with ProcessTree() as tree:
        start(tree, "raise SystemExit('no model')", tmp_path)
        with pytest.raises(BenchmarkError, match="exited during its start\nno model"):
            tree.wait_until(lambda: False, 20)


@pytest.mark.process
def test_a_process_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    with ProcessTree() as tree:
        start(tree, SLEEP, tmp_path)
        with pytest.raises(BenchmarkError, match="not ready within"):
            tree.wait_until(lambda: False, 0.2)


@pytest.mark.process
def test_processor_time_and_peak_memory_are_measured(tmp_path: Path) -> None:
    with ProcessTree() as tree:
        start(tree, BUSY, tmp_path)
        tree.wait_until(lambda: len(tree.processes()) == 1, 20)
        started = time.monotonic()
        with measure_usage(tree) as usage:
            time.sleep(1.2)
    assert 0.05 < usage.cpu_seconds <= time.monotonic() - started
    assert 4 < usage.peak_mebibytes < 200


@pytest.mark.process
def test_a_command_returns_its_output() -> None:
    assert run_to_end([sys.executable, "-c", "print(input())"], {}, stdin="text") == "text\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "seconds", "message"),
    [("raise SystemExit('no space')", 20, "failed with exit code 1:\nno space"), (SLEEP, 0.1, "not finish")],
)
def test_a_command_that_fails_or_hangs_is_an_error(code: str, seconds: float, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        run_to_end([sys.executable, "-c", code], {}, seconds=seconds)


def test_variables_of_the_users_stack_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "BENTO_URL", "PYTHONPATH", "LANG"):
        monkeypatch.setenv(name, "value")
    assert {"MLFLOW_TRACKING_URI", "BENTO_URL", "PYTHONPATH", "LANG"} & clean_environment().keys() == {"LANG"}


def test_ports_are_distinct_and_below_the_ephemeral_ports() -> None:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else 49152
    ports = free_ports(200)
    assert len(set(ports)) == 200
    assert max(ports) < lowest


def test_ports_do_not_depend_on_the_seed_of_a_training() -> None:
    drawn = []
    for _ in range(2):
        random.seed(1)
        drawn.append(free_ports(5))
    assert drawn[0] != drawn[1]
