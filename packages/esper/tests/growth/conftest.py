"""One thread, whatever the machine."""

import torch

torch.set_num_threads(1)
