"""A barrier by another method: the climbing-image nudged elastic band."""

from __future__ import annotations

from ase import Atoms
from ase.mep import NEB
from ase.optimize import FIRE

from pyacemaker.dynamics.kmc.geometry import Array
from pyacemaker.dynamics.kmc.landscape import Landscape, LostSearchError

_IMAGES = 7
_MAX_STEPS = 1000


def neb_barrier(
    state: Atoms, product: Array, landscape: Landscape, *, fmax: float = 0.01, images: int = _IMAGES
) -> float:
    """Return the barrier (eV) between a minimum and the product it leads to.

    `product` holds the displacements (N x 3, angstrom). `images` lie between the ends, first
    on the path of the image-dependent pair potential; the highest climbs (Henkelman, Uberuaga
    and Jonsson, J. Chem. Phys. 113, 9901, 2000). Knows nothing of the saddle that a search
    found. Raises LostSearchError where it does not converge.
    """
    start: Atoms = state.copy()
    end: Atoms = state.copy()
    end.positions = state.positions + product
    chain = [start] + [start.copy() for _ in range(images)] + [end]
    band = NEB(chain, climb=True, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate(method="idpp", mic=True)
    for image in chain:
        image.calc = landscape.attached(image).calc
    with FIRE(band, logfile=None) as optimiser:
        if not optimiser.run(fmax=fmax, steps=_MAX_STEPS):
            raise LostSearchError(f"the elastic band did not converge within {_MAX_STEPS} steps")
    energies = [float(image.get_potential_energy()) for image in chain]
    return max(energies) - energies[0]
