"""Figures of SLURM, what is made of its words, and the page that shows them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ai_how.cli.app import app
from ai_how.cluster.lifecycle import made, status, stop, up
from ai_how.drivers.daemons import daemons_of, end
from ai_how.observe import slurm_exporter
from ai_how.observe.prometheus import grafana_dashboard, write_files
from ai_how.observe.serve import Dashboard, DashboardError, Watch
from ai_how.observe.slurm_exporter import figures, parse_gres, prometheus_text, seconds
from ai_how.slurm.commands import submit


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gpu:a100:2(S:0-1)", [("gpu", "a100", 2)]),
        ("gpu:h100_3g.40gb:1(IDX:0),gpu:h100_1g.10gb:0(IDX:N/A)",
         [("gpu", "h100_3g.40gb", 1), ("gpu", "h100_1g.10gb", 0)]),
        ("gpu:4(IDX:0,2-3)", [("gpu", "", 4)]),
        ("(null)", []),
        ("", []),
    ],
)  # fmt: skip
def test_generic_resources_are_read(text: str, found: list[tuple[str, str, int]]) -> None:
    assert parse_gres(text) == found


@pytest.mark.parametrize(
    ("clock", "found"),
    [
        ("00:00", 0),
        ("1:05", 65),
        ("02:01:05", 7265),
        ("3-02:01:05", 266465),
        ("00:12.345", 12),
        ("INVALID", 0),
    ],
)
def test_times_are_read(clock: str, found: int) -> None:
    assert seconds(clock) == found


def test_the_text_of_prometheus() -> None:
    assert "slurm_up 0\n" in prometheus_text(None)
    job = {"job": "7", "name": 'a "quoted"\\name', "state": "RUNNING", "efficiency": 0.5}
    found = {"nodes": [], "jobs": [], "gres": [], "efficiency": [job], "scrape_s": 0.1}
    assert (
        'slurm_job_cpu_efficiency{job="7",name="a \\"quoted\\"\\\\name",state="RUNNING"} 0.5\n'
        in prometheus_text(found)
    )


def test_files_for_prometheus_and_grafana(tmp_path: Path) -> None:
    paths = write_files(tmp_path, "lab", "127.0.0.1:9341")
    assert [path.is_file() for path in paths] == [True] * 4
    scrape = yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"][0]["targets"] == ["127.0.0.1:9341"]
    board = json.loads((tmp_path / "grafana" / "dashboards" / "slurm.json").read_text())
    assert board == grafana_dashboard("lab")
    source = Path(slurm_exporter.__file__).read_text()
    for panel in board["panels"]:  # every figure that is drawn is exported
        expression = panel["targets"][0]["expr"]
        name = next(word for word in expression.replace("(", " ").replace(")", " ").split()
                    if word.startswith("slurm_"))  # fmt: skip
        for prefix in ("slurm_node_", "slurm_gres"):
            if name.startswith(prefix):
                name = name.removeprefix(prefix)
        assert name in source


@pytest.fixture
def page(small: Path, state: Path) -> Iterator[Dashboard]:
    up(str(small), lambda _: None)
    _, _, driver = made("small")
    server = Dashboard(Watch("small", lambda: status("small"), driver.environment()))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetch(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def get(server: Dashboard, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    return fetch(server.server_address[1], path, host)


@pytest.mark.real
def test_figures_page_and_metrics_of_a_real_cluster(
    page: Dashboard, state: Path, tmp_path: Path
) -> None:
    _, _, driver = made("small")
    environment = driver.environment()
    script = tmp_path / "spin.sh"
    script.write_text("#!/bin/sh\ntimeout 60 sh -c 'while :; do :; done'\n")
    number = submit(["--gres=gpu:1", "-o/dev/null", "-Jspin", str(script)], environment)
    later = submit(["--nodes=2", "-o/dev/null", "-Jlater", str(script)], environment)
    until = time.monotonic() + 60
    while not (rows := figures(environment)["efficiency"]) or not rows[0]["efficiency"]:
        assert time.monotonic() < until, rows
        time.sleep(0.5)

    code, text = get(page, "/data.json")
    data = json.loads(text)
    assert (code, data["condition"], data["problems"]) == (200, "up", [])
    found = data["figures"]
    assert {node["name"]: node["cores_allocated"] for node in found["nodes"]} == {
        "n01": 1,
        "n02": 0,
    }
    jobs = {job["job"]: job["state"] for job in found["jobs"]}
    assert jobs == {number: "RUNNING", later: "PENDING"}
    assert found["gres"] == [{"name": "gpu", "type": "a100_3g.20gb", "total": 4, "used": 1}]
    (row,) = found["efficiency"]
    assert (row["job"], row["name"]) == (number, "spin")
    assert 0 < row["efficiency"] <= 1
    assert data["history"][-1]["cores_allocated"] == 1

    code, metrics = get(page, "/metrics")
    assert 'slurm_gres_used{name="gpu",type="a100_3g.20gb"} 1\n' in metrics
    assert 'slurm_jobs{state="PENDING",partition="main"} 1\n' in metrics
    if promtool := shutil.which("promtool"):
        subprocess.run([promtool, "check", "metrics"], input=metrics, text=True, check=True)
    assert get(page, "/nix")[0] == 404
    assert get(page, "/data.json", "elsewhere.example")[0] == 403

    if chromium := shutil.which("chromium"):
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu",
                   "--virtual-time-budget=4000", "--dump-dom", page.url]  # fmt: skip
        dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        for word in ("small: up", "spin", "later", "gpu:a100_3g.20gb", "1 of 2", "(Resources)"):
            assert word in dom, word

    with pytest.raises(DashboardError, match="name another by --port"):
        Dashboard(page.watch, page.server_address[1])


@pytest.mark.real
def test_what_is_down_is_seen(page: Dashboard, state: Path) -> None:
    stop("small", ["n02"])
    data = json.loads(get(page, "/data.json")[1])
    assert [node["state"] for node in data["figures"]["nodes"]] == ["idle", "down"]
    end((d.pid for d in daemons_of(state / "small") if d.program == "slurmctld"), at_once=True)
    time.sleep(1.1)  # figures are asked for at most once a second
    data = json.loads(get(page, "/data.json")[1])
    assert (data["condition"], data["figures"]) == ("degraded", None)
    assert data["problems"][0] == "slurmctld does not run; `ai-how up` starts it"
    assert get(page, "/metrics")[1].splitlines()[-1] == "slurm_up 0"


@pytest.mark.real
def test_prometheus_scrapes_it(page: Dashboard, tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not installed here")
    write_files(tmp_path, "small", page.url.removeprefix("http://").rstrip("/"))
    port = page.server_address[1] + 1 if page.server_address[1] < 65_000 else 64_000
    command = [
        prometheus,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            until, found = time.monotonic() + 40, []
            while not found and time.monotonic() < until:
                time.sleep(0.5)
                with contextlib.suppress(OSError):
                    found = json.loads(fetch(port, "/api/v1/query?query=slurm_nodes")[1])["data"][
                        "result"
                    ]
        finally:
            run.terminate()
    assert found[0]["metric"]["cluster"] == "small"
    assert found[0]["value"][1] == "2"


@pytest.mark.real
def test_the_commands(small: Path, state: Path, tmp_path: Path) -> None:
    up(str(small), lambda _: None)
    done = CliRunner().invoke(app, ["dashboard", "small", "--write", str(tmp_path / "o")])
    assert done.exit_code == 0
    assert (tmp_path / "o" / "prometheus.yml").is_file()
    program = [Path(sys.executable).parent / "ai-how", "dashboard", "small", "--port", "0"]
    with subprocess.Popen(
        [*program, "--no-browser"], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    ) as run:
        assert run.stdout is not None
        line = run.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        run.terminate()
        assert run.wait(20) == 0
    # the file alone, by any Python, as a node would run it
    script = "import slurm_exporter as s; print(s.prometheus_text(s.figures()))"
    folder = str(Path(slurm_exporter.__file__).parent)
    alone = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**made("small")[2].environment(), "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert 'slurm_nodes{state="idle"} 2' in alone.stdout
