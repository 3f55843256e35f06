"""Which ACE basis is fitted: cutoff, functions and radial basis from the elements."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from pyace.basis import ACEBBasisSet, BBasisConfiguration
from pyace.multispecies_basisextension import create_multispecies_basis_config

from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.far_terms import with_far_terms
from pyacemaker.trainer.settings import TrainerSettings

Embedding = Literal["linear", "finnis-sinclair"]

# The ladder: how many functions an element gets by default. Enough to describe solid and
# liquid of one element; more where pairs and triples of elements need blocks of their own.
_FUNCTIONS = {1: 250, 2: 400, 3: 600}
# For each kind of block, up to a number of functions in it: the highest radial index and the
# highest angular momentum for each number of neighbours in a term (the order of Drautz, Phys.
# Rev. B 99, 014104 (2019)). pyace builds every function below this ceiling and then keeps
# the simplest, so that a ceiling higher than needed costs minutes for five elements.
# A ceiling is also what molecular dynamics costs: every neighbour is expanded up to the highest
# radial index and angular momentum of all terms but the pairs'.
_LEAN = ((8, 4, 3, 2, 1), (0, 3, 3, 2, 1))
_SMALL = ((8, 4, 2, 1, 1), (0, 3, 2, 1, 0))
_MEDIUM = ((12, 6, 3, 2, 1), (0, 4, 3, 2, 1))
_LARGE = ((16, 8, 4, 3, 2), (0, 5, 4, 2, 1))
_HUGE = ((16, 8, 5, 3, 2), (0, 6, 4, 3, 1))
_CEILINGS = {
    "UNARY": ((math.inf, _HUGE),),
    "BINARY": ((120, _SMALL), (1000, _MEDIUM), (math.inf, _LARGE)),
    "TERNARY": ((150, _SMALL), (2000, _MEDIUM), (math.inf, _LARGE)),
}
# Pair and three-body terms of a longer reach: their share of the functions, and their ceiling.
_FAR_SHARE = 0.3
_FAR_RADIAL, _FAR_ANGULAR = 10, 6
_EMBEDDINGS: dict[Embedding, dict[str, Any]] = {
    "linear": {"ndensity": 1, "fs_parameters": [1, 1]},
    "finnis-sinclair": {"ndensity": 2, "fs_parameters": [1, 1, 1, 0.5]},
}


def default_cutoff(elements: Sequence[str]) -> float:
    """Return the cutoff (angstrom): 4.5 covalent radii of the largest atom, within 5.5 to 7.

    About two bond lengths and a quarter: third neighbours of fcc, fourth of diamond.
    """
    largest = max(float(covalent_radii[atomic_numbers[e]]) for e in elements)
    return round(float(np.clip(4.5 * largest, 5.5, 7.0)), 1)


def default_functions(elements: Sequence[str]) -> int:
    """Return the number of basis functions for each element."""
    return _FUNCTIONS[min(len(set(elements)), max(_FUNCTIONS))]


def potential_config(
    elements: Sequence[str], settings: TrainerSettings, embedding: Embedding = "linear"
) -> dict[str, Any]:
    """Return the `potential` section of a pacemaker input for these elements.

    Raises TrainerError for something that is not an element.
    """
    unique = sorted(set(elements))
    unknown = [e for e in unique if e not in atomic_numbers or e == "X"]
    if unknown or not unique:
        raise TrainerError(f"not an element: {', '.join(unknown) or '(none given)'}")
    wanted = settings.functions_per_element or default_functions(unique)
    functions: dict[str, Any] = {"number_of_functions_per_element": wanted}
    n = len(unique)
    blocks = n + n * (n - 1) + n * math.comb(n - 1, 2)  # A, A-B and A-BC, as pyace counts them
    for kind in list(_CEILINGS)[:n]:
        radial, angular = next(c for most, c in _CEILINGS[kind] if wanted * n / blocks <= most)
        if settings.basis == "lean":
            radial, angular = _LEAN
        functions[kind] = {
            "nradmax_by_orders": list(radial[: settings.max_body_order - 1]),
            "lmax_by_orders": list(angular[: settings.max_body_order - 1]),
        }
    return {
        "deltaSplineBins": 0.001,
        "elements": unique,
        "embeddings": {
            "ALL": {
                "npot": "FinnisSinclairShiftedScaled",
                **_EMBEDDINGS[embedding],
                "rho_core_cut": 200000,
                "drho_core_cut": 250,
            }
        },
        "bonds": {
            "ALL": {
                "radbase": "SBessel",
                "radparameters": [5.25],
                "rcut": settings.cutoff_A or default_cutoff(unique),
                "dcut": 0.01,
                "NameOfCutoffFunction": "cos",
                # No core repulsion of its own: that is the baseline's work.
                "core-repulsion": [0.0, 5.0],
            }
        },
        "functions": functions,
    }


def basis_configuration(
    elements: Sequence[str], settings: TrainerSettings, embedding: Embedding = "linear"
) -> BBasisConfiguration:
    """Return the basis with all coefficients zero. Raises TrainerError."""
    config = potential_config(elements, settings, embedding)
    if settings.far_cutoff_A is None:
        return create_multispecies_basis_config(config)
    near, far = two_reaches(config, settings.far_cutoff_A)
    return with_far_terms(
        create_multispecies_basis_config(near), create_multispecies_basis_config(far)
    )


def two_reaches(
    config: Mapping[str, Any], far_cutoff_A: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pacemaker inputs of the near and of the far terms of a basis.

    The far ones have as many more pair functions as their cutoff is longer, so that the near
    radial functions can be expanded in them. Raises TrainerError where it is not longer.
    """
    near, far = copy.deepcopy(dict(config)), copy.deepcopy(dict(config))
    ratio = far_cutoff_A / near["bonds"]["ALL"]["rcut"]
    if ratio <= 1.0:
        raise TrainerError(
            f"trainer.far_cutoff_A: {far_cutoff_A} A is not longer than the cutoff of the other "
            f"terms, {near['bonds']['ALL']['rcut']} A"
        )
    far["bonds"]["ALL"]["rcut"] = far_cutoff_A
    wanted = config["functions"]["number_of_functions_per_element"]
    share = max(1, round(_FAR_SHARE * wanted))
    for kind, ceiling in far["functions"].items():
        if kind != "number_of_functions_per_element":
            pairs = math.ceil(ratio * ceiling["nradmax_by_orders"][0])
            ceiling["nradmax_by_orders"] = [pairs, _FAR_RADIAL]
            ceiling["lmax_by_orders"] = [0, _FAR_ANGULAR]
    far["functions"]["number_of_functions_per_element"] = share
    near["functions"]["number_of_functions_per_element"] = wanted - share
    return near, far


def functions_by_element(basis: ACEBBasisSet) -> dict[str, int]:
    """Return how many functions each element's atomic energy is made of."""
    return {
        element: len(single) + len(many)
        for element, single, many in zip(
            basis.elements_name, basis.basis_rank1, basis.basis, strict=True
        )
    }
