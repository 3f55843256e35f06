"""`pyacemaker serve` as a browser and a stranger meet it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from pyacemaker.campaign.state import CampaignState, LogLine
from pyacemaker.cli.serving import is_loopback
from pyacemaker.files import locked
from pyacemaker.live.feed import fingerprint, snapshot

PROGRAM = [sys.executable, "-c", "from pyacemaker.cli import main; main()"]
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NUMBERS = {"energy_rmse_eV_per_atom": 0.0021, "force_rmse_eV_per_A": 0.038}


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A state file as a campaign in its first cycle leaves it."""
    made = tmp_path / "cu"
    made.mkdir()
    with closing(CampaignState(made)) as state:
        state.set_fact(
            "settings",
            {
                "elements": ["Cu"],
                "seed": 1,
                "budget": {"labels": 90},
                "validation": {
                    "test_energy_rmse_eV_per_atom": 0.01,
                    "test_force_rmse_eV_per_A": 0.15,
                },
            },
        )
        state.finish(1, "label", {"keys": ["a", "b", None], "roles": ["train"] * 3}, 2.0)
        state.finish(1, "train", {"metrics": {"train": {"energy_rmse": 0.001}}}, 3.0)
        checks = [{"name": "test_error", "passed": True, "reason": "", "numbers": NUMBERS}]
        state.finish(1, "validate", {"passed": True, "checks": checks}, 4.0)
        state.log(LogLine(1.0, 1, "validate", "<b>go</b>"))
    return made


@contextmanager
def served(workdir: Path, *options: str, **environment: str) -> Iterator[str]:
    """Run the command on a free port and yield the address that it prints."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", str(workdir), "--port", "0", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split(" at ")[1].strip()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""  # no traceback, also where a stream was open
    finally:
        process.kill()
        process.communicate()


def get(address: str, **headers: str) -> HTTPResponse:
    request = urllib.request.Request(address, headers=headers)
    return urllib.request.urlopen(request, timeout=30)  # type: ignore[no-any-return]


def refused(address: str, **headers: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(address, **headers)
    return caught.value.code


def test_a_snapshot_is_plain_and_tells_progress(workdir: Path) -> None:
    found = snapshot(workdir)
    json.dumps(found)
    assert found["status"] == "interrupted"
    assert found["labels"] == 2
    assert found["targets"]["energy_rmse_eV_per_atom"] == 0.01
    assert found["curve"][0]["energy_rmse_eV_per_atom"] == 0.0021
    assert found["curve"][0]["train_energy_rmse_eV_per_atom"] == 0.001
    assert found["log"][-1]["message"] == "<b>go</b>"
    before = fingerprint(workdir)
    with locked(workdir / ".lock"), closing(CampaignState(workdir)) as state:
        now = {"iteration": 1, "step": "md", "since": time.time() - 5, "done": 1, "total": 3}
        state.set_fact("activity", now)
        assert fingerprint(workdir) != before
        found = snapshot(workdir)
    assert (found["status"], found["done"], found["total"]) == ("running", 1, 3)
    assert found["step_words"] == "dynamics under the watchdog"
    assert 4 < found["step_since_s"] < 60


@pytest.mark.real
def test_the_stream_tells_every_change(workdir: Path) -> None:
    with served(workdir) as address, get(address + "api/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert _next(stream)["log_lines"] == 1
        with closing(CampaignState(workdir)) as state:
            state.log(LogLine(2.0, 1, "md", "halted"))
        found = _next(stream)
        while found["log_lines"] == 1:
            found = _next(stream)
        assert found["log"][-1]["message"] == "halted"


@pytest.mark.real
def test_ctrl_c_ends_an_open_stream_without_a_traceback(workdir: Path) -> None:
    streams = []
    with served(workdir) as address:
        streams.append(get(address + "api/events"))
        assert _next(streams[0])["log_lines"] == 1
    assert streams[0].read().endswith(b"\n")  # to its regular end


def _next(stream: HTTPResponse) -> dict[str, Any]:
    while True:
        line = stream.readline().decode()
        assert line, "the stream ended"
        if line.startswith("data:"):
            return json.loads(line.removeprefix("data:"))  # type: ignore[no-any-return]


@pytest.mark.real
def test_it_only_reads_and_answers_only_to_its_own_name(workdir: Path) -> None:
    with served(workdir) as address:
        assert json.load(get(address + "api/status"))["elements"] == ["Cu"]
        assert refused(address + "api/status", Host="evil.example") == 421
        assert refused(address + "report") == 404
        assert refused(address + "assets/..%2Fapp.py") == 404
        for method in ("POST", "PUT", "DELETE"):
            request = urllib.request.Request(address, method=method)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=30)
            assert caught.value.code == 405
        page = get(address)
        assert "default-src 'none'" in page.headers["content-security-policy"]
        (workdir / "report.html").write_text("<p>the report</p>")
        assert get(address + "report").read() == b"<p>the report</p>"


@pytest.mark.real
def test_a_token_is_asked_for_and_leaves_the_address_bar(workdir: Path) -> None:
    with served(workdir, PYACEMAKER_TOKEN="secret") as address:
        plain = address.partition("?")[0]
        assert address.endswith("?token=secret")
        assert refused(plain + "api/status") == 401
        assert refused(plain + "api/status", Authorization="Bearer wrong") == 401
        assert json.load(get(plain + "api/status", Authorization="Bearer secret"))
        assert json.load(get(plain + "api/status?token=secret"))
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opened = opener.open(address, timeout=30)
        assert opened.url == plain
        assert json.load(opener.open(plain + "api/status", timeout=30))


@pytest.mark.real
def test_beyond_this_machine_it_makes_a_token_up(workdir: Path) -> None:
    with served(workdir, "--host", "0.0.0.0") as address:
        where, _, token = address.partition("/?token=")
        assert len(token) >= 32
        local = f"http://127.0.0.1:{where.rpartition(':')[2]}/api/status"
        assert refused(local) == 401
        assert json.load(get(local, Authorization=f"Bearer {token}"))


@pytest.mark.real
def test_a_port_in_use_and_a_missing_campaign_are_refused(workdir: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*PROGRAM, "serve", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        done = run(str(workdir), "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "--port 0" in done.stderr
    done = run(str(tmp_path))
    assert done.returncode == 2
    assert "no campaign here" in done.stderr
    for host in ("127.0.0.1", "0.0.0.0"):
        done = run(str(workdir), "--host", host, "--token", "")
        assert done.returncode == 2
        assert "an empty --token would let everybody in" in done.stderr
    done = run(str(workdir), "--host", "")
    assert done.returncode == 2
    assert "--host takes an address of this machine" in done.stderr


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_what_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.real
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: install the package chromium")
@pytest.mark.parametrize("width", [500, 1280])
def test_the_page_in_a_browser(workdir: Path, width: int, tmp_path: Path) -> None:
    with served(workdir) as address, browser(address, width, tmp_path) as evaluate:
        root = "document.documentElement"
        wait_for(lambda: evaluate(f"{root}.dataset.status") == "interrupted")
        assert "2 of at most 90" in evaluate("document.getElementById('labels').textContent")
        assert "2.10 meV/atom (goal 10)" in evaluate("document.getElementById('error').textContent")
        assert evaluate("document.querySelectorAll('#curves .main-svg').length") >= 2
        assert "<b>go</b>" in evaluate("document.getElementById('log').textContent")
        assert evaluate("document.querySelectorAll('#log b').length") == 0
        assert evaluate(f"{root}.scrollWidth") <= evaluate("innerWidth")
        with closing(CampaignState(workdir)) as state:
            state.set_fact("outcome", {"ending": "converged", "reason": "all is well"})
        wait_for(lambda: evaluate(f"{root}.dataset.status") == "converged")
        assert evaluate("document.getElementById('reason').textContent") == "all is well"
        link = "document.getElementById('link').textContent"
        workdir.rename(workdir.with_name("away"))
        wait_for(lambda: "no campaign here" in evaluate(link))
        workdir.with_name("away").rename(workdir)
        wait_for(lambda: evaluate(link) == "connected")


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the page did not change in time"
        time.sleep(0.1)


@contextmanager
def browser(address: str, width: int, folder: Path) -> Iterator[Callable[[str], Any]]:
    """Open `address` and yield what evaluates JavaScript there (Chrome DevTools protocol)."""
    with subprocess.Popen(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", address,
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            known = folder / "profile" / "DevToolsActivePort"
            wait_for(lambda: known.exists() and len(known.read_text().split()) == 2)
            port = known.read_text().split()[0]
            tabs = json.load(get(f"http://127.0.0.1:{port}/json"))
            target = next(tab for tab in tabs if tab["type"] == "page")
            with connect(target["webSocketDebuggerUrl"], max_size=None) as line:

                def call(method: str, **parameters: object) -> dict[str, Any]:
                    line.send(json.dumps({"id": 1, "method": method, "params": parameters}))
                    while (answer := json.loads(line.recv(30))).get("id") != 1:
                        pass
                    return answer.get("result", {})  # none while the page is still loading

                yield (
                    lambda text: (
                        call("Runtime.evaluate", expression=text).get("result", {}).get("value")
                    )
                )
                shot = base64.b64decode(call("Page.captureScreenshot")["data"])
                (folder / "page.png").write_bytes(shot)
        finally:
            process.kill()
