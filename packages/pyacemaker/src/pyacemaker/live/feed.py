"""What the live page shows, read from a campaign's files without disturbing it."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from pyacemaker.campaign.cycles import cycle_rows
from pyacemaker.campaign.state import FILE_NAME, CampaignState
from pyacemaker.campaign.status import status_of
from pyacemaker.files import is_locked

LOG_LINES = 200
_ERRORS = ("energy_rmse_eV_per_atom", "force_rmse_eV_per_A")


def snapshot(workdir: Path) -> dict[str, Any]:
    """Return the campaign at this moment as plain JSON values.

    What `status_of` tells, with `now` (seconds since 1970), `curve` (labels, test and training
    errors of every cycle, in eV/atom and eV/angstrom), `targets` in the same units, and the
    newest lines of the decision log. Raises StateError if there is no campaign in `workdir`.
    """
    found = status_of(workdir)
    with closing(CampaignState(workdir, read_only=True)) as state:
        goals = (state.fact("settings") or {}).get("validation", {})
        lines = state.log_lines()
        rows = cycle_rows(state)
    names = [*_ERRORS, *(f"train_{name}" for name in _ERRORS)]
    return found | {
        "workdir": str(workdir.resolve()),
        "now": time.time(),
        "targets": {name: goals.get(f"test_{name}") for name in _ERRORS},
        "curve": [
            {"iteration": row.iteration, "labels": row.labels}
            | {name: getattr(row, name) for name in names}
            for row in rows
        ],
        "log": [
            {
                "time": line.time,
                "iteration": line.iteration,
                "step": line.step,
                "message": line.message,
            }
            for line in lines[-LOG_LINES:]
        ],
        "log_lines": len(lines),
    }


def fingerprint(workdir: Path) -> tuple[object, ...]:
    """Return something that differs when the campaign has gone on; it costs three stat calls."""
    marks: list[object] = []
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        try:
            found = (workdir / name).stat()
        except OSError:
            marks.append(None)
        else:
            marks.append((found.st_mtime_ns, found.st_size))
    return (*marks, is_locked(workdir / ".lock"))
