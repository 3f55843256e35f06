"""The barrier of one hop by every fit of a campaign, beside the oracle's own.

    python -m benchmarks.kmc.barriers_of_fits WORKDIR --out barriers.json

WORKDIR holds a campaign with `dynamics: kmc` and an ASE oracle. The lowest process of its last
walk is climbed to again, from the same start, by the oracle itself (its own minimum and saddle
point) and by the potential of every cycle, without a watch on gamma; gamma at the oracle's
saddle point says how strange that is to each fit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pyacemaker.campaign.state import CampaignState
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError
from pyacemaker.dynamics.kmc.recheck import rechecked
from pyacemaker.dynamics.kmc.table import State, StateTable
from pyacemaker.oracle.ase_oracle import calculator_class
from pyacemaker.potential import Potential


def lowest(workdir: Path, state: CampaignState) -> State:
    """Return the state of the last walk with its lowest way out alone."""
    for record in reversed(state.steps("md")):
        for run in record.result["runs"]:
            if run.get("kind") == "kmc":
                with StateTable(workdir / run["table"]["file"]) as table:
                    found = [s for s in table.states() if s.mechanisms]
                if found:
                    first = found[0]
                    one = min(first.mechanisms, key=lambda way: way.barrier_eV)
                    return State(0, first.atoms, first.energy_eV, "", mechanisms=(one,))
    raise SystemExit(f"{workdir}: no walk has found a process")


def barrier(known: State, landscape: Landscape, settings: Any) -> State | None:
    """Return the state and its way out on another landscape; None where it is none there."""
    try:
        found = rechecked(known, landscape, settings)
    except LostSearchError:
        return None
    return found if found.mechanisms else None


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    state = CampaignState(given.workdir, read_only=True)
    settings = CampaignSettings.from_json(json.dumps(state.fact("settings")))
    assert settings.kmc is not None
    quick = settings.kmc.model_copy(update={"prefactor_THz": 5.0, "max_barrier_eV": 5.0})
    known = lowest(given.workdir, state)
    calculator = calculator_class(settings.oracle.calculator)()
    own = barrier(known, Landscape(calculator, "oracle"), quick)
    if own is None:
        raise SystemExit("the oracle knows no such process")
    truth = own.mechanisms[0].barrier_eV
    saddle = own.atoms.copy()
    saddle.positions += own.mechanisms[0].saddle
    rows = []
    for record in state.steps("train"):
        potential = Potential.load(given.workdir / record.result["potential"])
        made = barrier(own, Landscape(potential.calculator(), "fit"), quick)
        saddle.calc = potential.calculator()
        saddle.get_potential_energy()
        value = made.mechanisms[0].barrier_eV if made else None
        rows.append(
            {
                "cycle": record.iteration,
                "labels_trained_on": record.result["sizes"]["train"],
                "barrier_eV": value,
                "error_percent": None if value is None else 100 * (value / truth - 1),
                "gamma_at_oracles_saddle": float(saddle.calc.results["gamma"].max()),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    result = {"oracle_barrier_eV": truth, "fits": rows}
    print(f"the oracle's own barrier: {truth:.4f} eV")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
