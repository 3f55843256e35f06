"""A learned policy as a file: tensors as safetensors, with what it is and its gate as metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from esper.files import write_whole
from esper.tamiyo.bandit import Bandit
from esper.tamiyo.decisions import FEATURES, NODE_FEATURES, Decision
from esper.tamiyo.gate import Gate
from esper.tamiyo.graph import GraphPolicy

PolicyKind = Literal["linucb", "thompson", "gnn"]
_FORMAT = "esper-policy-1"


class PolicyError(ValueError):
    """A policy that cannot be read or may not be used; names the file and the remedy."""


@dataclass(frozen=True)
class Policy:
    """A bandit or a graph network; `decisions` says on how many it learnt."""

    kind: PolicyKind
    model: Bandit | GraphPolicy
    decisions: int
    gate: Gate | None = None

    @property
    def proven(self) -> bool:
        """Say whether it has beaten the heuristic and chance."""
        return self.gate is not None and self.gate.passed

    def choose(self, decision: Decision, rng: np.random.Generator) -> tuple[int, float | None]:
        """Return the candidate to take, and the probability where it is known."""
        return self.model.choose(decision, rng)

    def with_gate(self, gate: Gate) -> Policy:
        """Return the same policy with the record of its trial."""
        return replace(self, gate=gate)


def save_policy(policy: Policy, path: Path) -> None:
    """Write a policy whole."""
    if isinstance(policy.model, Bandit):
        tensors = {
            "precision": torch.from_numpy(policy.model.precision),
            "moment": torch.from_numpy(policy.model.moment),
            "exploration": torch.tensor(policy.model.exploration, dtype=torch.float64),
        }
    else:
        tensors = {k: v.contiguous() for k, v in policy.model.state_dict().items()}
    metadata = {
        "format": _FORMAT,
        "kind": policy.kind,
        "decisions": str(policy.decisions),
        "features": json.dumps([FEATURES, NODE_FEATURES]),
        "gate": policy.gate.model_dump_json() if policy.gate else "",
    }
    write_whole(path, save(tensors, metadata))


def load_policy(path: Path) -> Policy:
    """Read a policy. Raises PolicyError."""
    try:
        with safe_open(path, "pt") as archive:
            metadata = archive.metadata() or {}
            tensors: dict[str, Tensor] = {key: archive.get_tensor(key) for key in archive.keys()}  # noqa: SIM118
        if metadata.get("format") != _FORMAT:
            raise PolicyError(f"{path} is no policy of this version of esper")
        if json.loads(metadata["features"]) != [list(FEATURES), list(NODE_FEATURES)]:
            raise PolicyError(f"{path} learnt on other features; let it learn anew")
        kind = metadata["kind"]
        model: Bandit | GraphPolicy
        if kind in {"linucb", "thompson"}:
            model = Bandit(
                "linucb" if kind == "linucb" else "thompson",
                float(tensors["exploration"]),
                tensors["precision"].numpy().copy(),
                tensors["moment"].numpy().copy(),
            )
        elif kind == "gnn":
            model = GraphPolicy()
            model.load_state_dict(tensors)
        else:
            raise PolicyError(f"{path}: no kind of policy {kind!r}")
        gate = Gate.model_validate_json(metadata["gate"]) if metadata["gate"] else None
        return Policy(kind, model, int(metadata["decisions"]), gate)
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError, ValidationError) as error:
        if isinstance(error, PolicyError):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PolicyError(f"{path} cannot be read ({first})") from None
