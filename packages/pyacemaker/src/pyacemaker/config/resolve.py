"""From what the user wrote to what the campaign runs with, and where each number came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from pyacemaker.config import defaults
from pyacemaker.config.load import ConfigError, unit_of
from pyacemaker.config.models import Config, Origin, Section
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
from pyacemaker.config.yaml_lines import KeyPath, Problem
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.settings import ValidationSettings

M = TypeVar("M", bound=BaseModel)

Kind = Literal["user", "physics", "default"]

_MD_PS = 20.0
_GAMMA_WHY = (
    "a linear potential interpolates below 1; 2 to 10 is the range of reliable extrapolation in "
    "use since MLIP-2 (Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002, 2021)"
)
_UNITS = {
    "budget.labels": "labels",
    "budget.hours": "h",
    "budget.initial_labels": "labels",
    "budget.labels_per_iteration": "labels",
    "budget.max_atoms": "atoms",
    "dynamics.atoms": "atoms",
    "dynamics.check_every": "MD steps",
    "workers": "processes",
}


@dataclass(frozen=True)
class Entry:
    """One resolved value and why it is what it is.

    `kind` is `user`, `physics` (a rule about the elements) or `default` (a constant);
    `source` says it for people: the file and line, or the kind. `unit` may be empty.
    """

    key: str
    value: Any
    unit: str
    kind: Kind
    source: str
    explanation: str


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


class Choices:
    """Takes each value from the user or from its rule, and writes down which."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.origin = config.origin or Origin("")
        self.entries: list[Entry] = []

    def refuse(self, path: KeyPath, message: str) -> ConfigError:
        """Return the error for a value at `path`, with its file and line."""
        key = ".".join(map(str, path))
        line = self.origin.line_of(path)
        return ConfigError(self.origin.file or "configuration", [Problem(line, key, message)])

    def note(self, path: KeyPath, value: Any, kind: Kind, why: str) -> None:
        """Add the entry of one value."""
        key = ".".join(map(str, path))
        source: str = kind
        if kind == "user":
            line = self.origin.line_of(path)
            source = f"{self.origin.file}:{line}" if line else "given"
        unit = _UNITS.get(key) or unit_of(key)
        self.entries.append(Entry(key, value, unit, kind, source, why))

    def take(self, path: KeyPath, given: Any, rule: Ruled[Any], why_user: str) -> Any:
        """Return `given`, or the rule's value if it is None."""
        if given is not None:
            self.note(path, given, "user", why_user)
            return given
        self.note(path, rule.value, "physics", rule.why)
        return rule.value

    def fill(
        self,
        name: str,
        model: type[M],
        rules: Mapping[str, Ruled[Any]],
        fixed: Mapping[str, Any] | None = None,
        replaced: Mapping[str, Any] | None = None,
    ) -> M:
        """Make `model` from the user's section `name`, then `rules`, then its own defaults.

        `fixed` are values that have no key in this section, `replaced` what the user's values
        mean (an absolute path for a relative one).
        """
        section: Section = getattr(self.config, name)
        values: dict[str, Any] = dict(fixed or {})
        for key, field in model.model_fields.items():
            if key in values:
                continue
            words = _sentence(field.description)
            given = getattr(section, key)
            if given is None and key in section.model_fields_set and _takes_none(field.annotation):
                self.note((name, key), None, "user", words)
                values[key] = None
            elif given is not None:
                self.note((name, key), given, "user", words)
                values[key] = given
            elif key in rules:
                rule = rules[key]
                kind: Kind = "default" if isinstance(rule, Constant) else "physics"
                self.note((name, key), rule.value, kind, rule.why)
                values[key] = rule.value
            else:
                value = field.get_default(call_default_factory=True)
                self.note((name, key), value, "default", words)
        return self.build(name, model, {**values, **(replaced or {})})

    def build(self, name: str, model: type[M], values: Mapping[str, Any]) -> M:
        """Return `model(**values)`; what it refuses is reported at the user's line."""
        try:
            return model(**values)
        except ValidationError as error:
            problems: list[Problem] = []
            for item in error.errors(include_url=False):
                message = str(item["msg"]).removeprefix("Value error, ")
                path: KeyPath = (name, *item["loc"][:1])
                if not item["loc"]:  # values that do not go together: point at one of the user's
                    section: Section = getattr(self.config, name)
                    named = [key for key in section.model_fields_set if key in message]
                    path = (name, min(named, key=message.index)) if named else path
                problems += self.refuse(path, message).problems
            raise ConfigError(self.origin.file or "configuration", problems) from None


def _takes_none(annotation: Any) -> bool:
    return "None" in str(annotation)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


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
    )
    dynamics = _dynamics(choices, temperatures, oracle.code)
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
        oracle=oracle,
        generator=generator,
        imported=imported_sets(choices),
        trainer=trainer,
        selection=selection,
        dynamics=dynamics,
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
