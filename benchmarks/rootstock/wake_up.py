"""How a process is best woken by another: a blocking receive, or a spin on shared memory.

    python benchmarks/rootstock/wake_up.py [--out FILE]

Two processes exchange 36 bytes over a Unix socket. With a spin of n, both look n times at a byte
of shared memory, which the other one sets before it sends, before they block in the receive. The
pause is what an MD does between two calls. Medians, microseconds for there and back.
"""

import argparse
import json
import mmap
import os
import socket
import statistics
import time
from pathlib import Path

MESSAGE = bytes(36)
LAST = b"\1" * 36


def echo(connected: socket.socket, memory: memoryview, spin: int) -> None:
    """Answer until told to end."""
    buffer = bytearray(len(MESSAGE))
    expected = 0
    while True:
        expected = (expected + 1) & 255
        for _ in range(spin):
            if memory[0] == expected:
                break
        connected.recv_into(buffer)
        if buffer[0]:
            os._exit(0)
        memory[64] = expected
        connected.send(buffer)


def round_trip(spin: int, pause_s: float, count: int) -> float:
    """Return the median of `count` round trips, in microseconds."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    memory = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
    child = os.fork()
    if child == 0:
        echo(theirs, memory, spin)
    buffer = bytearray(len(MESSAGE))
    seconds = []
    for n in range(1, count + 1):
        start = time.perf_counter()
        memory[0] = n & 255
        ours.send(MESSAGE)
        for _ in range(spin):
            if memory[64] == n & 255:
                break
        ours.recv_into(buffer)
        seconds.append(time.perf_counter() - start)
        until = time.perf_counter() + pause_s
        while pause_s and time.perf_counter() < until:
            pass
    ours.send(LAST)
    os.waitpid(child, 0)
    return 1e6 * statistics.median(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = [(spin, pause) for spin in (0, 500, 2000, 5000) for pause in (0, 50, 200)]
    found: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(options.repeats):
        for spin, pause in cases:
            found[spin, pause].append(round_trip(spin, 1e-6 * pause, options.count))
    rows = [
        {"spin": spin, "pause_us": pause, "round_trip_us": round(statistics.median(values), 1)}
        for (spin, pause), values in found.items()
    ]
    report = {"cores": os.cpu_count(), "repeats": options.repeats, "rows": rows}
    print(json.dumps(report, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
