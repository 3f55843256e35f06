"""Every basis function's value, forces and virial at once, by matrix products.

A function of the ACE basis is a polynomial in the atomic base A_v (Drautz, Phys. Rev. B 99,
014104 (2019)), v = (element, n, l, m), so that its gradient is

    dB_f / dr_ij = sum_v (dB_f / dA_v) (d phi_v / dr_ij).

The first factor does not know the neighbour and the second does not know the function: for
one atom they are two matrices, and all gradients are their product. The first is sparse (a
function is made of few A_v, always the same), and the second is summed over the periodic
images of a neighbour before it is multiplied, not after. pyace goes through functions, terms
and neighbours one by one instead, which takes some fifty times as long for a thousand
functions. Weighting the second factor by r_ij gives the exact virial in six more rows. The
terms, the generalised Clebsch-Gordan coefficients and the radial functions are
pyace's own; the tests hold the results to pyace's, digit for digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pyace.basis import ACEBBasisSet
from scipy.sparse import block_diag, csr_matrix

from pyacemaker.potential.environment import atomic_environment
from pyacemaker.trainer.harmonics import harmonic_index, real_columns
from pyacemaker.trainer.radial_tables import RadialTables

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_AT_ONCE = 32  # atoms whose polynomials are evaluated together: a few MB each hundred
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class _Block:
    """The functions of one rank (number of neighbours in a term) of one central element.

    `terms` (T x rank) are places in the complex base; `value` (F x T) sums the products of a
    function's terms. `places` (2 numbers each: function and real column) are where the
    derivatives by the columns are not zero; `slope` (places x 2 T rank) sums the products
    without one factor, real parts first, to them.
    """

    terms: NDArray[np.intp]
    value: csr_matrix
    places: NDArray[np.int64]
    slope: csr_matrix


class BasisGradients:
    """Evaluates all functions of one basis with their gradients.

    (A class because the tables of a basis are made once and used for every structure.)
    """

    def __init__(self, basis: ACEBBasisSet) -> None:
        self.cutoff_A = float(basis.cutoffmax)
        self.species: dict[str, int] = dict(basis.elements_to_index_map)
        self.counts = [
            len(single) + len(many)
            for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
        ]
        self._starts = np.cumsum([0, *self.counts])
        self._lmax = int(basis.lmax)
        self._tables = RadialTables(basis)
        self._centres = [
            _Centre(single, many, self._tables, self._lmax, len(self.species))
            for single, many in zip(basis.basis_rank1, basis.basis, strict=True)
        ]

    def compute(self, atoms: Atoms) -> tuple[list[Array], Array, Array]:
        """Return projections, force rows and virial rows of `atoms`.

        Returns
        -------
        projections
            For each element, in the basis's order, (its atoms x its functions).
        forces
            (N x 3 x F, per angstrom): minus the derivative of each function's total.
        virial
            (6 x F): the derivative by strain, Voigt order xx yy zz yz xz xy.

        Raises
        ------
        PotentialError
            For structures `atomic_environment` refuses.
        """
        count = len(atoms)
        environment = atomic_environment(atoms, self.cutoff_A, self.species)
        i, j, vectors, kinds_j = _pairs(environment, count)
        kinds = np.asarray(environment.species_type, dtype=np.intp)[:count]
        first = np.searchsorted(i, np.arange(count + 1))
        distance = np.linalg.norm(vectors, axis=1)
        unit = vectors / distance[:, None]
        sphere, turned = real_columns(unit, self._lmax)
        turned /= distance[:, None, None]
        radial, slope = self._tables.at(kinds[i], kinds_j, distance)
        projections = [np.zeros((int(np.sum(kinds == mu)), n)) for mu, n in enumerate(self.counts)]
        forces = np.zeros((count, 3, int(self._starts[-1])))
        virial = np.zeros((6, int(self._starts[-1])))
        for mu, centre in enumerate(self._centres):
            here = slice(int(self._starts[mu]), int(self._starts[mu + 1]))
            mine = np.flatnonzero(kinds == mu)
            places = np.flatnonzero(first[mine] < first[mine + 1])
            for begin in range(0, len(places), _AT_ONCE):
                some = places[begin : begin + _AT_ONCE]
                parts, bases = [], []
                for atom in mine[some]:
                    near = slice(int(first[atom]), int(first[atom + 1]))
                    moved, image_of = np.unique(np.append(j[near], atom), return_inverse=True)
                    rows, total = centre.rows(
                        (vectors[near], unit[near], kinds_j[near], image_of),
                        (radial[near], slope[near]),
                        (sphere[near], turned[near]),
                    )
                    parts.append((moved, rows))
                    bases.append(total)
                values, entries = centre.polynomials(np.array(bases).reshape(len(parts), -1))
                projections[mu][some] = values
                for (moved, rows), entry in zip(parts, entries, strict=True):
                    pulls, strain = centre.products(entry, rows)
                    virial[:, here] += strain
                    forces[moved, :, here] -= pulls.reshape(len(moved), 3, -1)
        return projections, forces, virial


class _Centre:
    """The functions of one central element, ready to be evaluated.

    A real column is (neighbour's element, radial function, harmonic's real or imaginary
    part): only those that a function uses are ever computed.
    """

    def __init__(
        self, single: Any, many: Any, tables: RadialTables, lmax: int, elements: int
    ) -> None:
        self._tables, self._lmax = tables, lmax
        self._column: dict[tuple[int, int, int], int] = {}
        self._base: dict[tuple[int, int, int, int], int] = {}
        self._sources: list[tuple[int, int, float, float]] = []
        self._count = len(single) + len(many)
        self._blocks = []
        ranks = [1] * len(single) + [len(f.ns) for f in many]
        specs = [*single, *many]
        begin = 0
        for end in range(1, self._count + 1):
            edge = end == self._count or end == len(single) or ranks[end] != ranks[begin]
            if edge:
                is_single = begin < len(single)
                self._blocks.append(self._block(begin, specs[begin:end], is_single))
                begin = end
        sources = np.array(self._sources).reshape(-1, 4)
        self._real, self._imaginary = sources[:, 0].astype(np.intp), sources[:, 1].astype(np.intp)
        self._sign, self._turn = sources[:, 2], sources[:, 3]
        keys = np.array(list(self._column), dtype=np.intp).reshape(-1, 3)
        self._of_element = [np.flatnonzero(keys[:, 0] == nu) for nu in range(elements)]
        self._radial, self._harmonic = keys[:, 1], keys[:, 2]
        self._value = block_diag([block.value for block in self._blocks], format="csr")
        self._slope = block_diag([block.slope for block in self._blocks], format="csr")
        places = np.vstack([block.places for block in self._blocks])
        starts = np.searchsorted(places[:, 0], np.arange(self._count + 1))
        self._gradient = csr_matrix(
            (np.zeros(len(places)), places[:, 1], starts), (self._count, len(keys))
        )

    def rows(
        self,
        pairs: tuple[Array, Array, NDArray[np.intp], NDArray[np.intp]],
        radial: tuple[Array, Array],
        sphere: tuple[Array, Array],
    ) -> tuple[Array, Array]:
        """Return d A_v by the moved atoms' positions and the strain, and A_v, of one atom.

        `pairs` are the vectors to its neighbours, their directions, their elements and which
        of the M atoms that are moved each is an image of (last: which the centre is). The
        first array is (columns x (3 M + 6)), the second (columns).
        """
        vectors, unit, kinds, image_of = pairs
        number, width = len(vectors), len(self._radial)
        gradient = np.zeros((number, 3, width))
        total = np.zeros(width)
        for nu, mine in enumerate(self._of_element):
            which = np.flatnonzero(kinds == nu)
            if len(which) == 0 or len(mine) == 0:
                continue
            f, df = (table[np.ix_(which, self._radial[mine])] for table in radial)
            y = sphere[0][np.ix_(which, self._harmonic[mine])]
            part = sphere[1][which][:, :, self._harmonic[mine]]
            part *= f[:, None, :]
            part += unit[which][:, :, None] * (df * y)[:, None, :]
            if len(which) == number and len(mine) == width:
                gradient = part
            else:
                gradient[np.ix_(which, np.arange(3), mine)] = part
            total[mine] = np.einsum("pc,pc->c", f, y)
        atoms = int(image_of.max()) + 1
        # A neighbour pulls at itself and, against that, at the centre.
        share = np.zeros((atoms, number))
        share[image_of[:-1], np.arange(number)] = 1.0
        share[image_of[-1]] -= 1.0
        rows = np.empty((3 * atoms + 6, width))
        rows[: 3 * atoms] = (share @ gradient.reshape(number, -1)).reshape(3 * atoms, width)
        strained = np.tensordot(vectors, gradient, (0, 0))
        for row, (a, b) in enumerate(_VOIGT):
            rows[3 * atoms + row] = 0.5 * (strained[a, b] + strained[b, a])
        return np.ascontiguousarray(rows.T), total

    def polynomials(self, totals: Array) -> tuple[Array, Array]:
        """Return the functions (atoms x F) and their derivatives (atoms x places) by the A_v."""
        total = totals.T
        base = self._sign[:, None] * total[self._real]
        base = base + 1j * (self._turn[:, None] * total[self._imaginary])
        products, flat = [], []
        for block in self._blocks:
            others, product = _without_each([base[column] for column in block.terms.T])
            products.append(product.real)
            flat += [part.real for part in others] + [part.imag for part in others]
        values = self._value @ np.concatenate(products)
        entries = self._slope @ np.concatenate(flat)
        return values.T, np.ascontiguousarray(entries.T)

    def products(self, entries: Array, rows: Array) -> tuple[Array, Array]:
        """Return the gradients (3 M x F) and virial (6 x F) of one atom's functions."""
        self._gradient.data = entries
        products = np.ascontiguousarray((self._gradient @ rows).T)
        return products[:-6], products[-6:]

    def _real_column(self, nu: int, radial: int, harmonic: int) -> int:
        return self._column.setdefault((nu, radial, harmonic), len(self._column))

    def _place(self, nu: int, radial: int, degree: int, m: int) -> int:
        """Return the place of a complex base function, made when first asked for."""
        key = (nu, radial, degree, m)
        if key not in self._base:
            self._base[key] = len(self._base)
            real = self._real_column(nu, radial, harmonic_index(degree, abs(m), self._lmax))
            if m == 0:
                self._sources.append((real, real, 1.0, 0.0))
            else:  # A_-m = (-1)^m conj(A_m)
                imaginary = self._real_column(
                    nu, radial, harmonic_index(degree, abs(m), self._lmax, imaginary=True)
                )
                sign = -1.0 if m < 0 and m % 2 else 1.0
                self._sources.append((real, imaginary, sign, -sign if m < 0 else sign))
        return self._base[key]

    def _block(self, begin: int, specs: Any, single: bool) -> _Block:
        places, owners, weights = [], [], []
        for index, spec in enumerate(specs):
            for ms, weight in zip(spec.ms_combs, spec.gen_cgs, strict=True):
                places.append(
                    [
                        self._place(nu, self._tables.place(n, degree, single), degree, m)
                        for nu, n, degree, m in zip(spec.mus, spec.ns, spec.ls, ms, strict=True)
                    ]
                )
                owners.append(index)
                weights.append(float(weight))
        terms = np.array(places, dtype=np.intp)
        count, rank = terms.shape
        rows, sources, entries = [], [], []
        for t, (owner, weight) in enumerate(zip(owners, weights, strict=True)):
            for k in range(rank):
                real, imaginary, sign, turn = self._sources[terms[t, k]]
                # d Re(prod A) = Re D Re dA - Im D Im dA, where D is the product of the others
                parts = [(real, k * count + t, sign)]
                if turn:
                    parts.append((imaginary, (rank + k) * count + t, -turn))
                for column, source, factor in parts:
                    rows.append((begin + owner, column))
                    sources.append(source)
                    entries.append(factor * weight)
        entry_at, row_of = np.unique(np.array(rows, dtype=np.int64), axis=0, return_inverse=True)
        slope = csr_matrix((entries, (row_of.ravel(), sources)), (len(entry_at), 2 * count * rank))
        value = csr_matrix((weights, (owners, np.arange(count))), (len(specs), count))
        return _Block(terms, value, entry_at, slope)


def _without_each(factors: list[Complex]) -> tuple[list[Complex], Complex]:
    """Return the product of all factors but each one, and of all."""
    if len(factors) == 1:
        return [np.ones_like(factors[0])], factors[0]
    before = [factors[0]]
    for factor in factors[1:]:
        before.append(before[-1] * factor)
    others, after = [before[-2]], factors[-1]
    for k in range(len(factors) - 2, 0, -1):
        others.append(before[k - 1] * after)
        after = after * factors[k]
    others.append(after)
    return others[::-1], before[-1]


def _pairs(
    environment: Any, count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Array, NDArray[np.intp]]:
    """Return i, j (in the cell), vectors from i to j (angstrom) and j's element, sorted by i."""
    positions = np.asarray(environment.x, dtype=float).reshape(-1, 3)
    lists = environment.neighbour_list
    i = np.repeat(np.arange(count), [len(lists[n]) for n in range(count)])
    empty = np.zeros(0, dtype=np.intp)
    j = np.concatenate([empty, *(np.asarray(lists[n], dtype=np.intp) for n in range(count))])
    kinds = np.asarray(environment.species_type, dtype=np.intp)[j]
    origins = np.asarray(environment.origins, dtype=np.intp)[j]
    return i, origins, positions[j] - positions[i], kinds
