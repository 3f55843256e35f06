"""A C-tilde potential (`.yace`) back in the B-basis, where gamma is defined.

A `.yace` holds products of the atomic base with ready-made coefficients: fast, but the
rotation-invariant functions they came from are gone, and with them the extrapolation grade
(`pair_style pace/extrapolation` takes only a B-basis). They can be found again. For one set of
(element, n, l) the invariant functions are known (pyace's own coupling coefficients), each is a
vector over the m-combinations, and the file's coefficients are a sum of these vectors: a small
linear system, whose misfit says whether the file is an ACE at all (Drautz, Phys. Rev. B 99,
014104 (2019); Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021)).

Radial functions of pacemaker's kinds are taken over as they are. Tabulated ones (as ace-jax
writes, and which no released LAMMPS reads) are expanded in Chebyshev polynomials of r (pyace's
`ChebLinear`) from `TABLE_FROM_A` to the cutoff, which for smooth functions converges to rounding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet, BBasisConfiguration
from pyace.multispecies_basisextension import create_multispecies_basis_config

from pyacemaker.potential.manifest import PotentialError
from pyacemaker.trainer.radial_tables import RadialTables

Array = NDArray[np.float64]
Slot = tuple[int, int, int]  # neighbour's element, n, l
Term = tuple[tuple[int, int, int, int], ...]  # the same and m, for each neighbour

TABLE_FROM_A = 1.0  # no atoms of a material come closer: below it, a table is not followed
_TABLE_TOLERANCE = 1e-9  # of the largest value of any table
_MOST_POLYNOMIALS = 64
_COUPLING_TOLERANCE = 1e-8  # of the largest coefficient
_LINEAR = {
    "npot": "FinnisSinclairShiftedScaled",
    "ndensity": 1,
    "fs_parameters": [1, 1],
    "rho_core_cut": 200000,
    "drho_core_cut": 250,
}
_POLYNOMIALS = {
    "radbase": "ChebLinear",
    "radparameters": [1.0],
    "dcut": 0.01,
    "NameOfCutoffFunction": "cos",
    "core-repulsion": [0.0, 5.0],
}
_KINDS = ("SBessel", "ChebExpCos", "ChebPow", "ChebLinear")


@dataclass(frozen=True)
class Lifted:
    """The potential in the B-basis and what the file says of energies.

    `reference_energies` (eV) is None where the file's are all zero: it gives energies above
    isolated atoms. `table_error` is the largest difference between a tabulated radial function
    and its expansion, of the largest value of any (0 where nothing is tabulated).
    """

    basis: ACEBBasisSet
    reference_energies: dict[str, float] | None
    table_error: float


def lifted(path: Path) -> Lifted:
    """Read a `.yace` and return it in the B-basis.

    Raises
    ------
    PotentialError
        Naming the file and what is wrong: not a `.yace`, a radial basis that is not known,
        coefficients that no invariant function explains.
    """
    tree = _read(path)
    try:
        return _lifted(path, tree)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise PotentialError(f"{path}: not a .yace that can be read ({error!r})") from error


def _lifted(path: Path, tree: Mapping[str, Any]) -> Lifted:
    elements = [str(e) for e in tree["elements"]]
    if elements != sorted(elements):
        raise PotentialError(f"{path}: its elements are not in alphabetical order")
    if tree.get("summed_neighbour_A"):
        raise PotentialError(f"{path}: a pooled atomic base (summed_neighbour_A) has no B-basis")
    bonds = {tuple(map(int, key)): bond for key, bond in tree["bonds"].items()}
    bonds, gk, error = _in_pacemakers_radials(path, bonds)
    wanted = {
        mu: _coefficients(tree["functions"].get(mu, []), mu, gk) for mu in range(len(elements))
    }
    start = _skeleton(path, tree, elements, bonds, wanted)
    basis = ACEBBasisSet(start)
    solution = _solved(path, basis, wanted)
    basis.basis_coeffs = solution
    energies = [float(e) for e in tree.get("E0", [0.0] * len(elements))]
    known = dict(zip(elements, energies, strict=True)) if any(energies) else None
    return Lifted(basis, known, error)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML whose keys may be lists, as those of `bonds` are."""


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    result = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        result[tuple(key) if isinstance(key, list) else key] = loader.construct_object(
            value_node, deep=True
        )
    return result


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - safe
    except OSError as error:
        raise PotentialError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise PotentialError(f"{path} is not YAML: {str(error).splitlines()[0]}") from None
    missing = {"elements", "bonds", "functions", "embeddings"} - set(
        tree if isinstance(tree, dict) else ()
    )
    if missing:
        raise PotentialError(f"{path} is not a .yace: it has no {', '.join(sorted(missing))}")
    return dict(tree)


# ---- radial functions


def _in_pacemakers_radials(
    path: Path, bonds: dict[tuple[int, ...], Any]
) -> tuple[dict[tuple[int, ...], Any], dict[tuple[int, int], Array], float]:
    """Return bonds with `radcoefficients`, the expansion of tabulated g_1, and its error."""
    kinds = {bond["radbasename"] for bond in bonds.values()}
    if kinds <= set(_KINDS):
        return bonds, {}, 0.0
    if kinds != {"Tabulated"}:
        raise PotentialError(
            f"{path}: radial basis {', '.join(sorted(kinds))} is not known; known: "
            f"{', '.join((*_KINDS, 'Tabulated'))}"
        )
    scale = max(
        float(np.abs(entry["f"][_first(bond) :]).max(initial=0.0))
        for bond in bonds.values()
        for entry in _entries(bond)
    )
    for number in (24, 32, 40, 48, 56, _MOST_POLYNOMIALS):
        made: dict[tuple[int, ...], Any] = {}
        error = 0.0
        first: dict[tuple[int, int], Array] = {}
        for (i, j), bond in bonds.items():
            made[i, j], first[i, j], wrong = _expanded(bond, number)
            error = max(error, wrong / max(scale, 1e-300))
        if error < _TABLE_TOLERANCE:
            return made, first, error
    raise PotentialError(
        f"{path}: its tabulated radial functions are not smooth from {TABLE_FROM_A:g} angstrom to "
        f"the cutoff: {_MOST_POLYNOMIALS} polynomials leave {error:.1e} of the largest value"
    )


def _entries(bond: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    table = bond["radtable"]
    return [*table.get("gk", []), *table.get("rnl", [])]


def _first(bond: Mapping[str, Any]) -> int:
    return int(np.ceil(TABLE_FROM_A / float(bond["rcut"]) * int(bond["radtable"]["nbins"])))


def _expanded(bond: Mapping[str, Any], number: int) -> tuple[dict[str, Any], Array, float]:
    """Return a bond of `number` polynomials, its g_1's coefficients, and the largest error."""
    cutoff, table = float(bond["rcut"]), bond["radtable"]
    step = max(1, int(table["nbins"]) // 1500)
    places = np.arange(_first(bond), int(table["nbins"]), step)
    grid = places * cutoff / int(table["nbins"])
    columns = _polynomials(grid, cutoff, number)
    entries = _entries(bond)
    values = np.array([np.asarray(e["f"], dtype=float)[places] for e in entries]).T
    # The smallest singular values only serve to fit rounding errors with huge coefficients.
    found = np.linalg.lstsq(columns, values, rcond=1e-13)[0]
    error = float(np.abs(columns @ found - values).max(initial=0.0))
    n_max, l_max = int(bond["nradmax"]), int(bond["lmax"])
    crad = np.zeros((n_max, l_max + 1, number))
    single = np.zeros(number)
    for entry, coefficients in zip(entries, found.T, strict=True):
        if "k" in entry:
            if int(entry["k"]) != 1:
                raise ValueError("more than one tabulated g_k")
            single = coefficients
        else:
            crad[int(entry["n"]) - 1, int(entry["l"])] = coefficients
    plain = {
        **{key: value for key, value in bond.items() if key != "radtable"},
        "radbasename": "ChebLinear",
        "radparameters": [1.0],
        "radcoefficients": crad.tolist(),
        "nradbasemax": number,
    }
    return plain, single, error


def _polynomials(grid: Array, cutoff: float, number: int) -> Array:
    """Return pyace's own polynomials at `grid` (points x number)."""
    basis = ACEBBasisSet(
        create_multispecies_basis_config(
            {
                "deltaSplineBins": 0.001,
                "elements": ["H"],
                "embeddings": {"ALL": _LINEAR},
                "bonds": {"ALL": {**_POLYNOMIALS, "rcut": cutoff}},
                "functions": {"ALL": {"nradmax_by_orders": [number], "lmax_by_orders": [0]}},
            }
        )
    )
    nothing = np.zeros(len(grid), dtype=np.intp)
    return RadialTables(basis).at(nothing, nothing, grid)[0][:, :number]


# ---- coefficients


def _coefficients(
    functions: Sequence[Mapping[str, Any]], mu0: int, gk: Mapping[tuple[int, int], Array]
) -> dict[tuple[Slot, ...], dict[Term, Array]]:
    """Return the coefficients of each product (of all densities) by slots and term."""
    result: dict[tuple[Slot, ...], dict[Term, Array]] = defaultdict(dict)

    def add(key: Term, values: Array) -> None:
        slots = tuple((mu, n, degree) for mu, n, degree, _ in key)
        known = result[slots].get(key)
        result[slots][key] = values if known is None else known + values

    for function in functions:
        rank, densities = int(function["rank"]), int(function["ndensity"])
        ms = np.asarray(function["ms_combs"], dtype=int).reshape(-1, rank)
        values = np.asarray(function["ctildes"], dtype=float).reshape(len(ms), densities)
        mus, ns, ls = (list(map(int, function[name])) for name in ("mus", "ns", "ls"))
        for m, value in zip(ms, values, strict=True):
            if rank == 1 and gk:
                for k, factor in enumerate(gk[mu0, mus[0]], start=1):
                    add(((mus[0], k, 0, 0),), factor * value)
            else:
                add(_canonical(mus, ns, ls, list(map(int, m))), value)
    return dict(result)


def _canonical(mus: Sequence[int], ns: Sequence[int], ls: Sequence[int], ms: Sequence[int]) -> Term:
    """Return a product's name: in order, and the same for all m negated (its real part is)."""
    factors = list(zip(mus, ns, ls, ms, strict=True))
    return min(
        tuple(sorted(factors)), tuple(sorted((mu, n, degree, -m) for mu, n, degree, m in factors))
    )


def _skeleton(
    path: Path,
    tree: Mapping[str, Any],
    elements: Sequence[str],
    bonds: Mapping[tuple[int, ...], Any],
    wanted: Mapping[int, Mapping[tuple[Slot, ...], Any]],
) -> BBasisConfiguration:
    """Return pyace's basis of all functions on the wanted slots, coefficients zero."""
    ranks = max((len(slots) for found in wanted.values() for slots in found), default=1)
    n_max, l_max = [1] * ranks, [0] * ranks
    for found in wanted.values():
        for slots in found:
            place = len(slots) - 1
            n_max[place] = max(n_max[place], *(n for _, n, _ in slots))
            l_max[place] = max(l_max[place], *(degree for _, _, degree in slots))
    n_max[0] = max(int(bond["nradbasemax"]) for bond in bonds.values())
    embeddings = {}
    for mu, element in enumerate(elements):
        given = tree["embeddings"][mu]
        embeddings[element] = {
            "npot": given["npoti"],
            "ndensity": int(given["ndensity"]),
            "fs_parameters": [float(p) for p in given["FS_parameters"]],
            "rho_core_cut": float(given["rho_core_cutoff"]),
            "drho_core_cut": float(given["drho_core_cutoff"]),
        }
    first = bonds[0, 0]
    start = create_multispecies_basis_config(
        {
            "deltaSplineBins": float(tree.get("deltaSplineBins", 0.001)),
            "elements": list(elements),
            "embeddings": embeddings,
            "bonds": {"ALL": _bond(first)},
            "functions": {"ALL": {"nradmax_by_orders": n_max, "lmax_by_orders": l_max}},
        }
    )
    index = {element: n for n, element in enumerate(elements)}
    blocks = start.funcspecs_blocks
    for block in blocks:
        names = list(block.elements_vec)
        if len(set(names)) <= 2:
            pair = (index[names[0]], index[names[-1]])
            bond = bonds[pair]
            block.radbase, block.radparameters = bond["radbasename"], list(bond["radparameters"])
            block.rcutij, block.dcutij = float(bond["rcut"]), float(bond["dcut"])
            block.core_rep_parameters = [float(bond["prehc"]), float(bond["lambdahc"])]
            block.r_in, block.delta_in = float(bond["rcut_in"]), float(bond["dcut_in"])
            block.inner_cutoff_type = str(bond.get("inner_cutoff_type", "density"))
            crad = np.asarray(bond["radcoefficients"], dtype=float)
            block.radcoefficients = crad
            block.nradmaxi, block.lmaxi = crad.shape[0], crad.shape[1] - 1
            block.nradbaseij = crad.shape[2]
        kept = [f for f in block.funcspecs if _slots(f, index) in wanted[index[f.elements[0]]]]
        block.funcspecs = kept
    start.funcspecs_blocks = blocks
    return start


def _bond(bond: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "radbase": bond["radbasename"],
        "radparameters": list(bond["radparameters"]),
        "rcut": float(bond["rcut"]),
        "dcut": float(bond["dcut"]),
        "NameOfCutoffFunction": "cos",
        "core-repulsion": [float(bond["prehc"]), float(bond["lambdahc"])],
    }


def _slots(function: Any, index: Mapping[str, int]) -> tuple[Slot, ...]:
    neighbours = [index[e] for e in function.elements[1:]]
    degrees = list(function.ls) or [0] * len(neighbours)
    return tuple(sorted(zip(neighbours, map(int, function.ns), map(int, degrees), strict=True)))


def _solved(
    path: Path, basis: ACEBBasisSet, wanted: Mapping[int, Mapping[tuple[Slot, ...], Any]]
) -> Array:
    """Return the coefficients of the basis's functions that make the wanted products."""
    solutions, missing = [], 0.0
    largest = max(
        (float(np.abs(v).max()) for f in wanted.values() for t in f.values() for v in t.values()),
        default=0.0,
    )
    for mu0, (single, many) in enumerate(zip(basis.basis_rank1, basis.basis, strict=True)):
        functions = [*single, *many]
        densities = int(basis.map_embedding_specifications[mu0].ndensity)
        found = np.zeros((len(functions), densities))
        of_slots: dict[tuple[Slot, ...], list[int]] = defaultdict(list)
        for place, function in enumerate(functions):
            named = sorted(zip(function.mus, function.ns, function.ls, strict=True))
            of_slots[tuple((int(a), int(b), int(c)) for a, b, c in named)].append(place)
        for slots, terms in wanted[mu0].items():
            places = of_slots.get(slots, [])
            vectors = [_vector(functions[place]) for place in places]
            names = sorted({*terms, *(name for vector in vectors for name in vector)})
            matrix = np.array([[v.get(name, 0.0) for v in vectors] for name in names])
            matrix = matrix.reshape(len(names), len(vectors))
            right = np.array([terms.get(name, np.zeros(densities)) for name in names])
            if places:
                found[places] = np.linalg.lstsq(matrix, right, rcond=None)[0]
                right = right - matrix @ found[places]
            missing = max(missing, float(np.abs(right).max()))
        solutions.append(found.ravel())
    if missing > _COUPLING_TOLERANCE * max(largest, 1e-300):
        raise PotentialError(
            f"{path}: some of its coefficients belong to no rotation-invariant function "
            f"({missing:.1e} of {largest:.1e} is left over), so it has no B-basis and no gamma"
        )
    return np.concatenate(solutions)


def _vector(function: Any) -> dict[Term, float]:
    """Return a function's weight on each product."""
    result: dict[Term, float] = defaultdict(float)
    for ms, weight in zip(function.ms_combs, function.gen_cgs, strict=True):
        key = _canonical(function.mus, function.ns, function.ls, list(map(int, ms)))
        result[key] += float(weight)
    return result
