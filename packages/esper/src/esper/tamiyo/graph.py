"""A graph network over the sites that chooses a candidate, trained by PPO on recorded episodes.

The sites of a network are a chain, along which messages go both ways. PPO: Schulman et al.,
arXiv:1707.06347, equation 7. Episodes are recorded under a policy that chooses by chance (the
random control, or an earlier graph network), whose probability stands in the record: the ratio
in PPO's objective is to that. A record without one is of no use here and is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from esper.tamiyo.decisions import FEATURES, NODE_FEATURES, Decision

_WIDTH = 16


class GraphPolicy(nn.Module):
    """Logits of the candidates, and the value (expected reward) of the situation."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.enter = nn.Linear(len(NODE_FEATURES), _WIDTH)
            self.rounds = nn.ModuleList(nn.Linear(2 * _WIDTH, _WIDTH) for _ in range(2))
            self.actor = nn.Sequential(
                nn.Linear(_WIDTH + len(FEATURES), _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, 1)
            )
            self.critic = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, 1))

    def forward(self, nodes: Tensor, places: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (batch, candidates) and values (batch,).

        `nodes` is (batch, sites, node features), `rows` (batch, candidates, features), `places`
        (batch, candidates) the site of each candidate.
        """
        h = torch.tanh(self.enter(nodes))
        for layer in self.rounds:
            h = h + torch.tanh(layer(torch.cat([h, _neighbours(h)], dim=-1)))
        mine = h.gather(1, places[..., None].expand(-1, -1, h.shape[-1]))
        logits = self.actor(torch.cat([mine, rows], dim=-1))[..., 0]
        return logits, self.critic(h.mean(1))[..., 0]

    @torch.no_grad()
    def choose(self, decision: Decision, rng: np.random.Generator) -> tuple[int, float | None]:
        """Return a candidate drawn by its probability, and that probability."""
        logits, _ = self(*_packed([decision]))
        chances = torch.softmax(logits[0].double(), 0).numpy()
        index = int(rng.choice(len(chances), p=chances / chances.sum()))
        return index, float(chances[index])


def _packed(decisions: Sequence[Decision]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack decisions with equally many sites and candidates."""
    return (
        torch.tensor([d.nodes for d in decisions], dtype=torch.float32),
        torch.tensor([[c.node for c in d.candidates] for d in decisions]),
        torch.tensor([[c.features for c in d.candidates] for d in decisions], dtype=torch.float32),
    )


def _neighbours(h: Tensor) -> Tensor:
    """Return the mean of the neighbours in the chain; zero for a site that is alone."""
    padded = torch.nn.functional.pad(h, (0, 0, 1, 1))
    count = torch.full((h.shape[-2], 1), 2.0)
    count[0] -= 1
    count[-1] -= 1
    return (padded[..., :-2, :] + padded[..., 2:, :]) / count.clamp_min(1)


def train_ppo(
    policy: GraphPolicy,
    episodes: Sequence[Sequence[Decision]],
    *,
    rounds: int = 12,
    updates: int = 10,
    clip: float = 0.2,
    entropy: float = 0.01,
    learning_rate: float = 5e-3,
) -> int:
    """Improve the policy on recorded episodes; returns how many decisions could be used.

    In each round PPO's ratio is to the policy at its beginning. Since the records are older than
    that policy, each is weighted by how much likelier the policy makes it than the record's
    probability did, at most threefold. Advantages are reward minus the critic's value, normalised;
    later decisions of an episode do not count towards earlier ones, since each branch is judged
    on its own.
    """
    used = [d for e in episodes for d in e if d.reward is not None and d.probability]
    if len(used) < 2:
        return len(used)
    used.sort(key=_size)
    groups = [list(group) for _, group in itertools.groupby(used, key=_size)]
    packed = [_packed(group) for group in groups]
    picked = [torch.tensor([[d.chosen] for d in group]) for group in groups]
    rewards = torch.tensor([d.reward for d in used], dtype=torch.float32)
    rewards = (rewards - rewards.mean()) / rewards.std().clamp_min(1e-9)
    behaviour = torch.tensor([d.probability for d in used], dtype=torch.float32).log()
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)

    def evaluate() -> tuple[Tensor, Tensor, Tensor]:
        new, values, spread = [], [], []
        for inputs, chosen in zip(packed, picked, strict=True):
            logits, value = policy(*inputs)
            logs = torch.log_softmax(logits, 1)
            new.append(logs.gather(1, chosen)[:, 0])
            spread.append(-(logs.exp() * logs).sum(1))
            values.append(value)
        return torch.cat(new), torch.cat(values), torch.cat(spread)

    for _ in range(rounds):
        with torch.no_grad():
            old, value, _ = evaluate()
            weight = (old - behaviour).exp().clamp_max(3.0)
            advantage = rewards - value
            advantage = (advantage - advantage.mean()) / advantage.std().clamp_min(1e-9)
        for _ in range(updates):
            new, value, spread = evaluate()
            ratio = (new - old).exp()
            gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
            loss = (
                -(weight * gain).mean()
                + 0.5 * (rewards - value).square().mean()
                - entropy * spread.mean()
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return len(used)


def _size(decision: Decision) -> tuple[int, int]:
    return len(decision.nodes), len(decision.candidates)
