"""Small hosts of every kind, and how to run them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """A sequence classifier: attention, LayerNorm, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(x + self.attend(x, x, x)[0]).mean(1))
        return out


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def mlp_with_norms() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


SHAPES = {"mlp": (6,), "mlp_with_norms": (6,), "cnn": (2, 6, 6), "attention": (5, 8)}
MAKERS = {
    "mlp": mlp,
    "mlp_with_norms": mlp_with_norms,
    "cnn": cnn,
    "attention": SelfAttention,
}


def make(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MAKERS[kind]()


def batch(kind: str, size: int = 16, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, *SHAPES[kind], generator=generator)
    return x, torch.randint(3, (size,), generator=generator)
