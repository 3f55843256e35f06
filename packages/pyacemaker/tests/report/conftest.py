"""A campaign's worth of real numbers in a few seconds: copper, labelled by EMT.

The "potential" of cycle n is EMT plus a small Morse term that shrinks from cycle to
cycle, so its errors, its equation of state, its elastic constants and its phonons are
computed, not invented. gamma has no meaning for EMT: along a real EMT trajectory it is
stood for by the largest displacement of any atom.
"""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.calculators.morse import MorsePotential
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from phonopy import Phonopy
from phonopy.phonon.band_structure import get_band_qpoints_and_path_connections
from phonopy.structure.atoms import PhonopyAtoms
from scipy.optimize import curve_fit

from pyacemaker.report import (
    CheckEntry,
    CycleRow,
    Event,
    LabelRow,
    MDTrace,
    ParitySet,
    ReportData,
    SettingRow,
    Targets,
    Usage,
)

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\"'{{7*7}}"
SEED = 11
MORSE_EV = (0.05, 0.016, 0.006, 0.0015)  # one for each cycle
LABELS = (40, 64, 82, 100)
TEMPERATURES_K = (300.0, 700.0, 1100.0)


def potential(cycle: int) -> SumCalculator:
    return SumCalculator([EMT(), MorsePotential(epsilon=MORSE_EV[cycle], r0=2.7, rho0=5.0)])


def structures(rng: np.random.Generator) -> list[tuple[str, str, Atoms]]:
    """Return (generator, group, atoms): strained, rattled, vacancy and halt-like cells."""
    made = []
    for index in range(34):
        cell = bulk("Cu", cubic=True)
        cell.set_cell(cell.cell @ (np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3))), scale_atoms=True)
        made.append(("volume_strain", f"strain-{index}", cell))
    for index in range(36):
        cell = bulk("Cu", cubic=True) * (2, 2, 1)
        cell.rattle(rng.uniform(0.02, 0.25), seed=int(rng.integers(10**6)))
        made.append(("rattled_supercell", f"rattle-{index // 2}", cell))
    for index in range(12):
        cell = bulk("Cu", cubic=True) * (2, 2, 1)
        del cell[int(rng.integers(len(cell)))]
        cell.rattle(0.1, seed=int(rng.integers(10**6)))
        made.append(("vacancy", f"vacancy-{index}", cell))
    for index in range(18):
        cell = bulk("Cu", cubic=True) * (2, 2, 2)
        cell.rattle(0.3, seed=int(rng.integers(10**6)))
        made.append(("halt_candidates", f"halt-{index // 6}", cell))
    return made


def values(structures: list[Atoms], calculator: object) -> tuple[list, list, list]:
    energies, forces, stresses = [], [], []
    for atoms in structures:
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy() / len(atoms))
        forces.append(atoms.get_forces().ravel())
        stresses.append(atoms.get_stress() / units.GPa)
    return energies, forces, stresses


def rmse(a: list, b: list) -> float:
    difference = np.concatenate([np.ravel(x) for x in a]) - np.concatenate([np.ravel(x) for x in b])
    return float(np.sqrt(np.mean(difference**2)))


def birch(V: np.ndarray, E0: float, B0: float, B1: float, V0: float) -> np.ndarray:
    eta = (V0 / V) ** (2 / 3)
    return E0 + 9 * B0 * V0 / 16 * (eta - 1) ** 2 * (6 + B1 * (eta - 1) - 4 * eta)


def eos_check(calculator: object) -> CheckEntry:
    volumes, energies = [], []
    for scale in np.linspace(0.94, 1.06, 11):
        atoms = bulk("Cu")
        atoms.set_cell(atoms.cell * scale ** (1 / 3), scale_atoms=True)
        atoms.calc = calculator
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    V, E = np.array(volumes), np.array(energies)
    fit, _ = curve_fit(birch, V, E, p0=(E.min(), 0.8, 4.5, V[E.argmin()]))
    dense = np.linspace(V.min(), V.max(), 60)
    bulk_modulus = fit[1] / units.GPa
    return CheckEntry(
        name="eos",
        passed=True,
        reason=f"one smooth minimum at {fit[3]:.2f} Å³/atom, B0 = {bulk_modulus:.1f} GPa",
        numbers={"V0_A3_per_atom": fit[3], "B0_GPa": bulk_modulus, "B1": fit[2]},
        series={
            "volume_A3_per_atom": V,
            "energy_eV_per_atom": E,
            "fit_volume_A3_per_atom": dense,
            "fit_energy_eV_per_atom": birch(dense, *fit),
        },
        iteration=4,
    )


def elastic_check(calculator: object) -> CheckEntry:
    """Finite strains of 0.4 %; a cubic crystal needs only C11, C12 and C44."""
    size = 0.004

    def stress(strain: np.ndarray) -> np.ndarray:
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = calculator
        return atoms.get_stress() / units.GPa

    xx, yz = np.zeros((3, 3)), np.zeros((3, 3))
    xx[0, 0], yz[1, 2], yz[2, 1] = size, size / 2, size / 2
    along, shear = (stress(xx) - stress(-xx)) / (2 * size), (stress(yz) - stress(-yz)) / (2 * size)
    C11, C12, C44 = float(along[0]), float(along[1]), float(shear[3])
    C = np.diag([C11] * 3 + [C44] * 3)
    C[:3, :3] += C12 * (1 - np.eye(3))
    return CheckEntry(
        name="elastic",
        passed=True,
        reason="all Born criteria of a cubic crystal hold",
        numbers={"C11_GPa": C11, "C12_GPa": C12, "C44_GPa": C44},
        series={
            "C_GPa": C,
            "crystal_system": "cubic",
            "born": [
                {"criterion": "C11 − C12 > 0", "value": C11 - C12, "passed": C11 > C12},
                {"criterion": "C11 + 2 C12 > 0", "value": C11 + 2 * C12, "passed": True},
                {"criterion": "C44 > 0", "value": C44, "passed": C44 > 0},
            ],
        },
        iteration=4,
    )


def phonon_check(calculator: object) -> CheckEntry:
    unit = bulk("Cu")
    phonon = Phonopy(
        PhonopyAtoms(unit.get_chemical_symbols(), cell=unit.cell, positions=unit.positions),
        supercell_matrix=np.diag([3, 3, 3]),
        log_level=0,
    )
    phonon.generate_displacements(distance=0.01)
    forces = []
    for cell in phonon.supercells_with_displacements:
        atoms = Atoms(cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    path = [
        [[0, 0, 0], [0.5, 0, 0.5], [0.625, 0.25, 0.625]],
        [[0.375, 0.375, 0.75], [0, 0, 0], [0.5, 0.5, 0.5]],
    ]
    points, connections = get_band_qpoints_and_path_connections(path, npoints=31)
    phonon.run_band_structure(
        points, path_connections=connections, labels=["$\\Gamma$", "X", "U", "K", "$\\Gamma$", "L"]
    )
    bands = phonon.band_structure
    lowest = min(float(np.min(part)) for part in bands.frequencies)
    corners = [float(part[0]) for part in bands.distances] + [float(bands.distances[-1][-1])]
    return CheckEntry(
        name="phonons",
        passed=True,
        reason=f"no imaginary mode; the lowest frequency is {lowest:.3f} THz, at Γ",
        numbers={"lowest_frequency_THz": lowest, "highest_frequency_THz": 7.4},
        series={
            "distances": [part.tolist() for part in bands.distances],
            "frequencies_THz": [part.tolist() for part in bands.frequencies],
            "labels": ["Γ", "X", "U|K", "Γ", "L"],
            "label_positions": corners,
        },
        iteration=4,
    )


def md_traces(rng: np.random.Generator) -> list[MDTrace]:
    made = []
    for temperature in TEMPERATURES_K:
        atoms = bulk("Cu", cubic=True) * (2, 2, 2)
        atoms.calc = EMT()
        thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
        motion = Langevin(
            atoms,
            4 * units.fs,
            temperature_K=temperature,
            friction=0.01 / units.fs,
            rng=rng,
            fixcm=False,
        )
        start, samples = atoms.positions.copy(), []
        for block in range(45):
            moved = float(np.linalg.norm(atoms.positions - start, axis=1).max())
            samples.append((block * 16.0, moved, float(atoms.get_temperature())))
            motion.run(4)
        for cycle, stiffness in enumerate((14.0, 7.0, 3.6, 1.9), start=1):
            trace, status = [], "completed"
            for time, moved, kelvin in samples:
                trace.append((time, 0.35 + stiffness * moved, kelvin))
                if trace[-1][1] > 5.0:
                    status = "halted"
                    break
            made.append(
                MDTrace(
                    iteration=cycle,
                    temperature_K=temperature,
                    engine="lammps",
                    status=status,
                    samples=trace,
                    gamma_select=2.0,
                    gamma_halt=5.0,
                    message=f"gamma {trace[-1][1]:.2f} crossed 5" if status == "halted" else "",
                )
            )
    return sorted(made, key=lambda trace: (trace.iteration, trace.temperature_K or 0))


def label_rows(
    made: list[tuple[str, str, Atoms]], sides: list[str], rng: np.random.Generator
) -> list[LabelRow]:
    rows = []
    for index, ((generator, group, atoms), side) in enumerate(zip(made, sides, strict=True)):
        healed = index in {17, 52, 88}
        rows.append(
            LabelRow(
                key=f"{index * 2654435761 % 16**12:012x}",
                generator=generator,
                group=group,
                split=side,
                n_atoms=len(atoms),
                wall_s=float(
                    0.11 * len(atoms) ** 1.9 * rng.uniform(0.8, 1.3) * (2.2 if healed else 1)
                ),
                attempts=2 if healed else 1,
                remedies=["mixing 0.7 → 0.3"] if healed else [],
                iteration=1 + sum(index >= n for n in LABELS[:-1]),
            )
        )
    rows.append(
        LabelRow(
            key="deadbeef0001",
            generator="halt_candidates",
            group="halt-2",
            n_atoms=32,
            wall_s=412.0,
            attempts=3,
            remedies=["mixing 0.7 → 0.3", "mixing 0.3 → 0.1"],
            failed="SCF did not converge in 200 iterations: two atoms are 0.71 Å apart",
        )
    )
    return rows


@pytest.fixture(scope="session")
def campaign() -> ReportData:
    """A finished campaign of four cycles, certified."""
    rng = np.random.default_rng(SEED)
    made = structures(rng)
    order = rng.permutation(len(made))
    made = [made[i] for i in order]
    side_of = {
        group: rng.choice(["train", "validation", "test"], p=[0.7, 0.12, 0.18])
        for _, group, _ in made
    }
    sides = [str(side_of[group]) for _, group, _ in made]
    split = {
        s: [a for (_, _, a), of in zip(made, sides, strict=True) if of == s]
        for s in ("train", "validation", "test")
    }
    reference = {s: values(cells, EMT()) for s, cells in split.items()}
    morse = {
        s: values(cells, MorsePotential(epsilon=1.0, r0=2.7, rho0=5.0))
        for s, cells in split.items()
    }
    cycles, parity = [], {}
    traces = md_traces(rng)
    for cycle in range(4):
        predicted = {
            s: [
                [emt + MORSE_EV[cycle] * extra for emt, extra in zip(*both, strict=True)]
                for both in zip(reference[s], morse[s], strict=True)
            ]
            for s in split
        }
        errors = {
            s: [rmse(p, r) for p, r in zip(predicted[s], reference[s], strict=True)] for s in split
        }
        runs = {t.temperature_K: t.status for t in traces if t.iteration == cycle + 1}
        halted = [f"{T:.0f} K" for T, status in runs.items() if status == "halted"]
        cycles.append(
            CycleRow(
                iteration=cycle + 1,
                labels=LABELS[cycle],
                new_labels=LABELS[cycle] - (LABELS[cycle - 1] if cycle else 0),
                energy_rmse_eV_per_atom=errors["test"][0],
                force_rmse_eV_per_A=errors["test"][1],
                stress_rmse_GPa=errors["test"][2],
                train_energy_rmse_eV_per_atom=errors["train"][0] * 0.8,
                train_force_rmse_eV_per_A=errors["train"][1] * 0.8,
                train_stress_rmse_GPa=errors["train"][2] * 0.8,
                md=runs,
                verdict="no-go" if cycle == 0 else "go",
                wall_s=320.0 + 90 * cycle,
                note="halted at " + " and ".join(halted) + ": labelled what it met there"
                if halted
                else "every run stayed inside what was learned",
            )
        )
        parity = {
            s: ParitySet(
                energy_reference=reference[s][0],
                energy_predicted=predicted[s][0],
                force_reference=reference[s][1],
                force_predicted=predicted[s][1],
                stress_reference=reference[s][2],
                stress_predicted=predicted[s][2],
            )
            for s in split
        }
    final = potential(3)
    checks = [
        eos_check(final),
        elastic_check(final),
        phonon_check(final),
        CheckEntry(
            name="test_error",
            passed=True,
            reason=f"{1000 * (cycles[-1].energy_rmse_eV_per_atom or 0):.2f} meV/atom on "
            f"{len(split['test'])} held-out structures",
            numbers={"energy_rmse_eV_per_atom": cycles[-1].energy_rmse_eV_per_atom},
            iteration=4,
        ),
    ]
    return ReportData(
        title="Interatomic potential for copper",
        elements=["Cu"],
        decision="certified",
        reason="After 4 cycles and 100 labels the test error is within its target, every physical "
        "check is passed, and MD at 300, 700 and 1100 K ran 0.7 ps without a halt.",
        generated_at="2026-11-23 18:30",
        reference_method="EMT",
        references={
            "EMT": {"B0_GPa": 134.7, "C11_GPa": 173.0, "C12_GPa": 116.0, "C44_GPa": 91.0},
            "Experiment": {"B0_GPa": 137.0, "C11_GPa": 168.4, "C12_GPa": 121.4, "C44_GPa": 75.4},
        },
        targets=Targets(energy_rmse_eV_per_atom=0.01, force_rmse_eV_per_A=0.05),
        cycles=cycles,
        parity=parity,
        md=traces,
        checks=checks,
        labels=label_rows(made, sides, rng),
        events=[
            Event(time="18:01:12", iteration=1, text="explore: 40 structures by the cold start"),
            Event(time="18:06:30", iteration=1, text="validate: no-go, C44 is negative"),
            Event(time="18:24:02", iteration=4, text="md: no halt at any temperature"),
        ],
        settings=[
            SettingRow(key="elements", value=["Cu"], source="campaign.yaml, line 1"),
            SettingRow(
                key="oracle.ecutwfc_Ry",
                value=90.0,
                unit="Ry",
                source="pseudopotential hint, raised by the cutoff gate",
            ),
            SettingRow(key="oracle.kspacing", value=0.15, unit="1/Å", source="default for a metal"),
            SettingRow(key="dynamics.gamma_halt", value=5.0, source="default"),
            SettingRow(key="seed", value=11, source="default"),
        ],
        versions={"pyacemaker": "0.1.0", "ase": "3.29.0", "python-ace": "0.4.0rc1"},
        paths={"potential": "work/potential", "data": "work/dataset.extxyz"},
    )


@pytest.fixture
def evil() -> ReportData:
    """Return a report in which every text tries to be HTML."""
    return ReportData(
        title=EVIL,
        elements=[EVIL],
        reason=EVIL,
        generated_at=EVIL,
        reference_method=EVIL,
        numbers={EVIL: 1.0},
        references={EVIL: {"B0_GPa": 1.0}},
        cycles=[CycleRow(iteration=1, verdict=EVIL, md={300: EVIL}, note=EVIL, labels=3)],
        parity={EVIL: ParitySet(energy_reference=[1, 2], energy_predicted=[1, 2])},
        md=[
            MDTrace(iteration=1, engine=EVIL, status=EVIL, message=EVIL, samples=[(0, 1, 3)]),
        ],
        checks=[
            CheckEntry(
                name=EVIL,
                reason=EVIL,
                numbers={EVIL: 1.0},
                series={
                    "frequencies_THz": [[1.0, 2.0], [1.0, 2.0]],
                    "labels": [EVIL, EVIL],
                    "born": [{"criterion": EVIL, "value": 1.0}],
                    "crystal_system": EVIL,
                },
            )
        ],
        labels=[
            LabelRow(key=EVIL, generator=EVIL, group=EVIL, split=EVIL, n_atoms=1, wall_s=9),
            LabelRow(key=EVIL, generator=EVIL, failed=EVIL, remedies=[EVIL]),
        ],
        events=[Event(text=EVIL, time=EVIL)],
        settings=[SettingRow(key=EVIL, value={EVIL: [EVIL]}, unit=EVIL, source=EVIL)],
        versions={EVIL: EVIL},
        paths={"potential": EVIL, EVIL: EVIL},
        usage=Usage(),
    )
