"""Work of a known length that says in which job it ran: importable in the jobs of a cluster."""

from __future__ import annotations

import os
import time


def work(seconds: float) -> tuple[str, float, float]:
    """Take so long; return the job's number, begin and end (s since the epoch)."""
    began = time.time()
    time.sleep(seconds)
    return os.environ["SLURM_JOB_ID"], began, time.time()
