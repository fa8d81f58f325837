"""`python -m benchmarks.hostile_bodies`: sends bodies that are made to hurt to a running API, anonymously.

Each shape is sent on several connections at once, then all shapes together. Prints a line for each: the
statuses, the longest time that /livez took meanwhile, and how much the memory of the API's process grew.
"""

import argparse
import http.client
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks import command
from benchmarks.command import BenchmarkError

BATCH = "/api/analyze/batch"
SIZE = 16 * 2**20 - 1024
CHUNK = 2**16
ANSWER_SECONDS = 120
PROBE_SECONDS = 0.01

Body = Callable[[], Iterator[bytes]]
"""Returns the parts of a body."""


@dataclass(frozen=True)
class Shape:
    name: str
    path: str
    body: Body
    headers: tuple[str, ...] = ()
    declares_length: bool = True


@dataclass(frozen=True)
class Measurement:
    name: str
    statuses: dict[str, int]
    longest_livez_ms: float
    grown_mebibytes: float


def shapes(slow_seconds: float = 30) -> list[Shape]:
    """Return the shapes. The slow one sends a byte a second for `slow_seconds`."""
    clip = b"\\ud83c\\udfac"  # 🎬, escaped as Python's json.dumps does
    texts = b",".join([b'"' + clip * 20_000 + b'"'] * 64)
    names = b",".join(b'"k%d":0' % number for number in range(1_100_000))
    few_names = b",".join(b'"k%d":0' % number for number in range(20_000))
    return [
        Shape("1,100,000 unknown names", BATCH, parts(b"{" + names + b"}")),
        Shape("20,000 unknown names", "/api/analyze", parts(b"{" + few_names + b"}")),
        Shape("16 MiB of [] without a key", "/api/reviews", parts(b"[" + b"[]," * (SIZE // 3) + b"0]")),
        Shape("16 MiB of [] as texts", BATCH, parts(b'{"texts":[' + b"[]," * (SIZE // 3 - 9) + b"0]}")),
        Shape("16 MiB of empty texts", BATCH, parts(b'{"texts":[' + b'"",' * (SIZE // 3 - 9) + b'""]}')),
        Shape("16 MiB deep", BATCH, parts(b"[" * SIZE)),
        Shape("a number of 16 MiB", BATCH, parts(b'{"texts":' + b"1" * (SIZE - 10) + b"}")),
        Shape("a name of 16 MiB", BATCH, parts(b'{"' + b"a" * (SIZE - 10) + b'":1}')),
        Shape("1,600,000 times one name", BATCH, parts(b"{" + b'"a":0,' * 1_600_000 + b'"a":0}')),
        Shape("64 maximal texts, escaped", BATCH, parts(b'{"texts":[' + texts + b"]}")),
        Shape("chunked without end", BATCH, endless, declares_length=False),
        Shape("gzip", BATCH, parts(b"\x1f\x8b" + bytes(SIZE // 16)), ("Content-Encoding: gzip",)),
        Shape("a byte a second", "/api/analyze", trickle(slow_seconds), declares_length=False),
    ]  # fmt: skip


def parts(body: bytes) -> Body:
    return lambda: (body[first : first + CHUNK] for first in range(0, len(body), CHUNK))


def endless() -> Iterator[bytes]:
    yield b'{"texts":["'
    while True:
        yield b"a" * CHUNK


def trickle(seconds: float) -> Body:
    def body() -> Iterator[bytes]:
        yield b'{"text":"'
        for _ in range(int(seconds)):
            time.sleep(1)
            yield b"a"
        yield b'"}'

    return body


def send(host: str, port: int, shape: Shape) -> str:
    """Send the request. Return the status of the response, or the name of the error."""
    headers = [
        f"POST {shape.path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        *shape.headers,
    ]
    if shape.declares_length:
        headers.append(f"Content-Length: {sum(map(len, shape.body()))}")
    else:
        headers.append("Transfer-Encoding: chunked")
    with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
        try:
            connection.sendall(("\r\n".join(headers) + "\r\n\r\n").encode())
            for part in shape.body():
                connection.sendall(part if shape.declares_length else b"%x\r\n%s\r\n" % (len(part), part))
                connection.setblocking(False)
                try:
                    if connection.recv(1, socket.MSG_PEEK):
                        break  # answered before the end of the body
                except BlockingIOError:
                    pass
                finally:
                    connection.settimeout(ANSWER_SECONDS)
            else:
                connection.sendall(b"" if shape.declares_length else b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has answered and closed the connection
        try:
            return connection.recv(CHUNK).split(b" ")[1].decode()
        except (OSError, IndexError) as error:
            return type(error).__name__


def measure(host: str, port: int, name: str, sent: Sequence[Shape]) -> Measurement:
    """Send all shapes at once, each on a connection of its own, and probe /livez meanwhile."""
    process = listening(port)
    before = memory(process, "VmRSS")
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # resets the peak, VmHWM
    longest = 0.0
    with ThreadPoolExecutor(len(sent)) as pool:
        statuses = [pool.submit(send, host, port, shape) for shape in sent]
        while not all(status.done() for status in statuses):
            longest = max(longest, probe(host, port))
            time.sleep(PROBE_SECONDS)
    counted = Counter(status.result() for status in statuses)
    return Measurement(name, dict(counted), 1000 * longest, memory(process, "VmHWM") - before)


def probe(host: str, port: int) -> float:
    """Return the seconds that /livez takes."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    began = time.perf_counter()
    try:
        connection.request("GET", "/livez")
        connection.getresponse().read()
    finally:
        connection.close()
    return time.perf_counter() - began


def listening(port: int) -> psutil.Process:
    """Return the process that listens on the port. Raises BenchmarkError if none is visible."""
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.pid is not None
        if listens and getattr(connection.laddr, "port", None) == port:
            return psutil.Process(connection.pid)
    raise BenchmarkError(f"no process of this user listens on port {port}: start the API with `make up`")


def memory(process: psutil.Process, kind: str) -> float:
    """Return a line of /proc/PID/status, in MiB."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile_bodies", description=__doc__)
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="on this machine; default %(default)s")
    parser.add_argument("--connections", type=int, default=4, help="for each shape; default %(default)s")
    options = parser.parse_args()
    address = urlsplit(options.api)
    host, port = address.hostname or "", address.port or 80
    found = shapes()
    print(
        "| Shape | Responses | Longest /livez (ms) | Memory (MiB) |\n| --- | --- | ---: | ---: |", flush=True
    )
    for name, sent in [(shape.name, [shape]) for shape in found] + [("all together", found)]:
        row = measure(host, port, name, sent * options.connections)
        statuses = ", ".join(f"{count} x {status}" for status, count in sorted(row.statuses.items()))
        print(
            f"| {name} | {statuses} | {row.longest_livez_ms:.0f} | {row.grown_mebibytes:+.0f} |", flush=True
        )


if __name__ == "__main__":
    command.run(main)
