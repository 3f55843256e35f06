"""The cycles of a campaign, a row each, from what its steps left in the state file."""

from __future__ import annotations

from typing import Any

from pyacemaker.campaign.entries import BARRIERS_STEP
from pyacemaker.campaign.fits import GROW
from pyacemaker.campaign.state import CampaignState
from pyacemaker.report.data import CycleRow


def cycle_rows(state: CampaignState) -> list[CycleRow]:
    """Return a row for every cycle that has begun to be recorded."""
    rows: dict[int, dict[str, Any]] = {}
    total = 0
    for record in state.steps():
        if record.iteration == 0:
            continue
        row = rows.setdefault(record.iteration, {"iteration": record.iteration, "wall_s": 0.0})
        row["wall_s"] += record.wall_s
        result = record.result
        if record.name in ("label", BARRIERS_STEP, "certify"):
            new = len([key for key in result["keys"] if key is not None])
            total += new
            row["new_labels"] = row.get("new_labels", 0) + new
            if record.name == "label":  # the others come after the fit
                row["labels"] = total
        elif record.name == "explore":
            row["note"] = result["source"]
        elif record.name == "train":
            row |= _trained(result["metrics"].get("train", {}))
        elif record.name in ("validate", "certificate"):
            if record.name == "validate":
                row["verdict"] = "go" if result["passed"] else "no-go"
            for check in result["checks"]:
                if check["name"] == "test_error":
                    row |= _test_errors(check["numbers"])
        elif record.name == GROW and result["accepted"]:
            row["verdict"] = "go"
            row |= _trained(result["fit"]["metrics"].get("train", {}))
        elif record.name == "md":
            row["md"] = {
                run["temperature_K"]: run["status"]
                for run in result["runs"]
                if run.get("kind", "md") == "md"
            }
    return [CycleRow(**row) for row in rows.values()]


def _trained(errors: dict[str, float]) -> dict[str, float | None]:
    return {
        "train_energy_rmse_eV_per_atom": errors.get("energy_rmse"),
        "train_force_rmse_eV_per_A": errors.get("force_rmse"),
        "train_stress_rmse_GPa": errors.get("stress_rmse"),
    }


def _test_errors(numbers: dict[str, float]) -> dict[str, float | None]:
    return {
        key: numbers.get(key)
        for key in ("energy_rmse_eV_per_atom", "force_rmse_eV_per_A", "stress_rmse_GPa")
    }
