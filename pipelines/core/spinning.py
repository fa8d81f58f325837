"""Threads of PyTorch that sleep instead of spin while other processes use the cores.

In PyTorch's OpenMP, libgomp, a thread that waits for others first spins, 300,000 times, and then sleeps. That
is fastest on an idle machine. Beside a busy process, the threads that spin take the time of those that they
wait for. libgomp spins only 100 times while it manages more threads than there are processors. It reads its
settings once, when it is loaded. Here a second pool of threads, which sleep, brings about that state and ends
it again. The results are the same in both.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Environment variables of the user's that take precedence."""

INTERVAL_SECONDS = 2.0
# Seconds that the threads together wait for a core, per second. One busy process makes it 0.5 or more.
BUSY = 0.2

TASKS = Path("/proc/self/task")


@contextmanager
def no_spinning_beside_others() -> Iterator[None]:
    """Watch in a thread whether other processes want the cores, and keep libgomp from spinning meanwhile.

    Has no effect if SETTINGS are set, with one thread, or where the system does not tell the waiting times.
    """
    if torch.get_num_threads() == 1 or any(name in os.environ for name in SETTINGS) or not waited():
        yield
        return
    end = threading.Event()
    watcher = threading.Thread(target=watch, args=(end,), name="no-spinning", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        end.set()
        watcher.join()


def watch(end: threading.Event) -> None:
    """Hold a second pool of threads while other processes want the cores, until `end`."""
    release = threading.Event()
    holder: threading.Thread | None = None
    before, began = waited(), time.monotonic()
    while not end.wait(INTERVAL_SECONDS):
        now, moment = waited(), time.monotonic()
        busy = now - before > BUSY * (moment - began)
        before, began = now, moment
        if busy and not holder:
            release.clear()
            holder = threading.Thread(target=hold_pool, args=(release,), name="second-pool", daemon=True)
            holder.start()
        elif holder and not busy:
            release.set()
            holder.join()
            holder = None
    release.set()
    if holder:
        holder.join()


def hold_pool(release: threading.Event) -> None:
    """Use as many threads as a training, which become this thread's pool, and keep them until `release`."""
    torch.ones(2**20).add_(1)
    release.wait()


def waited() -> float:
    """Return the seconds in which threads of this process were ready to run but had no core; 0 if unknown."""
    total = 0
    for task in TASKS.glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[1])
        except (OSError, IndexError):
            continue  # the thread has just ended, or the kernel does not count
    return total / 1e9
