"""Candidates round the frame at which molecular dynamics left the training domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.neighborlist import neighbor_list

from pyacemaker.core_weight import CORE_WEIGHT, is_embedded
from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import (
    HARD_FLOOR_A,
    bare,
    closest_contact,
    contact_radius,
    right_handed,
)
from pyacemaker.generator.distort import deformed, displaced, random_strain
from pyacemaker.generator.embedding import embed_within, uncertain_atom
from pyacemaker.provenance import tag

LOCAL_CONTACT = 0.62
"""Closest contact in a candidate: hot liquids reach 0.7, a plane-wave label is safe above 0.6."""

WORST_CONTACT = 0.4
"""A frame tighter than this has blown up: nothing near it is worth a label."""

SIGMAS_A = (0.03, 0.06, 0.1, 0.15)
STRAIN = 0.02
LEAST_WEIGHT = 0.3


@dataclass(frozen=True)
class LocalCandidates:
    """The candidates, and for everything refused or altered one line that says why."""

    candidates: tuple[Atoms, ...]
    remarks: tuple[str, ...] = ()


def local_candidates(
    frame: Atoms,
    group: str,
    rng: np.random.Generator,
    *,
    count: int = 20,
    max_atoms: int | None = None,
    embed_above: int | None = None,
    sigmas_A: Sequence[float] = SIGMAS_A,
    strain_amplitude: float = STRAIN,
) -> LocalCandidates:
    """Return the halted frame itself and `count` - 1 structures near it, in one split group.

    Displacements are Gaussian with the standard deviations `sigmas_A` (angstrom) in turn;
    atom i moves by a share of that, from 0.3 for an atom well inside the training domain to
    1 for the atom with the largest `gamma` (array of the frame; without it all move alike).
    Every other candidate also has a random strain of up to `strain_amplitude`.

    A frame in which atoms overlap is first backed off: overlapping pairs are moved apart
    until their contact is `LOCAL_CONTACT`. Frames tighter than `WORST_CONTACT`, with
    positions that are not finite, no volume, or more than `max_atoms` atoms give no
    candidates, and the remark says which. A frame of more than `embed_above` atoms is not
    taken whole: a periodic cell of at most so many is cut out round the atom with the largest
    `gamma` (`generator.embedding`). Candidates that overlap are drawn again with less
    displacement.

    Raises GeneratorError for a `count` below 1 or an empty group name.
    """
    if count < 1:
        raise GeneratorError("count must be at least 1")
    if not group:
        raise GeneratorError("local candidates need the name of the halt as their group")
    refusal = _refusal(frame, max_atoms)
    if refusal:
        return LocalCandidates((), (f"{group}: {refusal}",))
    try:
        frame, facts, remarks = _whole_or_cut(frame, group, embed_above)
    except GeneratorError as error:
        return LocalCandidates((), (f"{group}: {error}",))
    weights, gamma_max = _weights(frame)
    start = right_handed(bare(frame))
    before = closest_contact(start)
    backed_off = before < LOCAL_CONTACT
    if backed_off:
        pushed = _backed_off(start)
        if pushed is None:
            return LocalCandidates((), (f"{group}: overlapping atoms could not be parted",))
        start = pushed
        remarks.append(f"{group}: frame backed off from a closest contact of {before:.2f}")
    floor = LOCAL_CONTACT * (1 - 1e-6)
    facts |= {"gamma_max": gamma_max, "backed_off": backed_off}
    made = [tag(start.copy(), "local", group, sigma_A=0.0, strain=None, **facts)]
    for number in range(count - 1):
        cell, tensor = start, None
        if number % 2 and start.cell.rank == 3:
            strain = random_strain("full", strain_amplitude, rng)
            stretched = deformed(start, strain)
            if closest_contact(stretched) >= floor:
                cell, tensor = stretched, strain.tolist()
        sigma = float(sigmas_A[(number // 2) % len(sigmas_A)])
        copy, used = displaced(cell, sigma, rng, floor=floor, weights=weights)
        if used == 0.0 and tensor is None:
            remarks.append(f"{group}: candidate {number + 1} left out, no room to displace atoms")
            continue
        made.append(tag(copy, "local", group, sigma_A=used, strain=tensor, **facts))
    if is_embedded(frame):
        for atoms in made:
            atoms.set_array(CORE_WEIGHT, frame.arrays[CORE_WEIGHT])
    return LocalCandidates(tuple(made), tuple(remarks))


def _whole_or_cut(
    frame: Atoms, group: str, embed_above: int | None
) -> tuple[Atoms, dict[str, object], list[str]]:
    """Return the frame, or the cell cut out of it, with facts for its provenance and remarks.

    Raises GeneratorError with the reason where it cannot be cut.
    """
    if embed_above is None or len(frame) <= embed_above:
        return frame, {}, []
    cut = embed_within(frame, uncertain_atom(frame), embed_above)
    if cut is None:
        raise GeneratorError(f"no cell of {embed_above} atoms holds an atom and its neighbours")
    remark = (
        f"{group}: {len(cut.atoms)} of {len(frame)} atoms cut out with a buffer of "
        f"{cut.buffer_A:.1f} A; the seams miss by {cut.misfit_A:.2f} A"
    )
    return cut.atoms, {"embedded_from": len(frame), "buffer_A": cut.buffer_A}, [remark]


def _refusal(frame: Atoms, max_atoms: int | None) -> str:
    if len(frame) == 0:
        return "the frame has no atoms"
    if max_atoms is not None and len(frame) > max_atoms:
        return f"the frame has {len(frame)} atoms, more than max_atoms = {max_atoms}"
    if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell.array).all()):
        return "positions or cell are not finite: the run blew up"
    if frame.pbc.any() and (frame.cell.rank < 3 or frame.get_volume() < 1.0 * len(frame)):
        return "the periodic cell has collapsed"
    distances = neighbor_list("d", frame, 1.0)
    if len(distances) and distances.min() < 1e-3:
        return "two atoms lie on each other"
    contact = _contact_without_floor(frame)
    if contact < WORST_CONTACT:
        return f"the closest contact is {contact:.2f}, below {WORST_CONTACT}: the run blew up"
    return ""


def _contact_without_floor(frame: Atoms) -> float:
    radii = np.array([contact_radius(s) for s in frame.get_chemical_symbols()])
    first, second, distance = neighbor_list("ijd", frame, radii)
    if len(distance) == 0:
        return 1.0
    return float(np.min(distance / (radii[first] + radii[second])))


def _weights(frame: Atoms) -> tuple[npt.NDArray[np.float64], float | None]:
    """Share of the displacement of each atom, and the largest gamma."""
    even = np.ones(len(frame))
    if "gamma" not in frame.arrays:
        return even, None
    gamma = np.asarray(frame.arrays["gamma"], dtype=float).reshape(len(frame), -1).max(axis=1)
    if not np.isfinite(gamma).all() or gamma.max() <= 0:
        return even, None
    share = np.clip(gamma, 0, None) / gamma.max()
    return LEAST_WEIGHT + (1 - LEAST_WEIGHT) * share, float(gamma.max())


def _backed_off(frame: Atoms) -> Atoms | None:
    """`frame` with overlapping pairs moved apart along their own line; None if that fails."""
    copy = frame.copy()
    radii = np.array([contact_radius(s) for s in copy.get_chemical_symbols()])
    for _ in range(200):
        first, second, distance, vector = neighbor_list("ijdD", copy, radii)
        wanted = np.maximum(
            1.005 * LOCAL_CONTACT * (radii[first] + radii[second]), 1.01 * HARD_FLOOR_A
        )
        tight = (distance < wanted) & (first != second)
        if not tight.any():
            break
        # every pair is listed both ways: each atom takes half of the way
        step = vector / distance[:, None] * ((wanted - distance) / 2)[:, None]
        np.subtract.at(copy.positions, first[tight], step[tight])
    return copy if closest_contact(copy) >= LOCAL_CONTACT else None
