"""A page with the figures of a cluster, live, on the loopback interface alone.

``/`` is the page, ``/data.json`` what it shows, ``/metrics`` the same for Prometheus. Nothing
can be changed by it.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from ai_how.errors import AiHowError
from ai_how.observe.slurm_exporter import NoAnswerError, figures, prometheus_text

_LOOPBACK = "127.0.0.1"
_FRESH_S = 1.0  # figures this old are shown to the next who asks, so that many pages cost as one
_MOST_HISTORY = 600
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class DashboardError(AiHowError):
    """The page cannot be served; the message says why and what helps."""


class Watch:
    """The figures of one cluster, asked for at most once a second, and what they were before."""

    def __init__(
        self, name: str, status: Callable[[], Any], environment: Mapping[str, str]
    ) -> None:
        self._name, self._status, self._environment = name, status, environment
        self._lock = threading.Lock()
        self._taken_s = float("-inf")
        self._found: dict[str, Any] | None = None
        self._error = ""
        self._history: deque[dict[str, float]] = deque(maxlen=_MOST_HISTORY)

    def metrics(self) -> str:
        """Return Prometheus' text."""
        with self._lock:
            self._look()
            return prometheus_text(self._found)

    def data(self) -> dict[str, Any]:
        """Return what the page shows."""
        with self._lock:
            self._look()
            try:
                status = self._status().as_data()
            except AiHowError as error:  # its state is damaged, say
                status = {"condition": "unknown", "problems": [str(error)], "nodes": []}
            return {
                "cluster": self._name,
                "condition": status["condition"],
                "problems": status["problems"],
                "roles": status["nodes"],
                "error": self._error,
                "figures": self._found,
                "history": list(self._history),
            }

    def _look(self) -> None:
        if time.monotonic() - self._taken_s < _FRESH_S:
            return
        try:
            self._found, self._error = figures(self._environment), ""
        except NoAnswerError as error:
            self._found, self._error = None, str(error)
        self._taken_s = time.monotonic()
        if self._found is not None:
            self._history.append(_point(self._found))


def _point(found: Mapping[str, Any]) -> dict[str, float]:
    states = [job["state"] for job in found["jobs"]]
    return {
        "time": round(found["time"], 1),
        "running": states.count("RUNNING"),
        "pending": states.count("PENDING"),
        "cores_allocated": sum(node["cores_allocated"] for node in found["nodes"]),
        "cores": sum(node["cores"] for node in found["nodes"]),
    }


class Dashboard(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """The server of the page. Raises DashboardError where its port is taken."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, watch: Watch, port: int = 0) -> None:
        self.watch = watch
        try:
            super().__init__((_LOOPBACK, port), _Answers)
        except OSError as error:
            raise DashboardError(f"port {port}: {error.strerror}; name another by --port") from None

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{_LOOPBACK}:{self.server_address[1]}/"


class _Answers(http.server.BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        """Answer a browser, or Prometheus."""
        # A page of elsewhere that has its own name resolved to this address does not read this.
        if self.headers.get("Host", "").partition(":")[0] not in {_LOOPBACK, "localhost"}:
            self.send_error(403)
            return
        path = self.path.partition("?")[0]
        if path == "/":
            self._send("text/html; charset=utf-8", page())
        elif path == "/data.json":
            self._send("application/json", json.dumps(self.server.watch.data()))
        elif path == "/metrics":
            self._send(_TEXT, self.server.watch.metrics())
        else:
            self.send_error(404)

    def _send(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'",
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def page() -> str:
    """Return the page: one file that needs nothing else."""
    return (resources.files("ai_how.observe") / "dashboard.html").read_text(encoding="utf-8")
