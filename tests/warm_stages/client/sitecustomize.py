"""Turns `python -m pipelines.NAME` into a request to the server. Python imports this module at startup."""

import json
import os
import signal
import socket
import sys

STAGES = ("prepare", "pretrain", "train", "export", "evaluate", "register")
MODULES = {f"pipelines.{name}" for name in (*STAGES, "lineage", "sweep")}


def forward(path: str) -> None:
    """Have the server run this command, forward signals to it, and exit with its status."""
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    request = {
        "argv": sys.orig_argv[2:],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "ignores_interrupts": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }
    body = json.dumps(request).encode()
    socket.send_fds(server, [len(body).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(body)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    status = server.recv(1)
    os._exit(status[0] if status else 255)


if "WARM_STAGES" in os.environ and sys.orig_argv[1:2] == ["-m"] and sys.orig_argv[2] in MODULES:
    forward(os.environ["WARM_STAGES"])
