"""The thresholds of a cycle's MD, from what gamma was worth on labels never fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyacemaker.campaign.dataset import load, read_labels
from pyacemaker.campaign.decisions import write_decisions
from pyacemaker.campaign.entries import Entry, entries
from pyacemaker.campaign.thresholds import calibrated, held_out_pairs
from pyacemaker.potential import Potential

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign

STEP = "calibrate"
_MOST_PAIRS = 2000


def with_thresholds(campaign: Campaign, iteration: int, fit: dict[str, Any]) -> dict[str, Any]:
    """Return `fit` with the `gamma_select` and `gamma_halt` its MD is run with.

    Held out are the test set, of this potential, and the labels of this iteration, of the
    potential before it: the only labels of high gamma. What earlier iterations found counts as
    well.
    """
    dynamics = campaign.settings.dynamics
    settings = {"gamma_select": dynamics.gamma_select, "gamma_halt": dynamics.gamma_halt}
    if dynamics.gamma_from == "settings":
        return {**fit, **settings}
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        news = _news(campaign, iteration)
        earlier = [
            np.array(record.result["pairs"], dtype=float).reshape(-1, 2)
            for record in campaign.state.steps(STEP)
            if record.iteration < iteration
        ]
        dataset = load(campaign.state, campaign.store, campaign.settings.seed)
        potential = Potential.load(journal.workdir / fit["potential"])
        tested = held_out_pairs(dataset.test, potential.calculator())
        found = calibrated(
            np.vstack([*earlier, news, tested]),
            campaign.settings.validation.test_force_rmse_eV_per_A,
            **{key.removeprefix("gamma_"): value for key, value in settings.items()},
        )
        what = f"gamma_select {found.select:g}, gamma_halt {found.halt:g}"
        journal.note(iteration, STEP, f"{what}: {found.why}")
        return {
            "gamma_select": found.select,
            "gamma_halt": found.halt,
            "pairs": [[round(float(g), 5), round(float(e), 6)] for g, e in news],
            "decisions": [
                {
                    "what": what,
                    "why": found.why,
                    "gamma_select": found.select,
                    "gamma_halt": found.halt,
                }
            ],
        }

    result = journal.step(iteration, STEP, work)
    if not journal.reads_back():
        write_decisions(campaign.state, journal.workdir)
    return {**fit, "gamma_select": result["gamma_select"], "gamma_halt": result["gamma_halt"]}


def _news(campaign: Campaign, iteration: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return gamma and error, by the last potential, of the labels that came after it."""
    before = campaign.state.result(iteration - 1, "train")
    if before is None:
        return np.zeros((0, 2))
    new: list[Entry] = [
        e for e in entries(campaign.state) if (e.iteration, e.step) == (iteration, "label")
    ]
    labels = read_labels(new, campaign.store, campaign.state)
    calculator = Potential.load(campaign.journal.workdir / before["potential"]).calculator()
    pairs = held_out_pairs([label.atoms for label in labels], calculator)
    if len(pairs) > _MOST_PAIRS:
        pairs = pairs[np.linspace(0, len(pairs) - 1, _MOST_PAIRS).round().astype(int)]
    return pairs
