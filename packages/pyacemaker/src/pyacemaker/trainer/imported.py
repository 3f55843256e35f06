"""A potential that was fitted elsewhere: nothing is fitted, gamma is made from the labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from pyace.basis import ACEBBasisSet, BBasisConfiguration

from pyacemaker.files import sha256_of
from pyacemaker.potential.directory import Potential
from pyacemaker.potential.lifting import lifted
from pyacemaker.potential.manifest import BASIS, MANIFEST, PotentialError
from pyacemaker.trainer.active_set import active_sets_of_structures
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.basis import functions_by_element
from pyacemaker.trainer.finish import finished
from pyacemaker.trainer.settings import TrainerSettings


@dataclass(frozen=True)
class Imported:
    """A potential from a file; `reference_energies` (eV) is None where it has none of its own."""

    basis: ACEBBasisSet
    reference_energies: dict[str, float] | None
    baseline: ZblBaseline
    kind: str


class ImportedTrainer:
    """Hands out the potential of the settings' file, with an active set from the labels.

    A `.yace` is brought back to the B-basis first (see `potential.lifting`), so that LAMMPS gives
    gamma. Its energies of isolated atoms are the file's own; where the file has none (all
    zero), those of the labels. A potential directory brings its baseline along; to other files
    none is added.
    """

    name = "imported"

    def __init__(self, settings: TrainerSettings) -> None:
        self.settings = settings

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Write the potential; see `trainer.base.Trainer`. Nothing random, no parent."""
        del rng, parent
        started = time.monotonic()
        if not train:
            raise TrainerError("the training set is empty: gamma needs labelled structures")
        path = Path(self.settings.potential or "")
        imported = read_potential(path)
        elements = list(imported.basis.elements_name)
        missing = sorted(set(reference_energies) - set(elements))
        if missing:
            raise TrainerError(
                f"{path} does not know {', '.join(missing)}: it is for {', '.join(elements)}"
            )
        own = imported.reference_energies
        unknown = sorted(set(elements) - set(own or reference_energies))
        if unknown:
            raise TrainerError(
                f"{path} is also for {', '.join(unknown)} and gives no isolated-atom energies: "
                "name these elements in the configuration too"
            )
        try:
            sets = active_sets_of_structures(imported.basis, train)
        except PotentialError as error:
            raise TrainerError(f"{path}: {error}") from error
        return finished(
            outdir,
            imported.basis,
            sets,
            own or reference_energies,
            imported.baseline,
            {
                "kind": self.name,
                "settings": self.settings.model_dump(mode="json", exclude={"potential"}),
                "file": path.name,
                "form": imported.kind,
                "sha256": sha256_of(path / MANIFEST if path.is_dir() else path),
                "functions": functions_by_element(imported.basis),
            },
            train,
            validation,
            started,
        )


def read_potential(path: Path) -> Imported:
    """Read a potential directory, a B-basis (.yaml) or a C-tilde potential (.yace).

    Raises TrainerError naming the file and what is wrong with it.
    """
    try:
        if path.is_dir():
            potential = Potential.load(path)
            return Imported(
                ACEBBasisSet(str(path / BASIS)),
                dict(potential.manifest.reference_energies_eV),
                potential.manifest.zbl(),
                "potential directory",
            )
        if not path.is_file():
            raise TrainerError(f"{path}: there is no such potential")
        if path.suffix == ".yace":
            found = lifted(path)
            return Imported(found.basis, found.reference_energies, ZblBaseline(()), "yace")
        if path.suffix in {".yaml", ".yml"}:
            config = BBasisConfiguration(str(path))
            return Imported(ACEBBasisSet(config), None, ZblBaseline(()), "yaml")
    except PotentialError as error:
        raise TrainerError(str(error)) from error
    except RuntimeError as error:
        if isinstance(error, TrainerError):
            raise
        raise TrainerError(f"{path}: not a potential pyace can read: {error}") from error
    raise TrainerError(f"{path}: a potential is a .yaml, a .yace or a directory of one")
