"""The labelling of the chaos test, as a process that can be killed at any moment.

    python run_labels.py WORKDIR     reads lines from standard input, one for each run

A line is empty, or the most bytes of a file, as on a full disk. For each line a process is
forked (what is imported once need not be imported again); its id and, when it has ended, its
exit status are printed: 0 when every structure is labelled or set aside, 5 where there was
no room, negative for a signal.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import ase.io

from pyacemaker.campaign.labelling import label_batch
from pyacemaker.execution.parsl_executor import ParslExecutor
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.settings import ASESettings, EspressoSettings, make_oracle


def main() -> None:
    """Fork a labelling process for each line."""
    workdir = Path(sys.argv[1])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = label(workdir, int(line) if line.strip() else None)
            finally:
                os._exit(status)
        print(child, flush=True)
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


def label(workdir: Path, most_bytes: int | None) -> int:
    """Label everything that is not labelled yet."""
    if most_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
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
    except OSError:
        return 5
    return 0


if __name__ == "__main__":
    main()
