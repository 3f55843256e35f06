# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["safetensors==0.8.0", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "Networks that grew with their campaign: what pyacemaker's trainer esper makes"
# licence = "BSD-3-Clause; potentials are yours"
# models = []
# weights = "file"
# ///
"""Per-element networks on ACE descriptors, as pyacemaker's trainer `esper` writes them.

E = sum_i [f_e(i)(B_i) - f_e(i)(0)] + pairs + isolated atoms. B_i are invariant polynomials of the
atomic base A_znlm = sum_j R_n(r_ij) Y_lm (Drautz, Phys. Rev. B 99, 014104 (2019)): one, two or
three factors, coupled by Gaunt coefficients. f is linear in B plus blocks of two hidden layers.
Pairs are ZBL (as https://docs.lammps.org/pair_zbl.html) and, inside the distances that the training
data hold, a core repulsion. Training needs torch; evaluating needs numpy alone, here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.neighborlist import primitive_neighbor_list
from ase.outputs import Properties
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]
Factor = tuple[int, int, int]  # neighbour's element, radial function, degree
Function = tuple[Factor, ...]

MANIFEST, NETWORK, WEIGHTS = "potential.json", "network.json", "network.safetensors"
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_TOO_CLOSE_A = 1e-3
_PHI_WEIGHTS = np.array([0.02817, 0.28022, 0.50986, 0.18175])
_PHI_DECAYS = np.array([0.20162, 0.40290, 0.94229, 3.19980])
_SCREENING_LENGTH_A, _EXPONENT, _E2_EV_A = 0.46850, 0.23, 14.399645


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return an ASE calculator for a potential of pyacemaker's trainer `esper`.

    Parameters
    ----------
    model
        The potential's directory (with ``potential.json``).
    device
        Only ``cpu``.
    kwargs
        None.
    """
    if device != "cpu":
        raise ValueError(f"esper's potentials run on the CPU only, not on {device!r}: use cpu")
    if kwargs:
        raise ValueError(f"the esper environment takes no options: {', '.join(kwargs)}")
    if not model or not Path(model).is_dir():
        raise ValueError(f"esper needs a potential's folder, not {model!r}: esper-/path/to/folder")
    return GrownCalculator(read_directory(Path(model)))


class EsperError(RuntimeError):
    """A potential that is broken, or atoms that it cannot take."""


# --- descriptors ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Core:
    """What happens to one pair of elements (alphabetical) inside `inner_A` (angstrom).

    The networks see the pair as if it stayed near `inner_A` (over `width_A`), and
    strength exp(-decay r^2) / r (1 - r / inner)^3 (eV) pushes it apart.
    """

    elements: tuple[str, str]
    inner_A: float
    width_A: float
    strength_eV_A: float = 0.0
    decay_per_A2: float = 1.0


@dataclass(frozen=True)
class ZblPair:
    """Two elements in alphabetical order, and where their ZBL is switched off (angstrom)."""

    elements: tuple[str, str]
    inner_A: float
    outer_A: float


@dataclass(frozen=True)
class Pairs:
    """Neighbours of every atom, sorted by `i`: places, and vectors from i to j (angstrom)."""

    i: NDArray[np.intp]
    j: NDArray[np.intp]
    vector: Array
    distance: Array


@dataclass(frozen=True)
class Base:
    """The atomic base A (N x V) and its derivatives by each pair's vector (P x 3 x V, 1/A)."""

    values: Array
    radial: Array
    slope: Array
    sphere: Array
    turned: Array
    neighbour: NDArray[np.intp]


class Descriptor:
    """Invariants B of atomic environments, and their derivatives.

    Every central element has the same functions; `functions` may be extended at its end
    without changing what was there.
    """

    def __init__(
        self,
        elements: Sequence[str],
        cutoff_A: float,
        functions: Sequence[Function],
        cores: Sequence[Core] = (),
    ) -> None:
        self.elements = tuple(elements)
        self.cutoff_A = cutoff_A
        self.functions = tuple(functions)
        self.cores = tuple(cores)
        factors = [factor for function in self.functions for factor in function]
        self.nmax = max((n for _, n, _ in factors), default=1)
        self.lmax = max((degree for *_, degree in factors), default=0)
        self._lms = (self.lmax + 1) ** 2
        self.width = len(self.elements) * self.nmax * self._lms
        self._terms = [
            terms
            for rank in (1, 2, 3)
            if (terms := _terms_of(self.functions, rank, (self.width, self.nmax, self._lms)))
        ]

    def neighbours(self, atoms: Atoms) -> tuple[Pairs, NDArray[np.intp]]:
        """Return the pairs within the cutoff, and every atom's element as an index."""
        symbols = atoms.get_chemical_symbols()
        unknown = sorted(set(symbols) - set(self.elements))
        if unknown:
            raise EsperError(
                f"the potential does not know {', '.join(unknown)}: it is for "
                f"{', '.join(self.elements)}"
            )
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell[:]).all()):
            raise EsperError(
                f"{atoms.get_chemical_formula()}: a position or the cell is not finite"
            )
        kinds = np.array([self.elements.index(s) for s in symbols], dtype=np.intp)
        i, j, distance, vector = primitive_neighbor_list(
            "ijdD", atoms.pbc, np.asarray(atoms.cell), atoms.positions, self.cutoff_A
        )
        if len(distance) and distance.min() < _TOO_CLOSE_A:
            raise EsperError(f"{atoms.get_chemical_formula()}: two atoms lie on each other")
        return Pairs(i, j, vector, distance), kinds

    def base(self, pairs: Pairs, kinds: NDArray[np.intp]) -> Base:
        """Return the atomic base of every atom and what its derivatives are made of."""
        count = len(kinds)
        seen, seen_slope = self._seen_distance(pairs, kinds)
        radial, slope = radial_functions(seen, self.cutoff_A, self.nmax)
        slope *= seen_slope[:, None]
        unit = pairs.vector / pairs.distance[:, None]
        sphere, turned = real_harmonics(unit, self.lmax)
        turned /= pairs.distance[:, None, None]
        slope_vector = slope[:, None, :] * unit[:, :, None]
        values = np.zeros((count, len(self.elements), self.nmax * self._lms))
        neighbour = kinds[pairs.j] if len(pairs.j) else np.zeros(0, dtype=np.intp)
        for z in range(len(self.elements)):
            which = np.flatnonzero(neighbour == z)
            if len(which):
                products = (radial[which][:, :, None] * sphere[which][:, None, :]).reshape(
                    len(which), -1
                )
                values[:, z] = _sum_by(products, pairs.i[which], count)
        return Base(values.reshape(count, -1), radial, slope_vector, sphere, turned, neighbour)

    def values(self, base: Base) -> Array:
        """Return B (N x F)."""
        found = np.zeros((len(base.values), len(self.functions)))
        for terms in self._terms:
            product_ = np.prod(base.values[:, terms.places], axis=2)
            found += (terms.onto_functions @ product_.T).T
        return found

    def base_slope(self, base: Base, weights: Array) -> Array:
        """Return sum_f weights_f dB_f/dA (N x V) for weights (N x F)."""
        found = np.zeros_like(base.values)
        for terms in self._terms:
            weighted = weights[:, terms.functions] * terms.coefficients
            for slot, others in _without_each(base.values, terms.places):
                found += (terms.onto_base[slot] @ (weighted * others).T).T
        return found

    def function_slopes(self, values: Array) -> Array:
        """Return dB/dA (F x V) of one atom, whose base is `values` (V)."""
        found = np.zeros(len(self.functions) * self.width)
        for terms in self._terms:
            for slot, others in _without_each(values[None], terms.places):
                flat = terms.functions * self.width + terms.places[:, slot]
                found += np.bincount(flat, terms.coefficients * others[0], minlength=len(found))
        return found.reshape(len(self.functions), self.width)

    def pair_slopes(self, base: Base, which: slice | NDArray[np.intp]) -> Array:
        """Return dA/d(vector) of some pairs (p x 3 x V)."""
        nu = base.neighbour[which]
        part = base.slope[which][:, :, :, None] * base.sphere[which][:, None, None, :]
        part += base.radial[which][:, None, :, None] * base.turned[which][:, :, None, :]
        found = np.zeros((len(nu), 3, len(self.elements), self.nmax * self._lms))
        found[np.arange(len(nu)), :, nu] = part.reshape(len(nu), 3, -1)
        return found.reshape(len(nu), 3, -1)

    def pull(self, pairs: Pairs, base: Base, weights: Array) -> Array:
        """Return the derivative of sum_f weights_f B_f by each pair's vector (P x 3)."""
        onto = self.base_slope(base, weights).reshape(
            len(weights), len(self.elements), self.nmax, self._lms
        )[pairs.i, base.neighbour]
        by_sphere = np.einsum("pnm,pm->pn", onto, base.sphere)
        by_radial = np.einsum("pnm,pn->pm", onto, base.radial)
        found: Array = np.einsum("pn,pan->pa", by_sphere, base.slope)
        found += np.einsum("pm,pam->pa", by_radial, base.turned)
        return found

    def _seen_distance(self, pairs: Pairs, kinds: NDArray[np.intp]) -> tuple[Array, Array]:
        seen, slope = pairs.distance.copy(), np.ones(len(pairs.distance))
        for core in self.cores:
            inside = _of_pair(self.elements, core.elements, kinds, pairs)
            inside &= pairs.distance < core.inner_A
            if inside.any():
                bent = np.tanh((core.inner_A - pairs.distance[inside]) / core.width_A)
                seen[inside] = core.inner_A - core.width_A * bent
                slope[inside] = 1.0 - bent**2
        return seen, slope


@dataclass(frozen=True)
class _Terms:
    """The products of one rank: functions (T), places in the base (T x rank), coefficients."""

    functions: NDArray[np.intp]
    places: NDArray[np.intp]
    coefficients: Array
    onto_functions: csr_matrix
    onto_base: tuple[csr_matrix, ...]

    def __bool__(self) -> bool:
        return len(self.functions) > 0


def _terms_of(functions: Sequence[Function], rank: int, sizes: tuple[int, int, int]) -> _Terms:
    width, nmax, lms = sizes
    owners: list[int] = []
    places: list[list[int]] = []
    weights: list[float] = []
    for index, function in enumerate(functions):
        if len(function) != rank:
            continue
        degrees = [degree for *_, degree in function]
        for ms, weight in _coupling(tuple(degrees)):
            owners.append(index)
            weights.append(weight)
            places.append(
                [
                    (z * nmax + n - 1) * lms + degree * (degree + 1) + m
                    for (z, n, degree), m in zip(function, ms, strict=True)
                ]
            )
    columns = np.array(places, dtype=np.intp).reshape(-1, rank)
    count = len(owners)
    coefficients = np.array(weights)
    one = np.ones(count)
    return _Terms(
        np.array(owners, dtype=np.intp),
        columns,
        coefficients,
        csr_matrix((coefficients, (owners, np.arange(count))), (len(functions), count)),
        tuple(
            csr_matrix((one, (columns[:, slot], np.arange(count))), (width, count))
            for slot in range(rank)
        ),
    )


def _coupling(degrees: tuple[int, ...]) -> list[tuple[tuple[int, ...], float]]:
    """Return the terms (ms, coefficient) of the invariant of factors of these degrees."""
    match degrees:
        case (0,):
            return [((0,), 1.0)]
        case (first, second) if first == second:
            norm = 1.0 / math.sqrt(2 * first + 1)
            return [((m, m), norm) for m in range(-first, first + 1)]
        case (first, second, third):
            tensor = gaunt(max(degrees))
            spans = [range(-degree, degree + 1) for degree in degrees]
            found = []
            for ms in product(*spans):
                a, b, c = (d * (d + 1) + m for d, m in zip((first, second, third), ms, strict=True))
                if abs(tensor[a, b, c]) > 1e-12:
                    found.append((ms, float(tensor[a, b, c])))
            return found
    raise EsperError(f"no invariant of degrees {degrees} is known")


_GAUNT: dict[int, Array] = {}


def gaunt(lmax: int) -> Array:
    """Return the mean of Y_a Y_b Y_c over the sphere for real harmonics up to `lmax`.

    By a quadrature that is exact for their degree (Gauss-Legendre times equal angles).
    """
    if lmax not in _GAUNT:
        z, weight = np.polynomial.legendre.leggauss(2 * lmax + 1)
        turns = 4 * lmax + 1
        phi = 2 * np.pi * np.arange(turns) / turns
        ring = np.sqrt(1 - z**2)[:, None]
        unit = np.stack(
            [ring * np.cos(phi), ring * np.sin(phi), np.repeat(z[:, None], turns, axis=1)], axis=-1
        ).reshape(-1, 3)
        share = np.repeat(weight / 2, turns) / turns
        y = real_harmonics(unit, lmax)[0]
        _GAUNT[lmax] = np.einsum("q,qa,qb,qc->abc", share, y, y, y, optimize=True)
    return _GAUNT[lmax]


def real_harmonics(unit: Array, lmax: int) -> tuple[Array, Array]:
    """Return real Y_lm (P x (lmax + 1)^2, place l(l + 1) + m) and their gradient on the sphere.

    Orthonormal over the mean of the sphere (Y_00 = 1). The gradient (P x 3 x ...) is tangential:
    for a vector of length r it is divided by r.
    """
    x, y, z = unit.T
    width = (lmax + 1) ** 2
    values, gradient = np.zeros((len(unit), width)), np.zeros((len(unit), 3, width))
    legendre: dict[tuple[int, int], Array] = {}
    slope: dict[tuple[int, int], Array] = {}
    zero = np.zeros(len(unit))
    top = 1.0
    for m in range(lmax + 1):
        top *= math.sqrt((2 * m + 1) / (2 * m)) if m else 1.0
        legendre[m, m], slope[m, m] = np.full(len(unit), top), zero
        for degree in range(m + 1, lmax + 1):
            a = math.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
            below, below_slope = legendre[degree - 1, m], slope[degree - 1, m]
            two, two_slope, b = zero, zero, 0.0
            if degree > m + 1:
                b = math.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
                two, two_slope = legendre[degree - 2, m], slope[degree - 2, m]
            legendre[degree, m] = a * (z * below - b * two)
            slope[degree, m] = a * (below + z * below_slope - b * two_slope)
    power, before = np.ones(len(unit), dtype=complex), np.zeros(len(unit), dtype=complex)
    for m in range(lmax + 1):
        for degree in range(m, lmax + 1):
            root = math.sqrt(2.0) if m else 1.0
            for sign, real, lower in ((1, power.real, before.real), (-1, power.imag, before.imag)):
                if m == 0 and sign < 0:
                    continue
                k = degree * (degree + 1) + sign * m
                values[:, k] = root * legendre[degree, m] * real
                # d(x + iy)^m = m (x + iy)^(m-1) (dx + i dy)
                along = m * root * legendre[degree, m]
                gradient[:, 0, k] = along * lower
                gradient[:, 1, k] = along * (-before.imag if sign > 0 else before.real)
                gradient[:, 2, k] = root * slope[degree, m] * real
        power, before = power * (x + 1j * y), power
    gradient -= unit[:, :, None] * np.einsum("pa,pak->pk", unit, gradient)[:, None, :]
    return values, gradient


def radial_functions(r: Array, cutoff_A: float, count: int) -> tuple[Array, Array]:
    """Return R_n(r), n = 1 ... count, and derivatives (P x count, 1/angstrom).

    sqrt(2 / c) sin(n pi r / c) / r times (1 - (r/c)^2)^2, with c the cutoff: smooth, and zero
    with two derivatives at the cutoff (the bare ones: Kocer et al., J. Chem. Phys. 150, 154102
    (2019)); scaled by c so that they are without unit.
    """
    n = np.arange(1, count + 1) * np.pi / cutoff_A
    phase = np.multiply.outer(r, n)
    inside = (r < cutoff_A)[:, None]
    norm = math.sqrt(2.0 * cutoff_A)
    bare = norm * np.sin(phase) / r[:, None]
    bare_slope = (norm * n * np.cos(phase) - bare) / r[:, None]
    t = (r / cutoff_A)[:, None]
    fade, fade_slope = (1 - t**2) ** 2, -4 * t * (1 - t**2) / cutoff_A
    return inside * bare * fade, inside * (bare_slope * fade + bare * fade_slope)


def _without_each(values: Array, places: NDArray[np.intp]) -> list[tuple[int, Array]]:
    """Return for each slot the product (N x T) of the other factors."""
    factors = [values[:, column] for column in places.T]
    one = np.ones((len(values), len(places)))
    found = []
    for slot in range(len(factors)):
        others = one
        for other, factor in enumerate(factors):
            if other != slot:
                others = others * factor
        found.append((slot, others))
    return found


def _sum_by(rows: Array, owner: NDArray[np.intp], count: int) -> Array:
    """Sum rows of the same owner; `owner` is sorted."""
    found = np.zeros((count, rows.shape[1]))
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    found[owner[starts]] = np.add.reduceat(rows, starts, axis=0)
    return found


def _of_pair(
    elements: Sequence[str], pair: tuple[str, str], kinds: NDArray[np.intp], pairs: Pairs
) -> NDArray[np.bool_]:
    a, b = (elements.index(e) if e in elements else -1 for e in pair)
    first, second = kinds[pairs.i], kinds[pairs.j]
    found: NDArray[np.bool_] = ((first == a) & (second == b)) | ((first == b) & (second == a))
    return found


# --- networks ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Two hidden layers on some of the functions, whose output is added to an atom's energy."""

    inputs: NDArray[np.intp]
    W1: Array
    b1: Array
    W2: Array
    b2: Array
    out: Array


@dataclass(frozen=True)
class Network:
    """The energy (eV) of atoms of one element as a function of B.

    `shift` and `scale` (F) bring B to zero mean and unit size; `linear` (F) acts on B / scale.
    """

    shift: Array
    scale: Array
    linear: Array
    blocks: tuple[Block, ...] = ()
    activation: str = "silu"
    at_zero: float = field(default=0.0)

    def energies(self, B: Array) -> tuple[Array, Array]:
        """Return the energies (n, eV; zero for an atom alone) and their slopes by B (n x F)."""
        act = ACTIVATIONS[self.activation]
        x = (B - self.shift) / self.scale
        energy = (B / self.scale) @ self.linear
        slope = np.tile(self.linear, (len(B), 1))
        for block in self.blocks:
            h1, d1 = act(x[:, block.inputs] @ block.W1.T + block.b1)
            h2, d2 = act(h1 @ block.W2.T + block.b2)
            energy = energy + h2 @ block.out
            back = ((block.out * d2) @ block.W2 * d1) @ block.W1
            slope[:, block.inputs] += back  # no function is named twice
        return energy - self.at_zero, slope / self.scale


def silu(z: Array) -> tuple[Array, Array]:
    """Return z / (1 + exp(-z)) and its derivative."""
    s = 0.5 * (1.0 + np.tanh(0.5 * z))
    return z * s, s * (1.0 + z * (1.0 - s))


def tanh(z: Array) -> tuple[Array, Array]:
    """Return tanh and its derivative."""
    t = np.tanh(z)
    return t, 1.0 - t**2


ACTIVATIONS: dict[str, Callable[[Array], tuple[Array, Array]]] = {"silu": silu, "tanh": tanh}


# --- the calculator ------------------------------------------------------------------------


@dataclass(frozen=True)
class GrownModel:
    """All that a potential is made of. `inverse` are the active sets' (F x F), by element."""

    descriptor: Descriptor
    networks: Mapping[str, Network]
    reference_energies: Mapping[str, float]
    zbl: Sequence[ZblPair] = ()
    inverse: Mapping[str, Array] = field(default_factory=dict)


class GrownCalculator(Calculator):  # type: ignore[misc]  # ASE is untyped
    """Results as pyacemaker's other potentials: energies on the labels' own scale, and gamma.

    `energy` and `free_energy` (eV, equal), `energies` (N), `forces` (N x 3, eV/angstrom),
    `stress` (6, eV/angstrom^3; only where the cell has three vectors) and, with active sets,
    `gamma` (N), the extrapolation grade.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", "stress", "gamma",
    ]  # fmt: skip
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(self, model: GrownModel) -> None:
        super().__init__()
        self.model = model
        self.elements = list(model.descriptor.elements)
        self.cutoff_A = model.descriptor.cutoff_A

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute everything at once. Raises EsperError for what it cannot take."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # noqa: S101 - set by the call above
        self.results = evaluate(self.model, self.atoms)

    def export_properties(self) -> Properties:
        """Return the results ASE has a name for (gamma is not one of them)."""
        return Properties({k: v for k, v in self.results.items() if k != "gamma"})


def evaluate(model: GrownModel, atoms: Atoms) -> dict[str, Any]:
    """Return the calculator's results for `atoms`. Raises EsperError."""
    descriptor = model.descriptor
    pairs, kinds = descriptor.neighbours(atoms)
    base = descriptor.base(pairs, kinds)
    B = descriptor.values(base)
    energies, weights, gamma = np.zeros(len(atoms)), np.zeros_like(B), np.zeros(len(atoms))
    for z, element in enumerate(descriptor.elements):
        mine = np.flatnonzero(kinds == z)
        if len(mine) == 0:
            continue
        energies[mine], weights[mine] = model.networks[element].energies(B[mine])
        energies[mine] += model.reference_energies[element]
        if model.inverse:
            gamma[mine] = np.abs(B[mine] @ model.inverse[element]).max(axis=1)
    pull = descriptor.pull(pairs, base, weights)
    pair_energy, pair_slope = pair_terms(model, pairs, kinds)
    pull += (pair_slope / pairs.distance)[:, None] * pairs.vector
    energies += np.bincount(pairs.i, pair_energy, minlength=len(atoms))
    forces = np.stack(
        [
            np.bincount(pairs.i, pull[:, a], minlength=len(atoms))
            - np.bincount(pairs.j, pull[:, a], minlength=len(atoms))
            for a in range(3)
        ],
        axis=1,
    )
    energy = float(energies.sum())
    results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
    if model.inverse:
        results["gamma"] = gamma
    if atoms.cell.rank == 3:
        strain = pull.T @ pairs.vector
        results["stress"] = (
            np.array([0.5 * (strain[a, b] + strain[b, a]) for a, b in _VOIGT]) / atoms.get_volume()
        )
    return results


def pair_terms(model: GrownModel, pairs: Pairs, kinds: NDArray[np.intp]) -> tuple[Array, Array]:
    """Return half of each pair's energy (eV) and slope (eV/angstrom): a pair is met twice."""
    energy, slope = np.zeros((2, len(pairs.distance)))
    elements = model.descriptor.elements
    for zbl in model.zbl:
        mine = _of_pair(elements, zbl.elements, kinds, pairs) & (pairs.distance < zbl.outer_A)
        if mine.any():
            e, s = zbl_pair(pairs.distance[mine], zbl)
            energy[mine] += 0.5 * e
            slope[mine] += 0.5 * s
    for core in model.descriptor.cores:
        mine = _of_pair(elements, core.elements, kinds, pairs) & (pairs.distance < core.inner_A)
        if mine.any() and core.strength_eV_A > 0.0:
            r = pairs.distance[mine]
            bare = core.strength_eV_A * np.exp(-core.decay_per_A2 * r**2) / r
            left = 1.0 - r / core.inner_A
            energy[mine] += 0.5 * bare * left**3
            slope[mine] += 0.5 * (
                bare * (-2 * core.decay_per_A2 * r - 1 / r) * left**3
                - 3 * bare * left**2 / core.inner_A
            )
    return energy, slope


def zbl_pair(r: Array, pair: ZblPair) -> tuple[Array, Array]:
    """Return the switched ZBL energy (eV) at distances below the outer radius, and dE/dr."""
    energy, slope, _ = _screened(r, pair)
    f, f1, f2 = (float(v[0]) for v in _screened(np.array([pair.outer_A]), pair))
    span = pair.outer_A - pair.inner_A
    A = (-3.0 * f1 + span * f2) / span**2
    B = (2.0 * f1 - span * f2) / span**3
    C = -f + span * f1 / 2.0 - span**2 * f2 / 12.0
    t = np.maximum(r - pair.inner_A, 0.0)
    return energy + C + t**3 * (A / 3.0 + B / 4.0 * t), slope + t**2 * (A + B * t)


def _screened(r: Array, pair: ZblPair) -> tuple[Array, Array, Array]:
    Z_i, Z_j = (int(atomic_numbers[e]) for e in pair.elements)
    decay = _PHI_DECAYS * (Z_i**_EXPONENT + Z_j**_EXPONENT) / _SCREENING_LENGTH_A
    terms = _PHI_WEIGHTS * np.exp(-np.multiply.outer(r, decay))
    phi = terms.sum(axis=-1)
    phi1 = -(terms * decay).sum(axis=-1)
    phi2 = (terms * decay**2).sum(axis=-1)
    charge = Z_i * Z_j * _E2_EV_A
    return (
        charge * phi / r,
        charge * (phi1 - phi / r) / r,
        charge * (phi2 - 2.0 * phi1 / r + 2.0 * phi / r**2) / r,
    )


# --- files ---------------------------------------------------------------------------------


def read_directory(folder: Path) -> GrownModel:
    """Read and verify a potential's directory. Raises EsperError naming what is broken."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != "pyacemaker-potential" or manifest.get("form") != "esper":
            raise EsperError(f"{path} is not the manifest of a potential that esper trained")
        for name, stated in manifest["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != stated:
                raise EsperError(
                    f"{folder / name} is broken: its SHA-256 is not that of {MANIFEST}"
                )
        return read_model(folder, manifest)
    except OSError as error:
        raise EsperError(f"{error.filename} cannot be read: the potential is not whole") from None
    except (ValueError, KeyError, TypeError) as error:
        raise EsperError(f"{path} or {NETWORK} is damaged ({error!r})") from None


def read_model(folder: Path, manifest: Mapping[str, Any]) -> GrownModel:
    """Read the network of a directory whose files have been verified."""
    from safetensors.numpy import load_file

    plan = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
    weights = load_file(folder / WEIGHTS)
    functions = [tuple(tuple(map(int, factor)) for factor in f) for f in plan["functions"]]
    descriptor = Descriptor(
        plan["elements"],
        float(plan["cutoff_A"]),
        functions,  # type: ignore[arg-type]  # three numbers in each factor
        [Core(**{**core, "elements": tuple(core["elements"])}) for core in plan["cores"]],
    )
    networks = {
        element: network_of(weights, element, plan["blocks"], plan["activation"])
        for element in plan["elements"]
    }
    pairs = manifest["baseline"].get("pairs", ())
    return GrownModel(
        descriptor,
        networks,
        manifest["reference_energies_eV"],
        [ZblPair(tuple(p["elements"]), float(p["inner_A"]), float(p["outer_A"])) for p in pairs],
        {element: weights[f"{element}.active_set"] for element in plan["elements"]},
    )


def network_of(
    weights: Mapping[str, Array], element: str, blocks: Sequence[Sequence[int]], activation: str
) -> Network:
    """Return an element's network from named weights; `blocks` are each block's functions."""

    def get(name: str) -> Array:
        return np.asarray(weights[f"{element}.{name}"], dtype=float)

    made = Network(
        get("shift"),
        get("scale"),
        get("linear"),
        tuple(
            Block(
                np.array(inputs, dtype=np.intp),
                *(get(f"blocks.{n}.{name}") for name in ("W1", "b1", "W2", "b2", "out")),
            )
            for n, inputs in enumerate(blocks)
        ),
        activation,
    )
    alone, _ = made.energies(np.zeros((1, len(made.shift))))
    return Network(
        made.shift, made.scale, made.linear, made.blocks, activation, at_zero=float(alone[0])
    )


def functions_up_to(
    elements: int, radial: int, pairs: tuple[int, int], triples: tuple[int, int] = (0, 0)
) -> list[Function]:
    """Return the functions of a size, simplest first: one, then two, then three neighbours.

    `radial`: radial functions of one neighbour. `pairs`, `triples`: the highest radial function
    and the highest degree where two or three neighbours are coupled.
    """
    found: list[Function] = [((z, n, 0),) for n in range(1, radial + 1) for z in range(elements)]
    for rank, (nmax, lmax) in ((2, pairs), (3, triples)):
        factors = [
            (z, n, degree)
            for n in range(1, nmax + 1)
            for degree in range(lmax + 1)
            for z in range(elements)
        ]
        if not nmax:
            continue
        allowed = [
            tuple(sorted(chosen))
            for chosen in combinations_with_replacement(factors, rank)
            if _couples([degree for *_, degree in chosen])
        ]
        found += sorted(allowed, key=lambda f: (sum(n + d for _, n, d in f), f))
    return found


def _couples(degrees: list[int]) -> bool:
    if len(degrees) == 2:
        return degrees[0] == degrees[1]
    low, middle, high = sorted(degrees)
    return high <= low + middle and sum(degrees) % 2 == 0
