"""The server: imports the third-party modules of the pipeline, then forks a process for each request."""

import atexit
import contextlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

POLL_SECONDS = 2
HOLD_SECONDS = 600


def preload() -> None:
    """Load the third-party modules of the pipeline; each process imports the pipeline from its folder."""
    import pipelines.evaluate.__main__
    import pipelines.export.__main__
    import pipelines.lineage.__main__
    import pipelines.prepare.__main__
    import pipelines.pretrain.__main__
    import pipelines.register.__main__
    import pipelines.sweep.__main__
    import pipelines.train.__main__  # noqa: F401

    for name in [name for name in sys.modules if name.partition(".")[0] == "pipelines"]:
        del sys.modules[name]


def serve(path: Path, owner: int) -> None:
    """Fork a process for every request, until the process `owner` has ended."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path.with_suffix(".new")))
    listener.listen(64)
    path.with_suffix(".new").rename(path)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while Path(f"/proc/{owner}").exists():
        for key, _ in selector.select(POLL_SECONDS):
            if key.fileobj is listener:
                client, _ = listener.accept()
                child = os.pidfd_open(pid := fork(client))
                selector.register(client, selectors.EVENT_READ, ("client", pid))
                selector.register(child, selectors.EVENT_READ, ("child", pid, client))
            elif key.data[0] == "client":
                forward_signal(selector, key.fileobj, key.data[1])
            else:
                report_exit(selector, key.fileobj, *key.data[1:])


def forward_signal(selector: selectors.BaseSelector, client: Any, pid: int) -> None:
    """Send the child the signal that its command received, or SIGKILL if the command was killed."""
    try:
        number = client.recv(1)
    except ConnectionResetError:
        number = b""
    if not number:
        selector.unregister(client)
    os.kill(pid, number[0] if number else signal.SIGKILL)


def report_exit(selector: selectors.BaseSelector, child: Any, pid: int, client: socket.socket) -> None:
    """Send the child's exit status to its command, unless the command was killed."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    selector.unregister(child)
    os.close(child)
    if client in [key.fileobj for key in selector.get_map().values()]:
        selector.unregister(client)
        with contextlib.suppress(BrokenPipeError):
            client.sendall(bytes([status if status >= 0 else 128 - status]))
    client.close()


def fork(client: socket.socket) -> int:
    """Read a request and fork a process that runs it; return the process id."""
    header, streams, _, _ = socket.recv_fds(client, 4, 3)
    body = b""
    while len(body) < int.from_bytes(header, "big"):
        body += client.recv(65536)
    if pid := os.fork():
        for stream in streams:
            os.close(stream)
        return pid
    try:
        status = run(json.loads(body), streams)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def run(request: dict[str, Any], streams: list[int]) -> int:
    """Run the module as `python -m` would, and return its exit status."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN if request["ignores_interrupts"] else signal.default_int_handler
    )
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv = [sys.argv[0], *request["argv"][1:]]
    if method := os.environ.pop("WARM_STAGES_HOLD", ""):
        hold(method, Path(os.environ["WARM_STAGES_HELD"]))
    try:
        runpy.run_module(request["argv"][0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return status


def hold(method: str, held: Path) -> None:
    """Make a method of pipelines.core.checkpoints create the file `held` after its work, and then sleep."""
    from pipelines.core import checkpoints

    class_name, _, name = method.partition(".")
    owner = getattr(checkpoints, class_name)
    original = getattr(owner, name)

    def work_and_sleep(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        held.touch()
        time.sleep(HOLD_SECONDS)

    setattr(owner, name, work_and_sleep)


if __name__ == "__main__":
    preload()
    serve(Path(sys.argv[1], "socket"), int(sys.argv[2]))
    shutil.rmtree(sys.argv[1])
