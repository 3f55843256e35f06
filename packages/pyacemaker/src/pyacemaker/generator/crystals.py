"""Crystal prototypes as data: space group, Wyckoff sites, axial ratios; and their builder.

Coordinates and names follow the AFLOW Encyclopedia of Crystallographic Prototypes
(Mehl et al., Comput. Mater. Sci. 136, S1 (2017)). Slots A, B, C are filled by elements
in the order given. A prototype knows no lengths: the cell is scaled to a volume.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from pyacemaker.generator.base import GeneratorError

Site = tuple[str, tuple[float, float, float]]

THIRD = 1 / 3
IDEAL_C_OVER_A = (8 / 3) ** 0.5


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    `counts` is the number of atoms of each slot in the primitive cell, `coordination` the
    number of nearest neighbours of slot A (of any atom for an element). `c_over_a` and
    `b_over_a` are those of the conventional cell.
    """

    name: str
    spacegroup: int
    sites: tuple[Site, ...]
    counts: Mapping[str, int]
    coordination: int
    c_over_a: float = 1.0
    b_over_a: float = 1.0
    gamma_deg: float = 90.0
    setting: int = 1
    aliases: tuple[str, ...] = field(default=())

    @property
    def slots(self) -> int:
        """Number of different elements it takes."""
        return len(self.counts)

    @property
    def atoms(self) -> int:
        """Number of atoms in the primitive cell."""
        return sum(self.counts.values())

    def formula_key(self) -> tuple[int, ...]:
        """Stoichiometry in smallest whole numbers, slot by slot: (1, 2) for AB2."""
        numbers = [self.counts[slot] for slot in sorted(self.counts)]
        divisor = int(np.gcd.reduce(numbers))
        return tuple(n // divisor for n in numbers)


def _hex(name: str, group: int, sites: tuple[Site, ...], counts: Mapping[str, int], cn: int,
         c_over_a: float, *aliases: str) -> Prototype:  # fmt: skip
    return Prototype(name, group, sites, counts, cn, c_over_a, 1.0, 120.0, 1, aliases)


ELEMENTAL: tuple[Prototype, ...] = (
    Prototype("fcc", 225, (("A", (0, 0, 0)),), {"A": 1}, 12, aliases=("a1",)),
    Prototype("bcc", 229, (("A", (0, 0, 0)),), {"A": 1}, 8, aliases=("a2",)),
    _hex("hcp", 194, (("A", (THIRD, 2 * THIRD, 0.25)),), {"A": 2}, 12, IDEAL_C_OVER_A, "a3"),
    Prototype("diamond", 227, (("A", (0, 0, 0)),), {"A": 2}, 4, aliases=("a4",)),
    Prototype("sc", 221, (("A", (0, 0, 0)),), {"A": 1}, 6, aliases=("ah", "simple cubic")),
    Prototype("beta-tin", 141, (("A", (0, 0, 0)),), {"A": 2}, 6, 0.546, aliases=("a5", "beta-sn")),
    _hex("simple-hexagonal", 191, (("A", (0, 0, 0)),), {"A": 1}, 8, 0.95, "af"),
    _hex("graphite", 194, (("A", (0, 0, 0.25)), ("A", (THIRD, 2 * THIRD, 0.25))), {"A": 4}, 3,
         2.726, "a9"),
    _hex("dhcp", 194, (("A", (0, 0, 0)), ("A", (THIRD, 2 * THIRD, 0.25))), {"A": 4}, 12,
         2 * IDEAL_C_OVER_A, "a3'"),
    _hex("a7", 166, (("A", (0, 0, 0.2336)),), {"A": 2}, 3, 2.617, "alpha-as"),
    Prototype("bct", 139, (("A", (0, 0, 0)),), {"A": 1}, 8, 0.825),
    Prototype("alpha-u", 63, (("A", (0, 0.1023, 0.25)),), {"A": 2}, 12, 1.736, 2.057,
              aliases=("a20",)),
    Prototype("alpha-ga", 64, (("A", (0, 0.1549, 0.081)),), {"A": 4}, 7, 1.0002, 1.6938,
              aliases=("a11",)),
    Prototype("halogen", 64, (("A", (0, 0.1543, 0.1174)),), {"A": 4}, 1, 1.347, 0.659,
              aliases=("a14",)),
    Prototype("black-p", 64, (("A", (0, 0.10168, 0.08056)),), {"A": 4}, 3, 1.3207, 3.1621,
              aliases=("a17",)),
    _hex("gamma-se", 152, (("A", (0.2254, 0, THIRD)),), {"A": 3}, 2, 1.1346, "a8"),
    Prototype("diatomic", 205, (("A", (0.055, 0.055, 0.055)),), {"A": 8}, 1, aliases=("alpha-n",)),
    _hex("alpha-b", 166, (("A", (0.1189, 0.8811, 0.8912)), ("A", (0.1969, 0.8031, 0.0243))),
         {"A": 12}, 6, 2.55),
    Prototype("alpha-mn", 217,
              (("A", (0, 0, 0)), ("A", (0.3173, 0.3173, 0.3173)),
               ("A", (0.3570, 0.3570, 0.0346)), ("A", (0.0896, 0.0896, 0.2818))),
              {"A": 29}, 12, aliases=("a12",)),
)  # fmt: skip

COMPOUND: tuple[Prototype, ...] = (
    Prototype("rocksalt", 225, (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5))), {"A": 1, "B": 1}, 6,
              aliases=("b1", "nacl", "halite")),
    Prototype("cesium-chloride", 221, (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5))),
              {"A": 1, "B": 1}, 8, aliases=("b2", "cscl", "cesiumchloride")),
    Prototype("zincblende", 216, (("A", (0, 0, 0)), ("B", (0.25, 0.25, 0.25))),
              {"A": 1, "B": 1}, 4, aliases=("b3", "zns", "sphalerite", "zinc-blende")),
    _hex("wurtzite", 186, (("A", (THIRD, 2 * THIRD, 0)), ("B", (THIRD, 2 * THIRD, 0.375))),
         {"A": 2, "B": 2}, 4, IDEAL_C_OVER_A, "b4"),
    _hex("nickeline", 194, (("A", (0, 0, 0)), ("B", (THIRD, 2 * THIRD, 0.25))),
         {"A": 2, "B": 2}, 6, IDEAL_C_OVER_A, "b8_1", "nias"),
    Prototype("l1_0", 123, (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5))), {"A": 1, "B": 1}, 12,
              2**0.5, aliases=("l10", "cuau")),
    Prototype("fluorite", 225, (("A", (0, 0, 0)), ("B", (0.25, 0.25, 0.25))),
              {"A": 1, "B": 2}, 8, aliases=("c1", "caf2")),
    Prototype("rutile", 136, (("A", (0, 0, 0)), ("B", (0.305, 0.305, 0))), {"A": 2, "B": 4}, 6,
              0.644, aliases=("c4",)),
    Prototype("anatase", 141, (("A", (0, 0, 0)), ("B", (0, 0, 0.208))), {"A": 2, "B": 4}, 6,
              2.514, aliases=("c5",)),
    _hex("alpha-quartz", 154,
         (("A", (0.4697, 0, 2 * THIRD)), ("B", (0.4135, 0.2669, 0.7858))), {"A": 3, "B": 6}, 4,
         1.1002, "quartz"),
    Prototype("laves-c15", 227, (("A", (0.125, 0.125, 0.125)), ("B", (0.5, 0.5, 0.5))),
              {"A": 2, "B": 4}, 16, setting=2, aliases=("c15", "mgcu2")),
    Prototype("theta-al2cu", 140, (("A", (0, 0, 0.25)), ("B", (0.158, 0.658, 0))),
              {"A": 2, "B": 4}, 8, 0.804, aliases=("c16",)),
    Prototype("l1_2", 221, (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0))), {"A": 1, "B": 3}, 12,
              aliases=("l12", "cu3au")),
    Prototype("d0_3", 225, (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5)), ("B", (0.25, 0.25, 0.25))),
              {"A": 1, "B": 3}, 8, aliases=("d03", "bif3")),
    Prototype("d0_22", 139, (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("B", (0, 0.5, 0.25))),
              {"A": 1, "B": 3}, 12, 2.234, aliases=("d022", "al3ti")),
    _hex("corundum", 167, (("A", (0, 0, 0.352)), ("B", (0.306, 0, 0.25))), {"A": 4, "B": 6}, 6,
         2.73, "d5_1"),
    Prototype("perovskite", 221,
              (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5)), ("C", (0.5, 0.5, 0))),
              {"A": 1, "B": 1, "C": 3}, 12, aliases=("e2_1",)),
    Prototype("heusler", 225,
              (("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5)), ("C", (0.25, 0.25, 0.25))),
              {"A": 1, "B": 1, "C": 2}, 8, aliases=("l2_1",)),
    _hex("delafossite-o3", 166, (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("C", (0, 0, 0.26))),
         {"A": 1, "B": 1, "C": 2}, 6, 4.99, "nafeo2", "layered"),
)  # fmt: skip


def prototype(name: str) -> Prototype:
    """Return the prototype of this name or alias (capitals do not matter).

    Raises GeneratorError with the known names.
    """
    wanted = name.strip().lower().replace("_", "-")
    for known in (*ELEMENTAL, *COMPOUND):
        if wanted in {n.replace("_", "-") for n in (known.name, *known.aliases)}:
            return known
    names = ", ".join(p.name for p in (*ELEMENTAL, *COMPOUND))
    raise GeneratorError(f"no prototype is called '{name}': known are {names}")


def build(
    kind: Prototype,
    elements: Sequence[str],
    volume_A3_per_atom: float,
    *,
    c_over_a: float | None = None,
    b_over_a: float | None = None,
    sites: tuple[Site, ...] | None = None,
) -> Atoms:
    """Return the primitive cell of `kind` with `elements` in slots A, B, C.

    `c_over_a`, `b_over_a` (dimensionless) and `sites` (fractional, of the conventional
    cell) override the prototype's own. Raises GeneratorError for a wrong number of
    elements or a volume that is not positive.
    """
    from ase.spacegroup import crystal

    from pyacemaker.generator.contact import right_handed, scaled_to_volume

    if len(elements) != kind.slots:
        raise GeneratorError(f"{kind.name} takes {kind.slots} elements, got {len(elements)}")
    if not (np.isfinite(volume_A3_per_atom) and volume_A3_per_atom > 0):
        raise GeneratorError(f"volume {volume_A3_per_atom} angstrom^3 per atom is not positive")
    placed = kind.sites if sites is None else sites
    of_slot = dict(zip("ABC", elements, strict=False))
    a = 5.0  # any length will do: the cell is scaled below
    cell = crystal(
        [of_slot[slot] for slot, _ in placed],
        [place for _, place in placed],
        spacegroup=kind.spacegroup,
        setting=kind.setting,
        cellpar=[
            a,
            a * (kind.b_over_a if b_over_a is None else b_over_a),
            a * (kind.c_over_a if c_over_a is None else c_over_a),
            90.0,
            90.0,
            kind.gamma_deg,
        ],
        primitive_cell=True,
    )
    atoms = Atoms(
        cell.get_chemical_symbols(),
        scaled_positions=cell.get_scaled_positions(),
        cell=cell.cell,
        pbc=True,
    )
    return scaled_to_volume(right_handed(atoms), volume_A3_per_atom * len(atoms))
