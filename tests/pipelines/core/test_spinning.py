"""The second pool of threads, with the waiting times of a made-up process."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipelines.core import spinning
from pipelines.core.spinning import no_spinning_beside_others, waited


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The statistics of a thread, which the test writes; PyTorch has two threads meanwhile."""
    for name in spinning.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(spinning, "TASKS", tmp_path)
    monkeypatch.setattr(spinning, "INTERVAL_SECONDS", 0.01)
    (tmp_path / "1").mkdir()
    statistics = tmp_path / "1" / "schedstat"
    statistics.write_text("5 1000000000 3\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield statistics
    torch.set_num_threads(threads)


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_second_pool_exists_while_the_threads_wait_for_a_core(waiting: Path) -> None:
    with no_spinning_beside_others():
        assert "no-spinning" in names()
        assert "second-pool" not in names()
        deadline, seconds = time.monotonic() + 60, 1
        while "second-pool" not in names():  # other processes use the cores
            seconds += 1
            waiting.write_text(f"5 {seconds}000000000 3\n")
            time.sleep(0.005)
            assert time.monotonic() < deadline
        while "second-pool" in names():  # they no longer do
            time.sleep(0.005)
            assert time.monotonic() < deadline
    assert not {"no-spinning", "second-pool"} & names()


def test_the_second_pool_ends_with_the_training(waiting: Path) -> None:
    with no_spinning_beside_others():
        deadline = time.monotonic() + 60
        while "second-pool" not in names():
            waiting.write_text(f"5 {time.monotonic_ns()}0 3\n")
            assert time.monotonic() < deadline
    assert not {"no-spinning", "second-pool"} & names()


@pytest.mark.parametrize("name", spinning.SETTINGS)
def test_the_users_own_setting_takes_precedence(
    waiting: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1000")
    with no_spinning_beside_others():
        assert "no-spinning" not in names()


def test_nothing_happens_where_the_system_does_not_tell_waiting_times(waiting: Path) -> None:
    waiting.unlink()
    assert waited() == 0
    with no_spinning_beside_others():
        assert "no-spinning" not in names()


def test_this_process_has_waited_for_a_core() -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("only Linux tells the waiting times")
    assert waited() > 0
