"""`esper policy`: learn from recorded trainings, and be judged on paired seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esper.terminal import JsonFlag, QuietFlag, refuse, say, stderr

if TYPE_CHECKING:
    from esper.config import Config

policy_app = typer.Typer(
    help="Policies that learn where to grow, and their trial.", no_args_is_help=True
)
PolicyFile = Annotated[Path, typer.Argument(help="A policy.", metavar="POLICY")]


@policy_app.command()
def learn(
    folder: Annotated[Path, typer.Argument(help="Where trainings were recorded.", metavar="DIR")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The policy's file.")],
    kind: Annotated[
        Literal["linucb", "thompson", "gnn"],
        typer.Option(help="A linear bandit, or a graph network by PPO."),
    ] = "linucb",
    exploration: Annotated[
        float, typer.Option(min=0.0, help="Of a bandit, in nats per sample.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the graph network's first weights.")] = 0,
) -> None:
    """Learn from every judged growth below a folder.

    Record with `growth.chooser: random`: a graph network learns only from choices by chance.
    """
    from esper.tamiyo.bandit import Bandit
    from esper.tamiyo.decisions import recorded
    from esper.tamiyo.graph import GraphPolicy, train_ppo
    from esper.tamiyo.policy import Policy, save_policy

    episodes = recorded(folder)
    if kind == "gnn":
        network = GraphPolicy(seed)
        used = train_ppo(network, episodes)
        policy = Policy(kind, network, used)
    else:
        used = sum(len(episode) for episode in episodes)
        policy = Policy(kind, Bandit(kind, exploration).fit(episodes), used)
    if used < 2:
        raise refuse(
            f"{folder}: {used} judged decisions to learn from; train with growth.kind: seeds and "
            "growth.chooser: random first"
        )
    save_policy(policy, output)
    say(f"{output}: {kind}, from {used} decisions; `esper policy gate` has to prove it")


@policy_app.command()
def gate(
    policy: PolicyFile,
    config: Annotated[Path, typer.Argument(help="A training's YAML.", metavar="CONFIG")],
    seeds: Annotated[int, typer.Option(min=2, help="How many; five at least to pass.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="Not those it learnt on.")] = 1000,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train with the policy, the heuristic and by chance on the same seeds, and keep the record.

    The three differ in nothing but who chooses. Exits 1 if the policy does not beat both.
    """
    from esper.config import ConfigError, load_config

    try:
        settings = load_config(config)
    except ConfigError as error:
        raise refuse(str(error)) from error
    from esper.tamiyo.gate import judge
    from esper.tamiyo.policy import PolicyError, load_policy, save_policy
    from esper.tolaria.data import DataError, load
    from esper.tolaria.governor import TrainingError
    from esper.tolaria.loop import result, train

    if settings.growth.kind != "seeds":
        raise refuse(f"{config}: key 'growth.kind': a policy chooses among seeds; write seeds")
    accuracies: dict[str, dict[int, float]] = {"policy": {}, "gradient": {}, "random": {}}
    try:
        learnt = load_policy(policy)
        for seed in range(first_seed, first_seed + seeds):
            for arm, found in accuracies.items():
                chosen = _arm(settings, arm, seed, policy)
                data = load(chosen.data, config.parent, seed)
                found[seed] = result(train(chosen, data=data), data)["test_accuracy"]
                if not quiet:
                    stderr.print(f"seed {seed} {arm}: {found[seed]:.4f}", highlight=False)
    except PolicyError as error:
        raise refuse(str(error)) from error
    except DataError as error:
        raise refuse(f"{config}: key 'data.source': {error}") from error
    except TrainingError as error:
        raise refuse(str(error), code=1) from error
    record = judge(accuracies, task=config.name)
    save_policy(learnt.with_gate(record), policy)
    typer.echo(record.model_dump_json(indent=1) if as_json else record.told())
    if not record.passed:
        raise typer.Exit(1)


@policy_app.command()
def show(policy: PolicyFile, as_json: JsonFlag = False) -> None:
    """Say what a policy is, how much it learnt from, and what came out at its gate."""
    from esper.tamiyo.policy import PolicyError, load_policy

    try:
        found = load_policy(policy)
    except PolicyError as error:
        raise refuse(str(error)) from error
    if as_json:
        value = {
            "kind": found.kind,
            "decisions": found.decisions,
            "proven": found.proven,
            "gate": found.gate.model_dump(mode="json") if found.gate else None,
        }
        typer.echo(json.dumps(value, indent=1))
        return
    say(f"{found.kind}, from {found.decisions} decisions")
    say(found.gate.told() if found.gate else "NOT proven: `esper policy gate` was not run")


def _arm(settings: Config, arm: str, seed: int, policy: Path) -> Config:
    growth = settings.growth.model_copy(
        update={"chooser": arm, "policy": str(policy.resolve()), "unproven": True}
    )
    training = settings.training.model_copy(update={"seed": seed})
    return settings.model_copy(update={"growth": growth, "training": training})
