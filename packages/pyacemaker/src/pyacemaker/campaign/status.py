"""A campaign from outside: what a look at its state file tells, without disturbing it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pyacemaker.campaign.entries import entries
from pyacemaker.campaign.events import STEP_WORDS
from pyacemaker.campaign.state import CampaignState
from pyacemaker.files import is_locked


def status_of(workdir: Path) -> dict[str, Any]:
    """Return the state of the campaign in `workdir` as plain JSON values.

    Raises StateError if there is none, or its file is damaged.
    """
    state = CampaignState(workdir, read_only=True)
    try:
        steps = state.steps()
        running = is_locked(workdir / ".lock")
        outcome = state.fact("outcome")
        settings = state.fact("settings") or {}
        now = (state.fact("activity") or {}) if running else {}
        tests = [
            check["numbers"]
            for record in steps
            for check in record.result.get("checks", [])
            if check["name"] == "test_error"
        ]
        log = state.log_lines()
        return {
            "workdir": str(workdir),
            "status": "running" if running else (outcome or {}).get("ending", "interrupted"),
            "reason": (outcome or {}).get("reason", "") if not running else "",
            "iteration": max((record.iteration for record in steps), default=0),
            "step": now.get("step"),
            "step_words": STEP_WORDS.get(now["step"], now["step"]) if now else None,
            "step_iteration": now.get("iteration"),
            "step_since_s": time.time() - now["since"] if now else None,
            "done": now.get("done"),
            "total": now.get("total"),
            "elements": settings.get("elements", []),
            "labels": len(entries(state)),
            "label_budget": settings.get("budget", {}).get("labels"),
            "failed_labels": len({k for r in steps for k in r.result.get("failures", ())}),
            "energy_rmse_eV_per_atom": tests[-1].get("energy_rmse_eV_per_atom") if tests else None,
            "force_rmse_eV_per_A": tests[-1].get("force_rmse_eV_per_A") if tests else None,
            "wall_s": sum(record.wall_s for record in steps),
            "iterations": [
                {
                    "iteration": record.iteration,
                    "passed": record.result["passed"],
                    "checks": record.result["checks"],
                }
                for record in steps
                if record.name == "validate"
            ],
            "last": f"{log[-1].step}: {log[-1].message}" if log else "",
        }
    finally:
        state.close()
