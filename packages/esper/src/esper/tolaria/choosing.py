"""Which candidate grows: by gradient, by chance, or by a learnt policy; each choice is recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from esper.config import Config
from esper.files import write_whole
from esper.growth.residual import BlockProposal
from esper.kasmina.blueprints import Bottleneck, build, site_shape
from esper.lifecycle import WITH_BRANCH
from esper.tamiyo.decisions import Candidate, Decision
from esper.tamiyo.policy import Policy, PolicyError, load_policy
from esper.tezzeret.module import BlueprintModule
from esper.tolaria.governor import TrainingError
from esper.tolaria.networks import count_parameters
from esper.tolaria.run import Run

FROZEN_POLICY = "policy.safetensors"


def policy_of(config: Config, folder: Path, workdir: Path | None) -> Policy | None:
    """Return the policy that chooses, None where none does.

    It is frozen in `workdir`, so that a training goes on with the very same. Raises TrainingError
    if it cannot be read, or has not been proven and the configuration does not say `unproven`.
    """
    if config.growth.chooser != "policy" or config.growth.kind != "seeds":
        return None
    frozen = workdir / FROZEN_POLICY if workdir else None
    source = folder / Path(config.growth.policy).expanduser()
    if frozen is not None and frozen.exists():
        source = frozen
    try:
        policy = load_policy(source)
    except PolicyError as error:
        raise TrainingError(f"growth.policy: {error}") from None
    if not policy.proven and not config.growth.unproven:
        told = policy.gate.told() if policy.gate else "it has not been tried"
        raise TrainingError(
            f"growth.policy: {source} has not beaten the heuristic and chance ({told}); run `esper "
            "policy gate` on it, or set growth.unproven: true"
        )
    if frozen is not None and not frozen.exists():
        write_whole(frozen, source.read_bytes())
    return policy


def choose(
    run: Run, config: Config, proposals: Sequence[BlockProposal], scores: Sequence[float]
) -> int:
    """Return the index of the proposal to grow, and write the decision down."""
    chooser = config.growth.chooser
    open_decision = _decision(run, proposals, scores)
    probability: float | None = None
    if chooser == "random":
        index = int(torch.randint(len(proposals), (), generator=run.generator))
        probability = 1 / len(proposals)
    elif chooser == "policy" and run.policy is not None:
        seed = int(torch.randint(2**62, (), generator=run.generator))
        index, probability = run.policy.choose(open_decision, np.random.default_rng(seed))
    else:
        index = max(range(len(proposals)), key=lambda i: scores[i])
    done = open_decision.model_copy(update={"chosen": index, "probability": probability})
    run.history["decisions"].append(done.model_dump(mode="json"))
    return index


def reward_last(run: Run, site: str, reward: float) -> None:
    """Write down what the newest decision for `site` was worth (nats per sample)."""
    for decision in reversed(run.history["decisions"]):
        if decision["candidates"][decision["chosen"]]["site"] == site:
            decision["reward"] = reward
            return


def _decision(run: Run, proposals: Sequence[BlockProposal], scores: Sequence[float]) -> Decision:
    host = run.model.host
    sites = list(run.model.sites)
    depth = {site: i / max(len(sites) - 1, 1) for i, site in enumerate(sites)}
    best = max(scores) or 1.0
    total = count_parameters(run.model)
    last = run.history["epochs"][-1]
    rows = []
    for proposal, score in zip(proposals, scores, strict=True):
        module = host.get_submodule(proposal.site)
        branch = build(proposal.blueprint, module, proposal.width, torch.Generator())
        rows.append(
            Candidate(
                site=proposal.site,
                blueprint=proposal.blueprint,
                node=sites.index(proposal.site),
                features=(
                    1.0,
                    score / best,
                    count_parameters(branch) / total,
                    depth[proposal.site],
                    float(_pointwise(branch)),
                    last["train_loss"],
                    last["validation_loss"] - last["train_loss"],
                ),
            )
        )
    nodes = []
    for seed in run.model.lives():
        mine = [s for p, s in zip(proposals, scores, strict=True) if p.site == seed.site]
        features = site_shape(host.get_submodule(seed.site)).features
        grown = float(seed.state in WITH_BRANCH)
        nodes.append(
            (depth[seed.site], math.log2(features) / 10, grown, max(mine, default=0.0) / best)
        )
    return Decision(
        step=run.step, nodes=tuple(nodes), candidates=tuple(rows), chosen=0, probability=None
    )


def _pointwise(branch: torch.nn.Module) -> bool:
    if isinstance(branch, BlueprintModule):
        return all(op not in {"conv2d", "attention", "mean"} for _, op, _, _ in branch.plan)
    return isinstance(branch, Bottleneck)
