"""What a user may write, of which only `elements` is required.

The sections' keys are the settings of the parts themselves, every one optional: what is
left out is decided by `resolve` from the elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    create_model,
    field_validator,
)

from pyacemaker.config.nearest import SYMBOLS, nearest_symbol
from pyacemaker.config.settings import (
    BudgetSettings,
    ConvergenceSettings,
    DynamicsSettings,
    GeneratorSettings,
    SelectionSettings,
)
from pyacemaker.config.yaml_lines import KeyPath
from pyacemaker.dynamics.kmc.settings import KMCSettings
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.oracle.dft_settings import GPAWSettings, VASPSettings
from pyacemaker.oracle.settings import ASESettings, EspressoSettings, RootstockSettings
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.validator.settings import ValidationSettings

_FORMULA = re.compile(r"(?:[A-Z][a-z]?\d*\.?\d*)+")


@dataclass(frozen=True)
class Origin:
    """Where a configuration was read: the file's name as the user gave it, and each key's line."""

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line (from 1) of `path`, or of the nearest key above it."""
        for length in range(len(path), -1, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None


class Section(BaseModel):
    """A group of keys; unknown ones are refused, infinities and NaN too."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


def _tuple(value: Any) -> Any:
    """Take a list for the tuple it means, also where nothing else is converted."""
    return tuple(value) if isinstance(value, list) else value


def _words(value: Any) -> Any:
    """Take `chgnet` and `[chgnet, sevennet]` for the tuples they mean."""
    return _tuple([value] if isinstance(value, str) else value)


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a word that is written twice."""
    if twice := sorted({word for word in value if value.count(word) > 1}):
        raise ValueError(f"names {', '.join(twice)} twice")
    return value


def _section(
    name: str, doc: str, sources: Iterable[type[BaseModel]], without: Iterable[str] = (), **own: Any
) -> type[Section]:
    """Make a section of the fields of `sources`, each optional, with their bounds and words.

    Keys shared by two sources keep the first one's bounds. `own` are further fields.
    """
    fields: dict[str, Any] = {}
    for source in sources:
        for key, info in source.model_fields.items():
            if key in without or key in fields or key in own:
                continue
            bounded: Any = info.annotation
            if type(None) in get_args(bounded):
                left = [part for part in get_args(bounded) if part is not type(None)]
                bounded = left[0] if len(left) == 1 else bounded
            for bound in info.metadata:
                bounded = Annotated[bounded, bound]
            if "tuple" in str(info.annotation):
                bounded = Annotated[bounded, BeforeValidator(_tuple)]
            fields[key] = (bounded | None, Field(default=None, description=info.description))
    return create_model(name, __base__=Section, __doc__=doc, **fields, **own)


def _optional(kind: Any, description: str, **bounds: Any) -> Any:
    return (Annotated[kind, Field(**bounds)] | None, Field(default=None, description=description))


OracleSection = _section(
    "OracleSection",
    "Where labels come from: Quantum ESPRESSO, VASP, GPAW, a model of rootstock, or any ASE "
    "calculator.",
    [EspressoSettings, ASESettings, GPAWSettings, VASPSettings, RootstockSettings],
    without=["code"],
    code=_optional(
        str,
        "espresso (Quantum ESPRESSO), vasp, gpaw, rootstock (a model of a rootstock root, named "
        "by `model`) or ase (any ASE calculator, named by `calculator`).",
        pattern="^(espresso|vasp|gpaw|rootstock|ase)$",
    ),
    imported=_optional(
        list[str],
        "Data sets of `pyacemaker data import`, by name, to learn from as well; some of their "
        "structures are labelled again first, and must agree.",
        max_length=100,
    ),
    metallic=_optional(
        bool, "true or false: whether the material has a Fermi surface, against our guess."
    ),
)
GeneratorSection = _section(
    "GeneratorSection",
    "What makes candidates besides displacements, defects and prototypes.",
    [GeneratorSettings],
    without=["foundation"],
    foundation=(
        Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...],
            BeforeValidator(_words),
            AfterValidator(_each_once),
            Field(min_length=1, max_length=2),
        ]
        | None,
        Field(default=None, description=GeneratorSettings.model_fields["foundation"].description),
    ),
)
TrainerSection = _section("TrainerSection", "How the potential is fitted.", [TrainerSettings])
DynamicsSection = _section(
    "DynamicsSection",
    "Molecular dynamics under the watchdog on the extrapolation grade gamma.",
    [DynamicsSettings],
    without=["temperatures_K", "explorers"],
    explorers=(
        Annotated[
            tuple[Literal["md", "kmc"], ...],
            BeforeValidator(_words),
            AfterValidator(_each_once),
            Field(min_length=1),
        ]
        | None,
        Field(default=None, description=DynamicsSettings.model_fields["explorers"].description),
    ),
)
KMCSection = _section(
    "KMCSection",
    "Adaptive kinetic Monte Carlo, where dynamics is kmc.",
    [KMCSettings],
    structure=_optional(
        str,
        "A structure file that ASE reads, relative to this file: a slab with its adatom, a "
        "cluster, a defect; atoms that it holds fixed stay so. Default: the reference crystal "
        "with a vacancy.",
        min_length=1,
    ),
)
ValidationSection = _section(
    "ValidationSection",
    "The gates a potential has to pass, and the errors at which the campaign is done.",
    [ValidationSettings, ConvergenceSettings],
    without=["energy_rmse_eV_per_atom", "force_rmse_eV_per_A", "md_ps"],  # told once, elsewhere
)
BudgetSection = _section(
    "BudgetSection",
    "What the campaign may spend, and in what portions; it ends when the budget is used up.",
    [BudgetSettings, SelectionSettings],
)
ExecutionSection = _section(
    "ExecutionSection",
    "Where labels and trajectories are computed: this machine, or a SLURM cluster.",
    [ExecutionSettings],
)


def _elements(value: Any) -> Any:
    """Take `Si`, `Ti O` and `Ti, O` for the lists they mean."""
    if isinstance(value, str):
        parts = [part for part in re.split(r"[\s,;-]+", value.strip()) if part]
        return parts or value
    return value


def _temperatures(value: Any) -> Any:
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _dynamics(value: Any) -> Any:
    """Take `md`, `kmc` and `[md, kmc]` for the section they mean."""
    return {"explorers": value} if isinstance(value, str | list) else value


def _list(value: Any) -> Any:
    """Take `Cu3Au` and `CuAu, Cu3Au` for the lists they mean."""
    if isinstance(value, str):
        return [part for part in re.split(r"[\s,;]+", value.strip()) if part] or value
    return value


_Kelvin = Annotated[float, Field(gt=0, le=20_000)]
_Explorer = Literal["md", "kmc"]
_Explorers = _Explorer | list[_Explorer]
_LIST_OF_SYMBOLS = {
    "oneOf": [
        {
            "type": "array",
            "items": {"type": "string", "enum": list(SYMBOLS)},
            "minItems": 1,
            "uniqueItems": True,
        },
        {"type": "string", "description": "One element, or several with spaces or commas."},
    ]
}


class Config(Section):
    """A campaign as its user describes it. Smallest: ``elements: [Si]``."""

    elements: Annotated[
        list[str],
        BeforeValidator(_elements),
        WithJsonSchema(_LIST_OF_SYMBOLS),
        Field(
            min_length=1,
            max_length=len(SYMBOLS),
            description="Chemical symbols, for example [Ti, O].",
        ),
    ]
    structure: str | None = Field(
        default=None,
        min_length=1,
        description="The material's crystal: a structure file that ASE reads (relative to this "
        "file), a prototype such as diamond, fcc, rocksalt, a formula, or both: rutile TiO2. "
        "Default: the ground state expected of the elements.",
    )
    compositions: Annotated[list[str] | None, BeforeValidator(_list)] = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Formulas such as [CuAu, Cu3Au] of the compounds among which the oracle's own "
        "energies choose the stable phases, where no structure is named. Default: between metals "
        "the whole range, with a nonmetal the charge-neutral formula.",
    )
    temperatures_K: Annotated[
        list[_Kelvin] | None,
        BeforeValidator(_temperatures, json_schema_input_type=_Kelvin | list[_Kelvin] | None),
    ] = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Temperatures in K at which the potential must run without a halt. "
        "Default: fractions of an estimated melting point.",
    )
    oracle: OracleSection = Field(  # type: ignore[valid-type]
        default_factory=OracleSection, description="Where labels come from."
    )
    generator: GeneratorSection = Field(  # type: ignore[valid-type]
        default_factory=GeneratorSection, description="What makes candidates."
    )
    trainer: TrainerSection = Field(  # type: ignore[valid-type]
        default_factory=TrainerSection, description="How the potential is fitted."
    )
    dynamics: Annotated[
        DynamicsSection,  # type: ignore[valid-type]
        BeforeValidator(_dynamics, json_schema_input_type=_Explorers | DynamicsSection),
    ] = Field(
        default_factory=DynamicsSection,
        description="What explores under the watchdog: md, kmc, [md, kmc], or a section.",
    )
    kmc: KMCSection = Field(  # type: ignore[valid-type]
        default_factory=KMCSection, description="Adaptive kinetic Monte Carlo."
    )
    validation: ValidationSection = Field(  # type: ignore[valid-type]
        default_factory=ValidationSection, description="Gates and convergence."
    )
    budget: BudgetSection = Field(  # type: ignore[valid-type]
        default_factory=BudgetSection, description="What the campaign may spend."
    )
    execution: ExecutionSection = Field(  # type: ignore[valid-type]
        default_factory=ExecutionSection,
        description="Where labels and trajectories are computed; `execution: slurm` for short.",
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**32, description="Seed of the one random generator. Default: 1."
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Labels computed at the same time on this machine. Default: one for each CPU "
        "core.",
    )

    _origin: Origin | None = PrivateAttr(default=None)

    @property
    def origin(self) -> Origin | None:
        """Where it was read, or None if it was made in Python."""
        return self._origin

    def with_origin(self, origin: Origin) -> Config:
        """Return itself, told where it was read."""
        self._origin = origin
        return self

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, value: list[str]) -> list[str]:
        if unknown := [symbol for symbol in value if symbol not in SYMBOLS]:
            raise ValueError("; ".join(_not_an_element(symbol) for symbol in unknown))
        if twice := sorted({symbol for symbol in value if value.count(symbol) > 1}):
            raise ValueError(f"{', '.join(twice)} is given more than once")
        return value

    @field_validator("temperatures_K")
    @classmethod
    def _different_temperatures(cls, value: list[float] | None) -> list[float] | None:
        for temperature in value or ():
            if (value or []).count(temperature) > 1:
                raise ValueError(f"{temperature:g} K is given more than once")
        return value


def _not_an_element(text: str) -> str:
    if _FORMULA.fullmatch(text) and len(text) > 1:
        parts = list(dict.fromkeys(re.findall(r"[A-Z][a-z]?", text)))
        if all(part in SYMBOLS for part in parts) and (len(parts) > 1 or text not in parts):
            return f"{text!r} is a formula; name its elements: [{', '.join(parts)}]"
    meant = nearest_symbol(text)
    return f"{text!r} is not an element" + (f"; did you mean {meant!r}?" if meant else "")


def sections() -> dict[str, type[Section]]:
    """Return the sections of `Config` by key."""
    found = {}
    for key, info in Config.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            found[key] = info.annotation
    return found


def valid_paths() -> Iterator[str]:
    """Yield the dotted path of every key a user may write."""
    nested = sections()
    for key in Config.model_fields:
        yield key
        if key in nested:
            yield from (f"{key}.{inner}" for inner in nested[key].model_fields)
