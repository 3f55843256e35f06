"""Write pacemaker's table from plain JSON: ``python pacemaker_table.py JSON TABLE``.

Run by the Python of an environment of its own (a pickle is for one version of pandas), so
nothing of pyacemaker is imported here.
"""

import json
import sys

import numpy as np
import pandas as pd
from ase import Atoms


def main(source: str, target: str) -> None:
    """Read the labels in `source` and write them as pacemaker's table to `target`."""
    with open(source) as stream:  # noqa: PTH123 - a script of its own
        labels = json.load(stream)
    rows = []
    for label in labels:
        row = {
            "ase_atoms": Atoms(
                numbers=label["numbers"],
                positions=label["positions"],
                cell=label["cell"],
                pbc=label["pbc"],
            ),
            "energy": label["energy"],
            "forces": np.array(label["forces"], dtype=float),
            "stress": None if label["stress"] is None else np.array(label["stress"], dtype=float),
            "label_key": label["label_key"],
        }
        if "energy_corrected" in label:
            row["energy_corrected"] = label["energy_corrected"]
        rows.append(row)
    pd.DataFrame(rows).to_pickle(target, compression="gzip", protocol=4)


if __name__ == "__main__":
    main(*sys.argv[1:])
