"""Error of the forces on the core of an embedded cell, against the box it was cut from.

    python benchmarks/embedding.py emt benchmarks/embedding_emt.json
    python benchmarks/embedding.py dft benchmarks/embedding_dft.json
    python benchmarks/embedding.py dft-surface benchmarks/embedding_dft_surface.json

emt: aluminium by EMT (whose reach is about 6 angstrom), 4000 atoms at 0.1 angstrom of thermal
disorder: the surroundings of a vacancy, and the (111) surface of a slab; three atoms each.
dft: silicon by Quantum ESPRESSO, coarse (10 Ry, Gamma): 39 atoms round a vacancy in a box that
is long in one direction, along which it is cut.
dft-surface: silicon by Quantum ESPRESSO, as coarse (10 Ry, two k-points): a bare, unreconstructed
(001) slab of five layers, 3.8 angstrom wide and 23 long, cut along its length, and in depth where
the buffer is thinner than the slab.

For every buffer: atoms of the cell, largest and root-mean-square error of the core's forces
(eV/angstrom). For comparison, `cluster` is the same core with the same buffer as a cluster in
vacuum, the other way to make a small cell.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, diamond100, fcc111
from ase.calculators.emt import EMT

from pyacemaker.core_weight import core_weights
from pyacemaker.generator.embedding import CORE_RADIUS_A, embed
from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.settings import EspressoSettings

Forces = Callable[[Atoms], np.ndarray]


def emt(atoms: Atoms) -> np.ndarray:
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_forces()


SILICON = EspressoSettings(
    ecutwfc_Ry=10, ecutrho_Ry=40, kspacing_per_A=1.2, smearing="mv", degauss_Ry=0.02
)
# The slab is one surface cell wide: two k-points across it.
SILICON_SLAB = SILICON.model_copy(update={"kspacing_per_A": 0.85, "mixing_beta": 0.4})


def dft(settings: EspressoSettings) -> Forces:
    def forces(atoms: Atoms) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            label = EspressoOracle(settings).label(atoms, Path(folder))
        seconds, steps = label.meta["wall_s"], label.meta["scf_steps"]
        mesh = label.settings["kmesh"]
        print(f"{len(atoms)} atoms, k-mesh {mesh}, {steps} steps: {seconds:.0f} s", flush=True)
        return label.atoms.get_forces()

    return forces


def cluster(box: Atoms, centre: int, buffer_A: float) -> tuple[Atoms, np.ndarray]:
    away = box.get_distances(centre, range(len(box)), mic=True)
    kept = np.flatnonzero(away <= CORE_RADIUS_A + buffer_A)
    vectors = box.get_distances(centre, kept, mic=True, vector=True)
    return Atoms(numbers=box.numbers[kept], positions=vectors), kept


def rows(name: str, box: Atoms, centres: list[int], buffers: list[float], forces: Forces) -> list:
    whole = forces(box)
    found = []
    for buffer in buffers:
        periodic, clusters, sizes, misfits = [], [], [], []
        for centre in centres:
            cut = embed(box, centre, buffer_A=buffer)
            core = core_weights(cut.atoms) > 0
            periodic.append((forces(cut.atoms) - whole[cut.origin])[core].ravel())
            sizes.append(len(cut.atoms))
            misfits.append(cut.misfit_A)
            if forces is emt:
                piece, kept = cluster(box, centre, buffer)
                near = np.isin(kept, cut.origin[core])
                clusters.append((emt(piece) - whole[kept])[near].ravel())
        off = np.concatenate(periodic)
        row = {
            "case": name,
            "buffer_A": buffer,
            "atoms": sizes,
            "misfit_A": round(float(np.mean(misfits)), 4),
            "force_max_eV_per_A": float(np.abs(off).max()),
            "force_rms_eV_per_A": float(np.sqrt(np.mean(off**2))),
            "box_atoms": len(box),
            "box_force_rms_eV_per_A": float(np.sqrt(np.mean(whole**2))),
        }
        if clusters:
            bare = np.concatenate(clusters)
            row["cluster_force_rms_eV_per_A"] = float(np.sqrt(np.mean(bare**2)))
        print(json.dumps(row), flush=True)
        found.append(row)
    return found


def with_emt() -> list:
    buffers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    box = bulk("Al", cubic=True) * (10, 10, 10)
    box.rattle(0.1, rng=np.random.default_rng(1))
    near = np.argsort(box.get_distances(2000, range(len(box)), mic=True))[1:4]
    places = [int(i) - (i > 2000) for i in near]
    del box[2000]
    slab = fcc111("Al", (12, 12, 10), vacuum=8.0, orthogonal=True)
    slab.pbc = True
    slab.rattle(0.1, rng=np.random.default_rng(2))
    top = np.argsort(-slab.positions[:, 2])[[3, 40, 90]].tolist()
    return rows("vacancy", box, places, buffers, emt) + rows("surface", slab, top, buffers, emt)


def with_dft() -> list:
    box = bulk("Si", cubic=True) * (1, 1, 5)
    box.rattle(0.05, rng=np.random.default_rng(1))
    neighbour = int(np.argsort(box.get_distances(20, range(len(box)), mic=True))[1])
    del box[20]
    centre = neighbour - (neighbour > 20)
    return rows("vacancy, cut along one axis", box, [centre], [1.0, 3.0, 5.5], dft(SILICON))


def with_dft_surface() -> list:
    slab = diamond100("Si", (1, 6, 5), vacuum=5.0)
    slab.pbc = True
    slab.rattle(0.05, rng=np.random.default_rng(2))
    middle = slab.cell.array[1, 1] / 2
    top = np.flatnonzero(slab.get_tags() == 1)
    centre = int(top[np.argmin(np.abs(slab.positions[top, 1] - middle))])
    name = "surface, cut along one axis and in depth"
    return rows(name, slab, [centre], [1.0, 3.0, 5.0], dft(SILICON_SLAB))


CASES = {"emt": with_emt, "dft": with_dft, "dft-surface": with_dft_surface}


if __name__ == "__main__":
    kind, target = sys.argv[1:]
    result = {
        "command": f"python benchmarks/embedding.py {kind} {Path(target).name}",
        "core_radius_A": CORE_RADIUS_A,
        "rows": CASES[kind](),
    }
    Path(target).write_text(json.dumps(result, indent=1) + "\n")
