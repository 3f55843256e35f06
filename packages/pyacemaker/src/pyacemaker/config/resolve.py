"""From what the user wrote to what the campaign runs with, and where each number came from."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

from pyacemaker.config import defaults
from pyacemaker.config.choices import Choices, Entry, Kind
from pyacemaker.config.models import Config, Section
from pyacemaker.config.oracle_choice import absolute, imported_sets, oracle_code, resolve_oracle
from pyacemaker.config.physics import Constant, Ruled
from pyacemaker.config.settings import (
    BudgetSettings,
    CampaignSettings,
    ConvergenceSettings,
    DynamicsSettings,
    GeneratorSettings,
    SelectionSettings,
    StructureSettings,
)
from pyacemaker.config.structure import resolve_structure
from pyacemaker.config.walk import resolve_walk
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.phases import candidate_phases
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.settings import ValidationSettings

_MD_PS = 20.0
_GAMMA_WHY = (
    "a linear potential interpolates below 1; 2 to 10 is the range of reliable extrapolation in "
    "use since MLIP-2 (Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002, 2021)"
)


@dataclass(frozen=True)
class Resolved:
    """The settings of a campaign, and an entry for every value of them."""

    settings: CampaignSettings
    entries: tuple[Entry, ...]

    def entry(self, key: str) -> Entry:
        """Return the entry of a dotted key; raises KeyError."""
        for found in self.entries:
            if found.key == key:
                return found
        raise KeyError(key)


def resolve(config: Config, base_dir: Path | None = None) -> Resolved:
    """Decide every value of a campaign.

    Parameters
    ----------
    config
        What the user wrote.
    base_dir
        Folder that relative paths start from; default: that of the configuration file, or
        the current one.

    Raises
    ------
    ConfigError
        Where values do not go together or a named file does not; one line each.
    """
    choices = Choices(config)
    if base_dir is None:
        base_dir = Path(choices.origin.file).parent if choices.origin.file else Path()
    elements = tuple(config.elements)
    choices.note(("elements",), elements, "user", "the chemical elements of the potential")
    budget_section: Any = config.budget
    max_atoms = budget_section.max_atoms or defaults.label_atoms(oracle_code(config)).value
    structure, formula = _structure(choices, base_dir, max_atoms)
    compositions = _compositions(choices, structure)
    temperatures = _temperatures(choices, formula)
    oracle = resolve_oracle(choices, base_dir)
    generator = choices.fill("generator", GeneratorSettings, {}, replaced=_root(config, base_dir))
    trainer = choices.fill(
        "trainer",
        TrainerSettings,
        {
            "cutoff_A": defaults.cutoff(elements),
            "functions_per_element": defaults.functions_per_element(elements),
        },
        replaced=_imported_potential(config, base_dir),
    )
    dynamics = _dynamics(choices, temperatures, oracle.code)
    kmc, kmc_start = resolve_walk(choices, base_dir, dynamics)
    validation = choices.fill(
        "validation",
        ValidationSettings,
        {
            "max_atoms": defaults.failure_atoms(oracle.code),
            "test_energy_window_eV_per_atom": defaults.test_window(temperatures),
        },
    )
    convergence = choices.fill(
        "validation",
        ConvergenceSettings,
        {},
        fixed={
            "energy_rmse_eV_per_atom": validation.test_energy_rmse_eV_per_atom,
            "force_rmse_eV_per_A": validation.test_force_rmse_eV_per_A,
            "md_ps": dynamics.md_ps,
        },
    )
    budget = choices.fill(
        "budget", BudgetSettings, {"labels": defaults.labels(elements, oracle.code)}
    )
    selection = _selection(choices, elements, oracle.code, budget.labels)
    settings = CampaignSettings(
        elements=elements,
        structure=structure,
        compositions=compositions,
        oracle=oracle,
        generator=generator,
        imported=imported_sets(choices),
        trainer=trainer,
        selection=selection,
        dynamics=dynamics,
        kmc=kmc,
        kmc_start=kmc_start,
        validation=validation,
        convergence=convergence,
        budget=budget,
        seed=_top(choices, "seed", 1, "the same seed gives the same campaign"),
        workers=choices.take(
            ("workers",), config.workers, defaults.workers(), "labels computed at the same time"
        ),
        execution=_execution(choices),
    )
    return Resolved(settings, tuple(choices.entries))


def _imported_potential(config: Config, base_dir: Path) -> dict[str, str]:
    """Return the absolute path of the potential that is named, if one is."""
    section: Any = config.trainer
    if section.potential is None:
        return {}
    return {"potential": str(absolute(section.potential, base_dir))}


def _execution(choices: Choices) -> ExecutionSettings:
    section: Any = choices.config.execution
    if (section.kind or "local") == "slurm":
        return choices.fill("execution", ExecutionSettings, {})
    if idle := sorted(section.model_fields_set - {"kind"}):
        raise choices.refuse(
            ("execution", idle[0]), "is for jobs of a SLURM cluster; write `kind: slurm` too"
        )
    why = "labels and trajectories run on this machine; slurm: as jobs of a SLURM cluster"
    kind: Kind = "default" if section.kind is None else "user"
    choices.note(("execution", "kind"), "local", kind, why)
    return ExecutionSettings()


def _root(config: Config, base_dir: Path) -> dict[str, str]:
    """Return the absolute path of the rootstock root that is named, if one is."""
    section: Any = config.generator
    if section.root is None:
        return {}
    return {"root": str(absolute(section.root, base_dir))}


def _top(choices: Choices, key: str, default: Any, words: str) -> Any:
    given = getattr(choices.config, key)
    value = default if given is None else given
    choices.note((key,), value, "default" if given is None else "user", words)
    return value


def _structure(
    choices: Choices, base_dir: Path, max_atoms: int
) -> tuple[StructureSettings, dict[str, int] | None]:
    given = choices.config.structure
    try:
        found = resolve_structure(given, choices.config.elements, base_dir, max_atoms)
    except ValueError as error:
        raise choices.refuse(("structure",), str(error)) from None
    shown = found.value.name
    choices.note(("structure",), shown, "user" if given else "physics", found.why)
    symbols = found.value.symbols
    counts = {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}
    formula = {symbol: count // gcd(*counts.values()) for symbol, count in counts.items()}
    return found.value, formula if set(formula) == set(choices.config.elements) else None


def _compositions(choices: Choices, structure: StructureSettings) -> tuple[str, ...]:
    """Return the formulas given; refuse what is none, or has nothing to choose."""
    given = choices.config.compositions
    if len(choices.config.elements) == 1 and not given:
        return ()
    if given and structure.kind != "reference":
        raise choices.refuse(
            ("compositions",),
            "has no effect where 'structure' names the crystal: leave one of the two out",
        )
    try:
        candidate_phases(choices.config.elements, 1, given or ())
    except GeneratorError as error:
        raise choices.refuse(("compositions",), str(error)) from None
    searched = structure.kind == "reference"
    why = (
        "the oracle's own energies choose the stable phases among prototypes of these compounds"
        if searched
        else "the crystal is named, nothing is searched"
    )
    choices.note(("compositions",), tuple(given or ()), "user" if given else "default", why)
    return tuple(given or ())


def _temperatures(choices: Choices, formula: dict[str, int] | None) -> tuple[float, ...]:
    given = choices.config.temperatures_K
    words = "temperatures the potential must hold at without a halt"
    if given:
        values = tuple(sorted(given))
        choices.note(("temperatures_K",), values, "user", words)
        return values
    try:
        rule = defaults.temperatures(choices.config.elements, formula)
    except ValueError as error:
        raise choices.refuse(
            ("temperatures_K",), f"is required here: {error}; give it, such as [300, 600]"
        ) from None
    choices.note(("temperatures_K",), rule.value, "physics", rule.why)
    return rule.value


def _dynamics(choices: Choices, temperatures: tuple[float, ...], code: str) -> DynamicsSettings:
    rules: dict[str, Ruled[Any]] = {
        "md_ps": Constant(_MD_PS, "hundreds of vibrations and many rare moves at the highest one"),
        "timestep_fs": defaults.timestep_fs(choices.config.elements),
        "check_every": Constant(
            10, "gamma grows over tens of steps; a look costs a hundredth of one"
        ),
        "atoms": defaults.md_atoms(code),
        "gamma_select": Constant(2.0, _GAMMA_WHY),
        "gamma_halt": Constant(10.0, _GAMMA_WHY),
    }
    given = choices.config.dynamics
    chosen = {key: getattr(given, key, None) for key in ("gamma_select", "gamma_halt")}
    if any(value is not None for value in chosen.values()):
        rules["gamma_from"] = Ruled("settings", "a threshold is given by the user")
    # One threshold given keeps its usual distance from the other.
    if (halt := chosen["gamma_halt"]) is not None and halt <= 2.0:
        rules["gamma_select"] = Ruled(
            max(1.0, round((1 + halt) / 2, 3)), "half way from 1 to gamma_halt"
        )
    if (select := chosen["gamma_select"]) is not None and select >= 10.0:
        rules["gamma_halt"] = Ruled(5 * select, "five times gamma_select")
    return choices.fill("dynamics", DynamicsSettings, rules, fixed={"temperatures_K": temperatures})


def _selection(
    choices: Choices, elements: tuple[str, ...], code: str, labels: int
) -> SelectionSettings:
    selection = choices.fill(
        "budget",
        SelectionSettings,
        {
            "initial_labels": defaults.initial_labels(elements),
            "labels_per_iteration": defaults.labels_per_iteration(elements),
            "max_atoms": defaults.label_atoms(code),
        },
    )
    given: Section = choices.config.budget
    if selection.initial_labels > labels and "initial_labels" in given.model_fields_set:
        raise choices.refuse(
            ("budget", "initial_labels"),
            f"{selection.initial_labels} labels to start with are more than the budget of {labels}",
        )
    return selection
