"""The cycles of a campaign, a row each, from what its steps left in the state file."""

from __future__ import annotations

from typing import Any

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
        if record.name in ("label", "certify"):
            new = len([key for key in result["keys"] if key is not None])
            total += new
            row["new_labels"] = row.get("new_labels", 0) + new
            if record.name == "label":  # those of the last test come after the fit
                row["labels"] = total
        elif record.name == "explore":
            row["note"] = result["source"]
        elif record.name == "train":
            train = result["metrics"].get("train", {})
            row["train_energy_rmse_eV_per_atom"] = train.get("energy_rmse")
            row["train_force_rmse_eV_per_A"] = train.get("force_rmse")
            row["train_stress_rmse_GPa"] = train.get("stress_rmse")
        elif record.name in ("validate", "certificate"):
            if record.name == "validate":
                row["verdict"] = "go" if result["passed"] else "no-go"
            for check in result["checks"]:
                if check["name"] == "test_error":
                    row |= _test_errors(check["numbers"])
        elif record.name == "md":
            row["md"] = {run["temperature_K"]: run["status"] for run in result["runs"]}
    return [CycleRow(**row) for row in rows.values()]


def _test_errors(numbers: dict[str, float]) -> dict[str, float | None]:
    return {
        key: numbers.get(key)
        for key in ("energy_rmse_eV_per_atom", "force_rmse_eV_per_A", "stress_rmse_GPa")
    }
