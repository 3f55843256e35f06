"""What the last labels of a batch are worth: a batch round a halt, ended by `least_gain`.

    python -m benchmarks.learner.least_gain --out benchmarks/learner/least_gain.json

A crystal is learnt from small displacements; then MD has halted, and a batch of at most 20 is
chosen, as a campaign does, from the candidates round the halted frame (`local_candidates`). For
each share the number of labels taken, and the force error after the fit on structures of the same
temperature as the halt, which took no part. Teachers: EMT copper, Tersoff silicon (T2).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.units import fs

from benchmarks.learner.learning_curves import T2, labelled
from pyacemaker.generator.local import local_candidates
from pyacemaker.potential import Potential
from pyacemaker.selection.maxvol import MaxVolSelector
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
SETTINGS = TrainerSettings(functions_per_element=80, cutoff_A=5.0)
HOT_K = 1200.0


def teacher_of(element: str) -> Any:
    return EMT() if element == "Cu" else Tersoff({("Si", "Si", "Si"): T2})


def hot_frames(element: str, count: int, seed: int) -> list[Atoms]:
    """Return frames of the teacher's own MD at HOT_K, 100 fs apart."""
    rng = np.random.default_rng(seed)
    atoms = crystal(element)
    atoms.calc = teacher_of(element)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * HOT_K, rng=rng)
    md = Langevin(atoms, 2 * fs, temperature_K=HOT_K, friction=0.02 / fs, rng=rng)
    frames = []
    for _ in range(count):
        md.run(50)
        frames.append(labelled(Atoms(atoms), teacher_of(element)))
    return frames


def crystal(element: str) -> Atoms:
    if element == "Cu":
        return bulk("Cu", a=3.6, cubic=True) * (2, 2, 1)
    return bulk("Si", a=5.43, cubic=True) * (2, 1, 1)


def one_run(element: str, seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    cold = []
    for _ in range(30):
        atoms = crystal(element)
        atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.03, 0.03)), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.04, size=atoms.positions.shape)
        cold.append(labelled(atoms, teacher_of(element)))
    frames = hot_frames(element, 16, seed)
    halted, test = frames[5], frames[6:]
    pool = local_candidates(Atoms(halted), "halt", rng).candidates
    alone = {
        element: labelled(
            Atoms(element, cell=[20] * 3, pbc=True), teacher_of(element)
        ).calc.results["energy"]
    }
    rows = []
    for share in (1.0, *SHARES):  # 1: none of the batch
        picks: list[int] = []
        if share < 1.0:
            selector = MaxVolSelector.for_elements([element], SETTINGS, least_gain=share)
            picks = list(selector.select(pool, cold, 20, rng).indices)
        new = [labelled(pool[n].copy(), teacher_of(element)) for n in picks]
        with tempfile.TemporaryDirectory() as folder:
            fit = LinearTrainer(SETTINGS).fit([*cold, *new], [], alone, Path(folder) / "p", rng)
            calculator = Potential.load(fit.potential).calculator()
            wrong, gamma = [], []
            for atoms in test:
                probe = atoms.copy()
                probe.calc = calculator
                wrong.append((probe.get_forces() - atoms.get_forces()).ravel())
                gamma.append(calculator.results["gamma"].max())
        rows.append(
            {
                "least_gain": share,
                "labels": len(picks),
                "force_rmse_eV_per_A": float(np.sqrt(np.mean(np.concatenate(wrong) ** 2))),
                "median_highest_gamma": float(np.median(gamma)),
            }
        )
        print(element, seed, rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    runs = {e: [one_run(e, seed) for seed in range(given.seeds)] for e in ("Cu", "Si")}
    summary = {
        element: [
            {
                "least_gain": share,
                "labels": [run[k]["labels"] for run in rows],
                "force_rmse_over_full_batch": [
                    run[k]["force_rmse_eV_per_A"] / run[1]["force_rmse_eV_per_A"] for run in rows
                ],
            }
            for k, share in enumerate((1.0, *SHARES))
        ]
        for element, rows in runs.items()
    }
    if given.out:
        content = {"command": "python -m benchmarks.learner.least_gain", "most_labels": 20}
        content |= {"summary": summary, "runs": runs}
        given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
