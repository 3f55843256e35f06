"""A potential on disk: written whole, verified when it is read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from ase import Atoms
from numpy.typing import NDArray

import pyacemaker
from pyacemaker.files import sha256_of, sync_folder
from pyacemaker.potential.lammps import include_snippet, pair_commands
from pyacemaker.potential.manifest import (
    ACTIVE_SET,
    BASIS,
    FILES,
    FILES_OF,
    MANIFEST,
    POSTERIOR,
    PRODUCT_FORM,
    SNIPPET,
    Manifest,
    PotentialError,
)
from pyacemaker.potential.posterior import Posterior

if TYPE_CHECKING:
    from pyace.basis import ACEBBasisSet, BBasisConfiguration

    from pyacemaker.potential.calculator import HybridCalculator
    from pyacemaker.trainer.baseline import ZblBaseline
    from rootstock.environments.esper_env import GrownCalculator


@dataclass(frozen=True)
class Potential:
    """A verified potential directory. Make one with `Potential.load`."""

    directory: Path
    manifest: Manifest

    @classmethod
    def load(cls, directory: Path | str) -> Potential:
        """Read `directory` and verify every file's checksum.

        Raises PotentialError naming the file that is missing or broken.
        """
        directory = Path(directory)
        manifest = Manifest.read(directory / MANIFEST)
        for name in FILES_OF[manifest.form]:
            if name not in manifest.files:
                raise PotentialError(f"{directory / MANIFEST} does not name {name}")
        for name, stated in manifest.files.items():
            path = directory / name
            if not path.is_file():
                raise PotentialError(f"{path} is missing: the potential is not whole")
            if sha256_of(path) != stated:
                raise PotentialError(
                    f"{path} is broken: its SHA-256 is not the one {MANIFEST} gives for it"
                )
        return cls(directory, manifest)

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements it knows, in alphabetical order."""
        return self.manifest.elements

    def calculator(self) -> HybridCalculator | GrownCalculator:
        """Return an ASE calculator on the labels' energy scale, with gamma in its results."""
        from pyacemaker.potential.calculator import HybridCalculator
        from rootstock.environments.esper_env import GrownCalculator, read_directory

        if self.manifest.form == "esper":
            return GrownCalculator(read_directory(self.directory))
        return HybridCalculator(
            self.directory / BASIS,
            self.directory / ACTIVE_SET,
            self.manifest.reference_energies_eV,
            self.manifest.zbl(),
            self.directory / POSTERIOR if POSTERIOR in self.manifest.files else None,
        )

    def reference_energy(self, atoms: Atoms) -> float:
        """Return the sum of the isolated atoms' energies in `atoms` (eV).

        LAMMPS with the .yaml (`lammps_commands(gamma=True)`) gives energies without it.
        """
        from pyacemaker.potential.environment import check_elements

        symbols = atoms.get_chemical_symbols()
        check_elements(symbols, {e: i for i, e in enumerate(self.elements)})
        return float(sum(self.manifest.reference_energies_eV[s] for s in symbols))

    def lammps_commands(
        self, species: Sequence[str], *, gamma: bool, plugin_paths: Sequence[Path] = ()
    ) -> list[str]:
        """Return LAMMPS commands that define this potential (units metal).

        Parameters
        ----------
        species
            The element of each atom type, type 1 first; may be a subset of the elements.
        gamma
            True: `pace/extrapolation`, which gives gamma to `fix pair` and whose energies
            lack the isolated atoms' (`reference_energy`). False: the faster `pace`, with
            energies on the labels' scale.
        plugin_paths
            Shared objects that hold the pair styles, to be loaded first.
        """
        from pyacemaker.potential.environment import check_elements

        if self.manifest.form == "esper":
            raise PotentialError(
                f"{self.directory}: LAMMPS has no pair style for an esper potential; publish it "
                "and run it by rootstock (python -m rootstock.lammps), or by ASE"
            )
        if not species:
            raise PotentialError("LAMMPS needs at least one atom type")
        check_elements(list(species), {e: i for i, e in enumerate(self.elements)})
        files = [BASIS, ACTIVE_SET] if gamma else [PRODUCT_FORM]
        return pair_commands(
            species,
            self.manifest.zbl(),
            "pace/extrapolation" if gamma else "pace",
            [str((self.directory / name).resolve()) for name in files],
            plugin_paths,
        )


def write_potential(
    outdir: Path,
    *,
    basis: BBasisConfiguration | ACEBBasisSet,
    active_set_inverse: Mapping[str, NDArray[np.float64]],
    reference_energies: Mapping[str, float],
    baseline: ZblBaseline,
    fit: Mapping[str, Any],
    posterior: Posterior | None = None,
) -> Potential:
    """Write a potential directory whole and return it, loaded and verified.

    Parameters
    ----------
    outdir
        The directory to make; an earlier one of that name is replaced.
    basis
        The fitted B-basis of the residual (label - reference energies - baseline).
    active_set_inverse
        For each element the square inverse of its active set (see `trainer.active_set`).
    reference_energies
        Isolated atoms' energies (eV), at least one for each element of the basis.
    baseline
        What was subtracted before the fit.
    fit
        Plain JSON values that describe the fit; at least `kind`.
    posterior
        How sure the fit is of its coefficients, where it knows.

    Raises
    ------
    PotentialError
        If an element lacks its reference energy or active set, or coefficients are not finite.
    """
    from pyace.basis import ACEBBasisSet

    basis_set = basis if isinstance(basis, ACEBBasisSet) else ACEBBasisSet(basis)
    elements = tuple(basis_set.elements_name)
    _check_complete(elements, basis_set, active_set_inverse, reference_energies)
    outdir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=outdir.parent, prefix=f".{outdir.name}."))
    try:
        basis_set.save(str(staging / BASIS))
        with (staging / ACTIVE_SET).open("wb") as stream:
            arrays: dict[str, Any] = {e: np.asarray(active_set_inverse[e], float) for e in elements}
            np.savez(stream, **arrays)
        names = list(FILES)
        if posterior is not None:
            names.append(POSTERIOR)
            with (staging / POSTERIOR).open("wb") as stream:
                posterior.write(stream)
        basis_set.to_ACECTildeBasisSet().save_yaml(str(staging / PRODUCT_FORM))
        _set_reference_energies(
            staging / PRODUCT_FORM, [float(reference_energies[e]) for e in elements]
        )
        (staging / SNIPPET).write_text(include_snippet(elements, baseline, PRODUCT_FORM))
        manifest = Manifest(
            elements=elements,
            cutoff_A=float(basis_set.cutoffmax),
            reference_energies_eV={e: float(reference_energies[e]) for e in elements},
            baseline=baseline.to_json(),
            fit=dict(fit),
            files={name: sha256_of(staging / name) for name in names},
            made_with={
                "pyacemaker": pyacemaker.__version__,
                "python-ace": version("python-ace"),
            },
        )
        (staging / MANIFEST).write_text(manifest.to_text())
        _publish(staging, outdir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Potential.load(outdir)


def _check_complete(
    elements: tuple[str, ...],
    basis: ACEBBasisSet,
    active_set_inverse: Mapping[str, NDArray[np.float64]],
    reference_energies: Mapping[str, float],
) -> None:
    for element in elements:
        if element not in reference_energies:
            raise PotentialError(f"no isolated-atom energy for {element}")
        if not np.isfinite(reference_energies[element]):
            raise PotentialError(f"the isolated-atom energy of {element} is not finite")
        if element not in active_set_inverse:
            raise PotentialError(f"no active set for {element}")
        if not np.isfinite(active_set_inverse[element]).all():
            raise PotentialError(f"the active set of {element} is not finite")
    if not np.isfinite(np.asarray(basis.all_coeffs)).all():
        raise PotentialError("the fit's coefficients are not finite")


def _set_reference_energies(yace: Path, energies: list[float]) -> None:
    """Put the isolated atoms' energies (eV) into the header of a .yace file.

    Only the one line is touched: a YAML round trip would rewrite thousands of numbers.
    """
    lines = yace.read_text().splitlines(keepends=True)
    headers = [n for n, line in enumerate(lines) if line.startswith("E0:")]
    if len(headers) != 1 or len(yaml.safe_load(lines[headers[0]])["E0"]) != len(energies):
        raise PotentialError(f"{yace.name}: pyace wrote a header this version does not know")
    lines[headers[0]] = f"E0: [{', '.join(repr(e) for e in energies)}]\n"
    yace.write_text("".join(lines))


def _publish(staging: Path, outdir: Path) -> None:
    for path in staging.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    umask = os.umask(0)
    os.umask(umask)
    staging.chmod(0o777 & ~umask)  # mkdtemp makes it 0700
    sync_folder(staging)
    if outdir.exists():
        # A folder cannot be renamed over one that holds files: the old one steps aside first.
        aside = Path(tempfile.mkdtemp(dir=outdir.parent, prefix=f".{outdir.name}.old."))
        outdir.rename(aside / outdir.name)
        staging.rename(outdir)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        staging.rename(outdir)
    sync_folder(outdir.parent)
