"""Explore, select, label: from what the last cycle left open to new labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from pyacemaker.campaign import barriers, explorers, fits
from pyacemaker.campaign.budget import labels_left
from pyacemaker.campaign.dataset import FREE, TEST, TRAIN, load
from pyacemaker.campaign.labelling import label_structures
from pyacemaker.provenance import group_of, provenance_of

if TYPE_CHECKING:
    from pyacemaker.campaign.orchestrator import Campaign
    from pyacemaker.campaign.preparation import Prepared

# Shares of a batch: what is required at most, and (of the first) what is kept for testing.
_REQUIRED_SHARE = 0.4
_TEST_SHARE = 0.15
_LEAST_TESTS = 4
# Labelled as they are: what the equation of state and the elastic constants rest on.
_REQUIRED_FIRST = frozenset({"eos", "elastic"})
# Drawn at random to test on: every structure of these is a draw of its own.
_INDEPENDENT_DRAWS = frozenset({"distorted", "antisite"})
_MATERIAL = _INDEPENDENT_DRAWS | {"local", "elastic", "vacancy", "interstitial", "foundation"}


def explore(campaign: Campaign, iteration: int, prepared: Prepared) -> dict[str, Any]:
    """Gather candidates: from halts, from failed checks, or from nothing but the elements.

    The result names two files: `required`, to be labelled as they are, and `pool`, from
    which the selection chooses. `role` says on which side of the split the pool may fall.
    """
    journal = campaign.journal

    def work(rng: np.random.Generator) -> dict[str, Any]:
        from pyacemaker.generator.cold_start import cold_start

        required: list[Atoms] = []
        source, role = "halts", TRAIN
        pool = _round_halts(campaign, iteration, rng)
        if not pool:
            source = "wrong barriers"
            required, pool = _round_barriers(campaign, iteration, rng)
        if not pool:
            source, role = "cold start", FREE
            required = _failed_properties(campaign, iteration - 1)
            pool = cold_start(
                campaign.settings.elements,
                prepared.reference,
                max(campaign.settings.selection.max_atoms, len(prepared.reference)),
                rng,
                phases=prepared.phases[1:],
            )
            if iteration == 1:
                pool += _by_foundation_models(campaign, prepared, rng)
                first = [provenance_of(a)["generator"] in _REQUIRED_FIRST for a in pool]
                required = [a for a, wanted in zip(pool, first, strict=True) if wanted]
                pool = [a for a, wanted in zip(pool, first, strict=True) if not wanted]
            elif required:
                source = "failed validation"
            journal.note(iteration, "explore", _describe(required, pool))
        for atoms in pool:  # the same name in another iteration is another draw
            provenance_of(atoms)["group"] = f"{iteration}/{group_of(atoms)}"
        folder = journal.folder(iteration)
        return {
            "source": source,
            "role": role,
            "required": journal.save(folder / "required.json", required),
            "pool": journal.save(folder / "candidates.json", pool),
            "count": len(required) + len(pool),
        }

    return journal.step(iteration, "explore", work)


def _round_halts(campaign: Campaign, iteration: int, rng: np.random.Generator) -> list[Atoms]:
    """Return candidates round every frame at which a run of the last iteration ended early."""
    from pyacemaker.generator.local import local_candidates

    halts = explorers.halted_frames(campaign, iteration - 1)
    pool: list[Atoms] = []
    for name, frame in halts:
        made = local_candidates(frame, name, rng, embed_above=embed_above(campaign))
        pool += made.candidates
        for remark in made.remarks:
            campaign.journal.note(iteration, "explore", remark)
    if halts:
        text = f"{len(pool)} candidates round {len(halts)} halts"
        campaign.journal.note(iteration, "explore", text)
    return pool


def _round_barriers(
    campaign: Campaign, iteration: int, rng: np.random.Generator
) -> tuple[list[Atoms], list[Atoms]]:
    """Return what lies on the way over barriers that were wrong, and candidates round the top."""
    from pyacemaker.generator.local import local_candidates

    saddles, way = barriers.wrong_saddles(campaign, iteration - 1)
    pool: list[Atoms] = []
    for number, saddle in enumerate(saddles):
        name = f"barrier-{iteration - 1:03d}-{number:02d}"
        made = local_candidates(saddle, name, rng, embed_above=embed_above(campaign))
        pool += made.candidates
        for remark in made.remarks:
            campaign.journal.note(iteration, "explore", remark)
    if saddles:
        text = f"{len(pool)} candidates round {len(saddles)} saddle points of wrong barriers"
        campaign.journal.note(iteration, "explore", text)
    return way, pool


def _by_foundation_models(
    campaign: Campaign, prepared: Prepared, rng: np.random.Generator
) -> list[Atoms]:
    """Return frames of trajectories with a foundation model; with two, the disputed half."""
    from pyacemaker.generator.foundation import disagreement, foundation_frames, most_disputed

    settings = campaign.settings
    if not settings.generator.foundation:
        return []
    with campaign.parts.foundation(settings.generator) as models:
        frames = foundation_frames(
            prepared.reference,
            models[0],
            settings.dynamics.temperatures_K,
            max(settings.selection.max_atoms, len(prepared.reference)),
            rng,
            md_ps=settings.generator.foundation_md_ps,
            frames=settings.generator.foundation_frames,
            timestep_fs=settings.dynamics.timestep_fs,
            model=settings.generator.foundation[0],
        )
        text = f"{len(frames)} frames of trajectories with {settings.generator.foundation[0]}"
        if len(models) > 1:
            scores = disagreement(frames, models[0], models[1])
            frames = most_disputed(frames, scores)
            text += (
                f", of which the {len(frames)} on whose forces "
                f"{settings.generator.foundation[1]} disagrees most (up to {max(scores):.2f} "
                "eV/angstrom) are kept"
            )
    campaign.journal.note(1, "explore", text)
    return frames


def embed_above(campaign: Campaign) -> int:
    """Return the most atoms of a halted frame that is labelled whole; a larger one is cut.

    Four generated cells (32 atoms by DFT), or what a failed check may ask for.
    """
    settings = campaign.settings
    return max(4 * settings.selection.max_atoms, settings.validation.max_atoms)


def _failed_properties(campaign: Campaign, iteration: int) -> list[Atoms]:
    """Return the structures the failed checks of `iteration` ask for."""
    verdict = fits.verdict_of(campaign.state, iteration)
    if verdict is None or verdict["passed"]:
        return []
    return campaign.journal.load(verdict["failure_structures"])


def _describe(required: list[Atoms], pool: list[Atoms]) -> str:
    kinds = Counter(provenance_of(atoms)["generator"] for atoms in pool)
    text = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"{len(pool)} candidates ({text}); {len(required)} required"


def select(campaign: Campaign, iteration: int, explored: dict[str, Any]) -> dict[str, Any]:
    """Choose what to label: what is required, then what the selection gains most from."""
    journal = campaign.journal
    settings = campaign.settings.selection

    def work(rng: np.random.Generator) -> dict[str, Any]:
        required = journal.load(explored["required"])
        pool = journal.load(explored["pool"])
        wanted = settings.initial_labels if iteration == 1 else settings.labels_per_iteration
        wanted = min(wanted, labels_left(campaign))
        held_out: list[Atoms] = []
        if iteration == 1:
            held_out, pool = hold_out(pool, max(_LEAST_TESTS, round(_TEST_SHARE * wanted)), rng)
        # Part of a batch stays for what is new.
        share = max(1, round(_REQUIRED_SHARE * wanted))
        if len(required) > share:
            spread = np.linspace(0, len(required) - 1, share).round().astype(int)
            required = [required[index] for index in spread]
        dataset = load(campaign.state, campaign.store, campaign.settings.seed)
        current = [*dataset.train, *dataset.validation, *required]
        # What lies on the test side must not be drawn again for training. It goes without its
        # labels: no committee may be fitted to what the potential is tested on.
        known = [*current, *(atoms.copy() for atoms in dataset.test), *held_out]
        count = max(0, wanted - len(required) - len(held_out))
        chosen, gammas = choose(campaign, pool, known, count, rng)
        if explored["source"] == "halts":
            chosen, gammas = _worth_a_label(campaign, iteration, chosen, gammas)
        roles = [TRAIN] * len(required) + [explored["role"]] * len(chosen)
        roles += [TEST] * len(held_out)
        highest = max(gammas, default=0.0)
        journal.note(
            iteration,
            "select",
            f"{len(chosen)} of {len(pool)} candidates by {settings.selection} (highest gamma "
            f"{highest:.1f}), {len(required)} required, {len(held_out)} at random to test on",
        )
        path = journal.folder(iteration) / "selected.json"
        return {
            "selected": journal.save(path, required + chosen + held_out),
            "roles": roles,
            "gamma": gammas,
        }

    return journal.step(iteration, "select", work)


def _worth_a_label(
    campaign: Campaign, iteration: int, chosen: list[Atoms], gammas: list[float]
) -> tuple[list[Atoms], list[float]]:
    """Drop what lies below the gamma_select that the last cycle calibrated.

    One structure of every halt stays: its gamma was another potential's.
    """
    calibrated = campaign.state.result(iteration - 1, "calibrate")
    if calibrated is None:
        return chosen, gammas
    kept, seen = [], set()
    for atoms, gamma in zip(chosen, gammas, strict=True):
        if gamma >= calibrated["gamma_select"] or group_of(atoms) not in seen:
            kept.append((atoms, gamma))
            seen.add(group_of(atoms))
    if len(kept) < len(chosen):
        campaign.journal.note(
            iteration,
            "select",
            f"{len(chosen) - len(kept)} left out, of a gamma below the calibrated gamma_select of "
            f"{calibrated['gamma_select']:g}",
        )
    return [atoms for atoms, _ in kept], [gamma for _, gamma in kept]


def choose(
    campaign: Campaign,
    pool: list[Atoms],
    known: list[Atoms],
    count: int,
    rng: np.random.Generator,
) -> tuple[list[Atoms], list[float]]:
    """Choose `count` of `pool`: part at random, part by D-optimality; return them with gamma.

    Left alone, the largest determinant is that of dimers, surfaces and other crystals, and
    of the wildest distortions: the potential would know the strange and guess at the
    ordinary. So two fifths are drawn from the material as it looks when it vibrates, three
    tenths are D-optimal within the material, the rest D-optimal within all. Candidates round
    a halt are chosen by D-optimality alone. gamma is 0 for what was drawn. (Or by whatever
    else `budget.selection` names.)
    """
    thermal = [atoms for atoms in pool if is_thermal(atoms)]
    material = [a for a in pool if provenance_of(a)["generator"] in _MATERIAL]
    drawn = rng.permutation(len(thermal))[: round(0.4 * count)]
    chosen = [thermal[index] for index in sorted(drawn)]
    gammas = [0.0] * len(chosen)
    for part, share in ((material, round(0.7 * count)), (pool, count)):
        found = campaign.parts.selector.select(
            part, [*known, *chosen], min(share, count) - len(chosen), rng
        )
        for index, gamma in zip(found.indices, found.gamma, strict=True):
            provenance_of(part[index])["gamma_at_selection"] = gamma
            chosen.append(part[index])
            gammas.append(gamma)
    return chosen, gammas


def is_thermal(atoms: Atoms) -> bool:
    """Say whether a distorted cell is one the crystal may visit by its own vibrations.

    Displacements below 0.05 of the bond (Lindemann's criterion of melting is 0.1) and a
    strain below 3 %.
    """
    found = provenance_of(atoms)
    if found["generator"] not in _INDEPENDENT_DRAWS:
        return False
    bond = float(min(atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)], default=2))
    strain = np.abs(np.asarray(found.get("strain") or 0.0, dtype=float)).max()
    return float(found.get("sigma_A") or 0.0) <= 0.055 * bond and bool(strain <= 0.03)


def hold_out(
    pool: list[Atoms], count: int, rng: np.random.Generator
) -> tuple[list[Atoms], list[Atoms]]:
    """Draw `count` structures to test on, at random, before anything is chosen for training.

    Only of what the crystal may visit by its vibrations (`is_thermal`): that is what the
    potential is judged on. The rest of a drawn group leaves the pool with it. Returns
    (drawn, rest of the pool).
    """
    eligible = [index for index, atoms in enumerate(pool) if is_thermal(atoms)]
    wanted = min(count, len(eligible) // 2)
    drawn: list[Atoms] = []
    groups: set[str] = set()
    for index in rng.permutation(eligible):
        if len(drawn) == wanted:
            break
        if group_of(pool[index]) not in groups:
            groups.add(group_of(pool[index]))
            drawn.append(pool[index])
    return drawn, [atoms for atoms in pool if group_of(atoms) not in groups]


def label(
    campaign: Campaign, iteration: int, chosen: dict[str, Any], prepared: Prepared
) -> dict[str, Any]:
    """Label what was chosen. Raises CampaignError when too large a share fails."""
    journal = campaign.journal

    def work(_: np.random.Generator) -> dict[str, Any]:
        structures = journal.load(chosen["selected"])
        return label_structures(campaign, iteration, "label", structures, chosen["roles"], prepared)

    return journal.step(iteration, "label", work)
