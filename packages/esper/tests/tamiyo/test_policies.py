"""Learned policies: they learn what there is to learn, and claim nothing without proof."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from esper.cli import app
from esper.config import ConfigError, parse_config
from esper.tamiyo.bandit import Bandit
from esper.tamiyo.decisions import FEATURES, Candidate, Decision, recorded
from esper.tamiyo.gate import judge
from esper.tamiyo.graph import GraphPolicy, _packed, train_ppo
from esper.tamiyo.policy import Policy, PolicyError, load_policy, save_policy
from esper.tolaria.governor import TrainingError
from esper.tolaria.loop import HISTORY, train
from esper.tolaria.run import Run, capture

TRUTH = np.array([0.0, 0.1, -0.5, 0.3, 0.0, 0.0, 0.0])  # the score helps, depth more, cost hurts


def situation(rng: np.random.Generator, count: int = 4) -> Decision:
    rows = rng.uniform(0, 1, (count, len(FEATURES)))
    rows[:, 0] = 1
    candidates = tuple(
        Candidate(site=f"s{i}", blueprint="b", node=i, features=tuple(row))
        for i, row in enumerate(rows)
    )
    nodes = tuple((float(row[3]), 0.5, 0.0, float(row[1])) for row in rows)
    return Decision(step=0, nodes=nodes, candidates=candidates, chosen=0, probability=None)


def episodes(count: int, seed: int) -> list[list[Decision]]:
    """Record choices by chance with their rewards."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        decision = situation(rng)
        index = int(rng.integers(4))
        reward = float(decision.matrix()[index] @ TRUTH + 0.02 * rng.standard_normal())
        found.append(
            [decision.model_copy(update={"chosen": index, "probability": 0.25, "reward": reward})]
        )
    return found


def regret(policy: Any, seed: int = 99, count: int = 300) -> float:
    """Return the mean reward lost against the best candidate, relative to choosing by chance."""
    rng = np.random.default_rng(seed)
    mine, chance = [], []
    for _ in range(count):
        decision = situation(rng)
        values = decision.matrix() @ TRUTH
        mine.append(values.max() - values[policy.choose(decision, rng)[0]])
        chance.append(values.max() - values.mean())
    return statistics.mean(mine) / statistics.mean(chance)


@pytest.mark.parametrize("kind", ["linucb", "thompson"])
def test_a_bandit_learns_linear_rewards(kind: Any) -> None:
    assert regret(Bandit(kind, 0.0)) > 0.5
    assert regret(Bandit(kind, 0.01).fit(episodes(200, 0))) < 0.05


def test_a_bandit_is_ridge_regression() -> None:
    bandit = Bandit("linucb", 0.0).fit(recorded_episodes := episodes(50, 3))
    X = np.array([d.candidates[d.chosen].features for e in recorded_episodes for d in e])
    r = np.array([d.reward for e in recorded_episodes for d in e], dtype=float)
    design = np.vstack([X, np.eye(X.shape[1])])
    expected = np.linalg.lstsq(design, np.append(r, np.zeros(X.shape[1])), rcond=None)[0]
    np.testing.assert_allclose(np.linalg.solve(bandit.precision, bandit.moment), expected)


def test_an_uncertain_candidate_is_tried_by_linucb() -> None:
    bandit = Bandit("linucb", 1.0)
    known = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for _ in range(50):
        bandit.update(known, 0.1)
    unknown = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    candidates = tuple(
        Candidate(site=str(i), blueprint="b", node=i, features=f)
        for i, f in enumerate((known, unknown))
    )
    nodes = ((0.0, 0.5, 0.0, 1.0), (1.0, 0.5, 0.0, 1.0))
    decision = Decision(step=0, nodes=nodes, candidates=candidates, chosen=0, probability=None)
    rng = np.random.default_rng(0)
    assert bandit.choose(decision, rng)[0] == 1
    bandit.exploration = 0.0
    assert bandit.choose(decision, rng)[0] == 0


def test_ppo_learns_from_recorded_choices_by_chance() -> None:
    policy = GraphPolicy(0)
    before = regret(policy)
    assert train_ppo(policy, episodes(300, 1)) == 300
    assert before > 0.8
    assert regret(policy) < 0.5 * before


def test_ppo_leaves_out_what_was_not_chosen_by_chance() -> None:
    silent = [[d.model_copy(update={"probability": None}) for d in e] for e in episodes(20, 1)]
    assert train_ppo(GraphPolicy(0), silent) == 0


def test_the_graph_network_sees_its_neighbours() -> None:
    policy = GraphPolicy(0)
    decision = situation(np.random.default_rng(0))
    nodes = [list(n) for n in decision.nodes]
    nodes[0][2] = 1.0  # something grew at the first site
    other = decision.model_copy(update={"nodes": tuple(tuple(n) for n in nodes)})
    with torch.no_grad():
        change = (policy(*_packed([other]))[0] - policy(*_packed([decision]))[0])[0].abs()
    assert bool((change[:3] > 1e-6).all())  # two rounds reach two sites further
    assert float(change[3]) < 1e-7


def test_the_gate_is_a_paired_t_interval() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.9, 0.05, 8)  # seeds differ much more than policies
    arms = {
        "policy": dict(enumerate(base + 0.02 + rng.normal(0, 0.004, 8))),
        "gradient": dict(enumerate(base)),
        "random": dict(enumerate(base - 0.01)),
    }
    gate = judge(arms)
    assert gate.passed
    for comparison in gate.comparisons:
        theirs = list(arms[comparison.rival].values())
        test = stats.ttest_rel(list(arms["policy"].values()), theirs)
        low, high = test.confidence_interval(0.95)
        assert comparison.mean - comparison.half_width_95 == pytest.approx(low)
        assert comparison.mean + comparison.half_width_95 == pytest.approx(high)


def test_the_gate_is_closed_without_clear_proof() -> None:
    same = dict.fromkeys(range(6), 0.9)
    assert not judge({"policy": same, "gradient": same, "random": same}).passed
    better = {seed: 0.91 + 0.001 * seed for seed in range(6)}
    assert judge({"policy": better, "gradient": same, "random": same}).passed
    worse = dict.fromkeys(range(6), 0.95)
    assert not judge({"policy": better, "gradient": worse, "random": same}).passed
    few = {seed: better[seed] for seed in range(4)}
    other = dict.fromkeys(range(4), 0.9)
    assert not judge({"policy": few, "gradient": other, "random": other}).passed
    with pytest.raises(ValueError, match="the same seeds"):
        judge({"policy": better, "gradient": other, "random": other})


@pytest.mark.parametrize("kind", ["linucb", "thompson", "gnn"])
def test_a_policy_comes_back_from_its_file_as_it_was(kind: Any, tmp_path: Path) -> None:
    model = GraphPolicy(3) if kind == "gnn" else Bandit(kind).fit(episodes(20, 0))
    gate = judge({a: {0: 0.9, 1: 0.8} for a in ("policy", "gradient", "random")}, "t")
    save_policy(Policy(kind, model, 20, gate), tmp_path / "p")
    again = load_policy(tmp_path / "p")
    assert (again.kind, again.decisions, again.gate, again.proven) == (kind, 20, gate, False)
    decision = situation(np.random.default_rng(5))
    for seed in range(5):
        mine = model.choose(decision, np.random.default_rng(seed))
        assert again.choose(decision, np.random.default_rng(seed)) == mine
    content = (tmp_path / "p").read_bytes()
    (tmp_path / "p").write_bytes(content[:-3])
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "p")


GROWING: dict[str, Any] = {
    "network": {"widths": [6, 6]},
    "training": {"epochs": 4, "learning_rate": 0.01, "checkpoint_steps": 7},
    "growth": {
        "kind": "seeds",
        "trigger": "epochs",
        "at_epochs": [1, 3],
        "training_steps": 5,
        "grafting_steps": 4,
        "stabilization_steps": 2,
        "fine_tuning_steps": 4,
        "width": 4,
        "chooser": "random",
    },
}


class StopError(RuntimeError):
    pass


def test_from_recorded_trainings_to_a_policy_at_its_gate(tmp_path: Path) -> None:
    runner = CliRunner()
    for seed in range(3):
        value = {**GROWING, "training": {**GROWING["training"], "seed": seed}}
        run = train(parse_config(value), tmp_path / f"runs/{seed}")
    found = recorded(tmp_path / "runs")
    assert len(found) == 3
    decision = found[-1][0]
    chosen = decision.candidates[decision.chosen]
    event = next(e for e in run.history["events"] if e["kind"] == "germinated")
    assert (chosen.site, chosen.blueprint) == (event["site"], event["blueprint"])
    verdict = next(e for e in run.history["events"] if "reward" in e)
    assert decision.reward == verdict["reward"]
    assert decision.probability == 0.5
    file = tmp_path / "p.safetensors"
    learnt = runner.invoke(
        app, ["policy", "learn", str(tmp_path / "runs"), "--kind", "gnn", "-o", str(file)]
    )
    assert learnt.exit_code == 0, learnt.output
    value = {**GROWING, "growth": {**GROWING["growth"], "chooser": "policy", "policy": str(file)}}
    with pytest.raises(TrainingError, match=r"has not beaten .*\(it has not been tried\)"):
        train(parse_config(value), tmp_path / "refused")
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps(GROWING))
    tried = runner.invoke(app, ["policy", "gate", str(file), str(config), "--seeds", "2", "--json"])
    assert tried.exit_code == 1, tried.output  # two seeds prove nothing
    record = json.loads(tried.stdout)
    assert {len(arm) for arm in record["accuracies"].values()} == {2}
    shown = json.loads(runner.invoke(app, ["policy", "show", str(file), "--json"]).stdout)
    assert (shown["proven"], shown["gate"]) == (False, record)
    with pytest.raises(TrainingError, match="NOT proven on 2 seeds"):
        train(parse_config(value), tmp_path / "refused")
    allowed = {**value, "growth": {**value["growth"], "unproven": True}}
    whole = train(parse_config(allowed), tmp_path / "whole")

    def stop(run: Run) -> None:
        if run.step == 20:
            raise StopError

    with pytest.raises(StopError):
        train(parse_config(allowed), tmp_path / "cut", on_step=stop)
    file.unlink()  # it goes on with the policy that was frozen
    again = train(parse_config(allowed), tmp_path / "cut")
    for name, tensor in capture(whole)["model"].items():
        assert torch.equal(capture(again)["model"][name], tensor)
    assert "decisions" in json.loads((tmp_path / "cut" / HISTORY).read_text())


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    runner = CliRunner()
    none = runner.invoke(app, ["policy", "learn", str(tmp_path), "-o", str(tmp_path / "p")])
    assert none.exit_code == 2
    assert "0 judged decisions" in none.stderr
    with pytest.raises(ConfigError, match="needs policy"):
        parse_config({"growth": {"kind": "seeds", "chooser": "policy"}})
    missing = {"kind": "seeds", "chooser": "policy", "policy": "none", "unproven": True}
    with pytest.raises(TrainingError, match=r"growth\.policy: .*none cannot be read"):
        train(parse_config({"growth": missing}), tmp_path / "w")
