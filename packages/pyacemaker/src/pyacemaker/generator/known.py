"""Measured ground states: crystals of elements that ASE cannot build, and common compounds.

Lattice parameters in angstrom, near room temperature unless the solid exists only below
it. Elements: Donohue, The Structures of the Elements (1974) and the AFLOW Encyclopedia.
Compounds: Wyckoff, Crystal Structures (1963), and the AFLOW Encyclopedia. They are starting
points of a volume scan, never results.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyacemaker.generator.crystals import Site, prototype


@dataclass(frozen=True)
class MeasuredCrystal:
    """A prototype with measured lengths.

    `a_A` is the conventional cell's first edge. `stand_in` is true where the real ground
    state has too many atoms, or disorder, and a similar crystal takes its place.
    """

    kind: str
    elements: tuple[str, ...]
    a_A: float
    b_over_a: float = 1.0
    c_over_a: float = 1.0
    sites: tuple[Site, ...] | None = None
    stand_in: bool = False

    @property
    def volume_per_atom(self) -> float:
        """Volume in angstrom^3 per atom."""
        shape = prototype(self.kind)
        edges = self.a_A**3 * self.b_over_a * self.c_over_a
        if shape.gamma_deg == 120.0:
            edges *= 0.75**0.5
        return edges / (shape.atoms * PRIMITIVE_IN_CONVENTIONAL.get(self.kind, 1))

    @property
    def coordination(self) -> int:
        """Nearest neighbours of the first slot."""
        return prototype(self.kind).coordination


PRIMITIVE_IN_CONVENTIONAL = {
    "fcc": 4, "bcc": 2, "diamond": 4, "beta-tin": 2, "a7": 3, "bct": 2, "alpha-u": 2,
    "alpha-ga": 2, "halogen": 2, "black-p": 2, "alpha-b": 3, "alpha-mn": 2, "rocksalt": 4,
    "zincblende": 4, "fluorite": 4, "anatase": 2, "laves-c15": 4, "theta-al2cu": 2, "d0_3": 4,
    "d0_22": 2, "corundum": 3, "heusler": 4, "delafossite-o3": 3,
}  # fmt: skip


def _molecule(symbol: str, a_A: float, bond_A: float, *, stand_in: bool) -> MeasuredCrystal:
    x = bond_A / (2 * 3**0.5 * a_A)
    sites: tuple[Site, ...] = (("A", (x, x, x)),)
    return MeasuredCrystal("diatomic", (symbol,), a_A, sites=sites, stand_in=stand_in)


ELEMENT_CRYSTALS: dict[str, MeasuredCrystal] = {
    "H": _molecule("H", 5.31, 0.74, stand_in=False),
    "N": _molecule("N", 5.66, 1.10, stand_in=False),
    "O": _molecule("O", 5.18, 1.21, stand_in=True),
    "F": _molecule("F", 5.04, 1.42, stand_in=True),
    "He": MeasuredCrystal("hcp", ("He",), 3.57, 1.0, 1.633),
    "B": MeasuredCrystal("alpha-b", ("B",), 4.927, 1.0, 2.5500, stand_in=True),
    "P": MeasuredCrystal("black-p", ("P",), 3.3136, 3.1621, 1.3207),
    "S": MeasuredCrystal(
        "gamma-se", ("S",), 4.287, 1.0, 1.1346, (("A", (0.171, 0, 1 / 3)),), stand_in=True
    ),
    "Cl": MeasuredCrystal("halogen", ("Cl",), 6.24, 0.718, 1.324, (("A", (0, 0.117, 0.1015)),)),
    "Br": MeasuredCrystal("halogen", ("Br",), 6.67, 0.672, 1.307, (("A", (0, 0.135, 0.110)),)),
    "I": MeasuredCrystal("halogen", ("I",), 7.27, 0.659, 1.347),
    "Se": MeasuredCrystal("gamma-se", ("Se",), 4.366, 1.0, 1.1346),
    "Te": MeasuredCrystal("gamma-se", ("Te",), 4.456, 1.0, 1.3288, (("A", (0.2636, 0, 1 / 3)),)),
    "Ga": MeasuredCrystal("alpha-ga", ("Ga",), 4.523, 1.6938, 1.0002),
    "Mn": MeasuredCrystal("alpha-mn", ("Mn",), 8.911),
    "U": MeasuredCrystal("alpha-u", ("U",), 2.854, 2.057, 1.736),
    "Pa": MeasuredCrystal("bct", ("Pa",), 3.925, 1.0, 0.825),
    "Pu": MeasuredCrystal("fcc", ("Pu",), 4.637, stand_in=True),
}

COMPOUNDS: tuple[MeasuredCrystal, ...] = (
    *(
        MeasuredCrystal("rocksalt", (cation, anion), a)
        for cation, anion, a in (
            ("Li", "H", 4.084), ("Na", "H", 4.88), ("Li", "F", 4.026), ("Li", "Cl", 5.140),
            ("Na", "F", 4.634), ("Na", "Cl", 5.640), ("Na", "Br", 5.973), ("K", "F", 5.347),
            ("K", "Cl", 6.293), ("K", "Br", 6.600), ("K", "I", 7.066), ("Rb", "Cl", 6.581),
            ("Ag", "Cl", 5.549), ("Ag", "Br", 5.775), ("Mg", "O", 4.212), ("Ca", "O", 4.811),
            ("Sr", "O", 5.160), ("Ba", "O", 5.523), ("Mn", "O", 4.445), ("Fe", "O", 4.326),
            ("Co", "O", 4.260), ("Ni", "O", 4.177), ("Ti", "C", 4.328), ("Ti", "N", 4.240),
            ("Zr", "C", 4.698), ("Zr", "N", 4.577), ("Hf", "C", 4.638), ("V", "C", 4.166),
            ("V", "N", 4.136), ("Nb", "C", 4.470), ("Nb", "N", 4.392), ("Ta", "C", 4.455),
            ("Cr", "N", 4.149), ("Sc", "N", 4.501), ("Pb", "S", 5.936), ("Pb", "Se", 6.124),
            ("Pb", "Te", 6.462), ("Mg", "S", 5.203), ("Ca", "S", 5.695), ("Sn", "Te", 6.318),
        )
    ),
    *(
        MeasuredCrystal("cesium-chloride", pair, a)
        for pair, a in (
            (("Cs", "Cl"), 4.123), (("Cs", "Br"), 4.286), (("Cs", "I"), 4.567),
            (("Al", "Ni"), 2.887), (("Al", "Fe"), 2.909), (("Al", "Co"), 2.862),
            (("Cu", "Zn"), 2.945), (("Ni", "Ti"), 3.015), (("Fe", "Ti"), 2.976),
            (("Li", "Hg"), 3.287), (("Tl", "Cl"), 3.834),
        )
    ),
    *(
        MeasuredCrystal("zincblende", pair, a)
        for pair, a in (
            (("Si", "C"), 4.360), (("B", "N"), 3.616), (("B", "P"), 4.538), (("B", "As"), 4.777),
            (("Al", "P"), 5.464), (("Al", "As"), 5.661), (("Al", "Sb"), 6.136),
            (("Ga", "P"), 5.451), (("Ga", "As"), 5.653), (("Ga", "Sb"), 6.096),
            (("In", "P"), 5.869), (("In", "As"), 6.058), (("In", "Sb"), 6.479),
            (("Zn", "S"), 5.409), (("Zn", "Se"), 5.668), (("Zn", "Te"), 6.103),
            (("Cd", "Te"), 6.482), (("Cu", "Cl"), 5.416), (("Cu", "Br"), 5.691),
            (("Hg", "Te"), 6.461), (("Be", "S"), 4.870),
        )
    ),
    *(
        MeasuredCrystal("wurtzite", pair, a, 1.0, ratio)
        for pair, a, ratio in (
            (("Al", "N"), 3.111, 1.601), (("Ga", "N"), 3.189, 1.626), (("In", "N"), 3.538, 1.612),
            (("Zn", "O"), 3.250, 1.602), (("Be", "O"), 2.698, 1.623), (("Cd", "S"), 4.136, 1.623),
            (("Cd", "Se"), 4.299, 1.631), (("Ag", "I"), 4.592, 1.635),
        )
    ),
    *(
        MeasuredCrystal("fluorite", pair, a)
        for pair, a in (
            (("Ca", "F"), 5.463), (("Sr", "F"), 5.800), (("Ba", "F"), 6.200),
            (("Ce", "O"), 5.411), (("U", "O"), 5.471), (("Th", "O"), 5.597),
            (("O", "Li"), 4.619), (("O", "Na"), 5.550), (("Si", "Mg"), 6.338),
        )
    ),
    *(
        MeasuredCrystal("rutile", pair, a, 1.0, ratio, (("A", (0, 0, 0)), ("B", (u, u, 0))))
        for pair, a, ratio, u in (
            (("Ti", "O"), 4.594, 0.6440, 0.305), (("Sn", "O"), 4.737, 0.6726, 0.307),
            (("Ru", "O"), 4.492, 0.6914, 0.306), (("Ir", "O"), 4.498, 0.7010, 0.308),
            (("V", "O"), 4.555, 0.6258, 0.300), (("Mg", "F"), 4.621, 0.6600, 0.303),
            (("Zn", "F"), 4.703, 0.6660, 0.303), (("Pb", "O"), 4.957, 0.6834, 0.309),
        )
    ),
    *(
        MeasuredCrystal("corundum", pair, a, 1.0, ratio)
        for pair, a, ratio in (
            (("Al", "O"), 4.759, 2.730), (("Cr", "O"), 4.959, 2.740), (("Fe", "O"), 5.036, 2.730),
            (("V", "O"), 4.952, 2.827), (("Ti", "O"), 5.157, 2.639),
        )
    ),
    MeasuredCrystal("alpha-quartz", ("Si", "O"), 4.913, 1.0, 1.1002),
    MeasuredCrystal("l1_0", ("Al", "Ti"), 2.828, 1.0, 1.437),
    MeasuredCrystal("l1_0", ("Au", "Cu"), 2.800, 1.0, 1.311),
    MeasuredCrystal("l1_0", ("Fe", "Pt"), 2.722, 1.0, 1.364),
    MeasuredCrystal("l1_0", ("Fe", "Pd"), 2.723, 1.0, 1.367),
    MeasuredCrystal("l1_0", ("Co", "Pt"), 2.691, 1.0, 1.369),
    MeasuredCrystal("l1_2", ("Al", "Ni"), 3.572),
    MeasuredCrystal("l1_2", ("Au", "Cu"), 3.748),
    MeasuredCrystal("l1_2", ("Co", "Pt"), 3.831),
    MeasuredCrystal("l1_2", ("Fe", "Ni"), 3.552),
    MeasuredCrystal("d0_3", ("Al", "Fe"), 5.792),
    MeasuredCrystal("d0_3", ("Si", "Fe"), 5.655),
    MeasuredCrystal("d0_22", ("Ti", "Al"), 3.854, 1.0, 2.228),
    MeasuredCrystal("theta-al2cu", ("Cu", "Al"), 6.067, 1.0, 0.8039),
    MeasuredCrystal("laves-c15", ("Mg", "Cu"), 7.034),
    *(
        MeasuredCrystal("perovskite", (*pair, "O"), a)
        for pair, a in (
            (("Sr", "Ti"), 3.905), (("Ba", "Ti"), 4.006), (("Ca", "Ti"), 3.897),
            (("Pb", "Ti"), 3.970), (("Ba", "Zr"), 4.193), (("K", "Nb"), 4.022),
            (("K", "Ta"), 3.989), (("La", "Al"), 3.790), (("Sr", "Ru"), 3.930),
            (("La", "Mn"), 3.880),
        )
    ),
    MeasuredCrystal("perovskite", ("Cs", "Pb", "I"), 6.289),
    MeasuredCrystal("perovskite", ("Cs", "Pb", "Br"), 5.874),
    MeasuredCrystal("delafossite-o3", ("Li", "Co", "O"), 2.816, 1.0, 4.990,
                    (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("C", (0, 0, 0.2604)))),
    MeasuredCrystal("delafossite-o3", ("Li", "Ni", "O"), 2.878, 1.0, 4.932,
                    (("A", (0, 0, 0)), ("B", (0, 0, 0.5)), ("C", (0, 0, 0.2585)))),
)  # fmt: skip
"""In order of preference where two have the same elements: the first is the default."""
