"""One thread: figures are the same whatever the machine, and xdist workers do not fight."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
