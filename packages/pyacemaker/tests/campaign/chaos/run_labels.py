"""The labelling of the chaos test, as a process that can be killed at any moment.

    python run_labels.py WORKDIR [LIMIT]     LIMIT: most bytes of a file, as on a full disk

Exit status 0 when every structure is labelled or set aside, 5 where there was no room.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import ase.io

from pyacemaker.campaign.labelling import label_batch
from pyacemaker.execution.parsl_executor import ParslExecutor
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.settings import ASESettings, EspressoSettings, make_oracle


def main() -> int:
    """Label everything that is not labelled yet."""
    workdir = Path(sys.argv[1])
    if len(sys.argv) > 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    settings = EspressoSettings.model_validate_json((workdir / "espresso.json").read_text())
    emt = ASESettings(
        calculator="emt_with_faults.EMTWithFaults", kwargs={"faults": str(workdir / "emt-faults")}
    )
    store = LabelStore(workdir / "labels")
    try:
        with ParslExecutor(2) as executor:
            for name, oracle in (("silicon", make_oracle(settings)), ("copper", make_oracle(emt))):
                (workdir / "started").touch()
                structures = ase.io.read(workdir / f"{name}.json", ":")
                label_batch(structures, oracle, store, executor, lambda *_: None)
    except OSError as error:
        print(f"no room: {error}")
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
