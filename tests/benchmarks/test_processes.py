import random
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import Family, free_ports, new_mark, wait_until
from benchmarks.serving.weight import weigh

SLEEP = "import time; time.sleep(60)"
# Like Ray: a child in a session of its own that does not end when it is asked.
RUNAWAY = f"""
import subprocess, sys
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
{SLEEP}
"""
BUSY = """
import time
bytes(50 * 2**20).count(1)
while True: time.sleep(0)
"""


def start(family: Family, code: str, folder: Path) -> None:
    family.start([sys.executable, "-c", code], {}, folder / "log", folder)


def test_ends_every_process_of_the_family_and_no_other(tmp_path: Path) -> None:
    with Family(new_mark()) as other:
        start(other, SLEEP, tmp_path)
        family = Family(new_mark())
        start(family, RUNAWAY, tmp_path)
        wait_until(lambda: len(family.members()) == 2, family, 20)
        time.sleep(0.5)  # until the child is deaf
        family.stop(grace=0.5)
        assert family.members() == []
        assert len(other.members()) == 1
    assert other.members() == []


def test_a_process_that_ends_while_starting(tmp_path: Path) -> None:
    with Family(new_mark()) as family:
        start(family, "raise SystemExit('no model')", tmp_path)
        with pytest.raises(BenchmarkError, match="ended while starting"):
            wait_until(lambda: False, family, 20)
    assert "no model" in (tmp_path / "log").read_text()


def test_a_process_that_is_never_ready(tmp_path: Path) -> None:
    with Family(new_mark()) as family:
        start(family, SLEEP, tmp_path)
        with pytest.raises(BenchmarkError, match="not ready within"):
            wait_until(lambda: False, family, 0.2)


def test_weighs_processor_time_and_memory(tmp_path: Path) -> None:
    with Family(new_mark()) as family:
        start(family, BUSY, tmp_path)
        wait_until(lambda: len(family.members()) == 1, family, 20)
        began = time.monotonic()
        with weigh(family) as weight:
            time.sleep(1.2)
    assert 0.05 < weight.cpu_seconds <= time.monotonic() - began
    assert 4 < weight.peak_mebibytes < 200


def test_ports_for_servers_are_none_that_the_kernel_deals_out() -> None:
    range_ = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(range_.read_text().split()[0]) if range_.exists() else 49152
    ports = free_ports(200)
    assert len(set(ports)) == 200
    assert max(ports) < lowest


def test_a_training_that_seeds_the_generator_does_not_choose_the_ports() -> None:
    drawn = []
    for _ in range(2):
        random.seed(1)
        drawn.append(free_ports(5))
    assert drawn[0] != drawn[1]
