"""Make pacemaker's dataset from plain JSON: ``python finnis_sinclair_dataset.py JSON PICKLE``.

Run by the Python of the environment that `pacemaker` runs in, since pandas writes a pickle
that only a like version reads; hence nothing of pyacemaker is imported here, and no pickle
ever crosses from one environment into another.
"""

import json
import sys

import numpy as np
import pandas as pd
from ase import Atoms


def main(source: str, target: str) -> None:
    """Read the structures in `source` and write them as pacemaker's table to `target`."""
    with open(source) as stream:  # noqa: PTH123 - a script of its own
        structures = json.load(stream)
    rows = [
        {
            "ase_atoms": Atoms(
                numbers=s["numbers"], positions=s["positions"], cell=s["cell"], pbc=s["pbc"]
            ),
            "energy": s["energy"],
            "forces": np.array(s["forces"], dtype=float),
            "w_energy": s["w_energy"],
            "w_forces": np.array(s["w_forces"], dtype=float),
        }
        for s in structures
    ]
    pd.DataFrame(rows).to_pickle(target, compression="gzip", protocol=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
