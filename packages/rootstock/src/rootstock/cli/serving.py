"""`rootstock serve`: the worker of a model, for an outside i-PI server."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rootstock.root.errors import RootError
from rootstock.root.resolve import built_in, resolve_model
from rootstock.root.shipped import BUILT_IN
from rootstock.root.variables import complete

_GRACE_S = 5.0


def serve_model(
    root: Path,
    model: str,
    address: str,
    device: str,
    options: Mapping[str, Any],
    template: Path | None = None,
) -> int:
    """Run the worker until the server ends it, and return its exit code as 0 or 1.

    `address` is HOST:PORT, or else the path of a Unix socket; `template` a structure file with
    the species, for servers that tell none.
    """
    resolved = built_in(model) if model in BUILT_IN else resolve_model(root, model)
    command = [
        str(resolved.python), "-m", "rootstock.worker",
        *address_options(address),
        "--source", str(resolved.source), "--model", resolved.argument, "--device", device,
    ]  # fmt: skip
    if options:
        command += ["--options", json.dumps(dict(options))]
    if template is not None:
        command += ["--template", str(template.absolute())]
    process = subprocess.Popen(command, env=complete(resolved.variables), stdin=subprocess.DEVNULL)
    try:
        return 0 if process.wait() == 0 else 1
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def address_options(address: str) -> list[str]:
    """Return the worker's options for an address. Raises RootError for one that is neither."""
    host, colon, port = address.rpartition(":")
    if colon and "/" not in address:
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise RootError(f"{address!r} is not HOST:PORT")
        return ["--host", host, "--port", port]
    path = Path(address).expanduser().absolute()
    if not path.exists():
        raise RootError(f"no server listens at {path}: start it first, or give HOST:PORT")
    return ["--socket", str(path)]
