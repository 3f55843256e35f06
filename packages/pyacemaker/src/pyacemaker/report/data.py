"""What a report is made of: plain data, JSON in and JSON out, every part optional.

A report is written at any moment of a campaign, also after a failure, so a number may
be missing or not finite (NaN and infinities become None, which JSON can hold) and a
list may be empty. A field that does not exist is refused: that is a mistake of the caller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:  # reading a report's data must not load the physics
    pass

Decision = Literal["certified", "no_go", "budget", "running", "failed"]


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: no arrays, no NaN, no objects."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)


def _real(value: Any) -> float | None:
    """Return a finite float, or None for whatever is not one."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _reals(values: Any) -> list[float | None]:
    """Return a flat list of finite floats and None from any nested sequence or array."""
    if values is None:
        return []
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    flat: list[float | None] = []
    for value in values:
        if isinstance(value, list | tuple | np.ndarray):
            flat += _reals(value)
        else:
            flat.append(_real(value))
    return flat


def _text(value: Any) -> str:
    return "" if value is None else str(value)


Real = Annotated[float | None, BeforeValidator(_real)]
Reals = Annotated[list[float | None], BeforeValidator(_reals)]
Text = Annotated[str, BeforeValidator(_text)]
Plain = Annotated[Any, BeforeValidator(_plain)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CycleRow(_Part):
    """One cycle. The plain errors are those of the held-out test set, `train_*` the training's.

    `labels` counts all labels there were when this cycle's potential was fitted; `md` maps
    a temperature (K) to how that run ended; `verdict` is `go`, `no-go` or empty where the
    potential was not validated; `note` says in words what the cycle decided.
    """

    iteration: int
    labels: int | None = None
    new_labels: int | None = None
    energy_rmse_eV_per_atom: Real = None
    force_rmse_eV_per_A: Real = None
    stress_rmse_GPa: Real = None
    train_energy_rmse_eV_per_atom: Real = None
    train_force_rmse_eV_per_A: Real = None
    train_stress_rmse_GPa: Real = None
    md: dict[float, Text] = Field(default_factory=dict)
    verdict: Text = ""
    wall_s: Real = None
    note: Text = ""


class ParitySet(_Part):
    """Reference and prediction, value for value, of one split (any shape; flattened).

    Energies in eV/atom, forces in eV/angstrom (components), stresses in GPa (components).
    """

    energy_reference: Reals = Field(default_factory=list)
    energy_predicted: Reals = Field(default_factory=list)
    force_reference: Reals = Field(default_factory=list)
    force_predicted: Reals = Field(default_factory=list)
    stress_reference: Reals = Field(default_factory=list)
    stress_predicted: Reals = Field(default_factory=list)


class MDTrace(_Part):
    """gamma along one MD run; each sample is (time in fs, largest gamma, temperature in K)."""

    iteration: int
    temperature_K: Real = None
    engine: Text = ""
    status: Text = ""
    samples: list[tuple[Real, Real, Real]] = Field(default_factory=list)
    gamma_select: Real = None
    gamma_halt: Real = None
    message: Text = ""


class KMCProcess(_Part):
    """A way out of a state: barriers in eV, the prefactor in THz, one copy's rate in 1/s."""

    state: int
    mechanism: int
    barrier_eV: Real = None
    reverse_barrier_eV: Real = None
    prefactor_THz: Real = None
    rate_per_s: Real = None
    copies: int = 1
    found: int = 1
    gamma: Real = None


class KMCWalk(_Part):
    """One walk by kinetic Monte Carlo.

    `time_line` holds (clock in s, energy of the state that was left in eV, its number, barrier
    taken in eV) of each hop; `gamma_trace` the largest gamma of each saddle search in turn;
    `searches` how many ended how; `confidence` is the lowest of any state.
    """

    iteration: int
    temperature_K: Real = None
    engine: Text = ""
    status: Text = ""
    message: Text = ""
    events: int = 0
    hops_done: int = 0
    time_s: Real = None
    states: int = 0
    confidence: Real = None
    searches: dict[str, int] = Field(default_factory=dict)
    processes: list[KMCProcess] = Field(default_factory=list)
    time_line: list[tuple[Real, Real, int, Real]] = Field(default_factory=list)
    gamma_trace: Reals = Field(default_factory=list)
    gamma_halt: Real = None


class CheckEntry(_Part):
    """A gate's result without its structures; `iteration` is the cycle it was run in."""

    name: Text
    passed: bool | None = None
    reason: Text = ""
    numbers: dict[str, Real] = Field(default_factory=dict)
    series: Annotated[dict[str, Any], BeforeValidator(_plain)] = Field(default_factory=dict)
    iteration: int | None = None


class LabelRow(_Part):
    """One structure sent to the oracle.

    `split` is `train`, `validation`, `test` or empty; `attempts` counts calculations;
    `remedies` are what was changed from one attempt to the next, in words; `failed` is
    the diagnosis of a structure that could not be labelled, empty for a label.
    """

    key: Text
    generator: Text = ""
    group: Text = ""
    split: Text = ""
    n_atoms: int | None = None
    wall_s: Real = None
    attempts: int | None = None
    remedies: list[Text] = Field(default_factory=list)
    failed: Text = ""
    iteration: int | None = None


class SettingRow(_Part):
    """One resolved setting and where its value came from."""

    key: Text
    value: Plain = None
    unit: Text = ""
    source: Text = ""


class Event(_Part):
    """One line of the decision log; `time` is a clock time or a date as it shall be read."""

    text: Text
    time: Text = ""
    iteration: int | None = None


class Targets(_Part):
    """The errors at which the campaign calls itself converged, drawn as lines."""

    energy_rmse_eV_per_atom: Real = None
    force_rmse_eV_per_A: Real = None
    stress_rmse_GPa: Real = None


class Usage(_Part):
    """Snippets that run as they stand; empty ones are left out of the report."""

    ase: Text = ""
    lammps: Text = ""


class ReportData(_Part):
    """A campaign at one moment.

    `reason` is the one sentence beside the decision. `numbers` are headline figures whose
    keys end in their unit (``B0_GPa``); those not given are taken from the other parts
    where they can be (see `report.summary.KEY_NUMBERS`). `references` are columns beside
    them, by name (``DFT``, ``Experiment``), with the same keys. `parity` is keyed by split.
    `reference_method` is what the labels were computed with, as the text shall call it.
    `paths` by what lies there (``potential``, ``data``, ``database``, ``work directory``).
    """

    title: Text = "Interatomic potential"
    elements: list[Text] = Field(default_factory=list)
    decision: Decision = "running"
    reason: Text = ""
    generated_at: Text = ""
    reference_method: Text = "DFT"
    numbers: dict[str, Real] = Field(default_factory=dict)
    references: dict[str, dict[str, Real]] = Field(default_factory=dict)
    targets: Targets = Field(default_factory=Targets)
    cycles: list[CycleRow] = Field(default_factory=list)
    parity: dict[str, ParitySet] = Field(default_factory=dict)
    md: list[MDTrace] = Field(default_factory=list)
    kmc: list[KMCWalk] = Field(default_factory=list)
    checks: list[CheckEntry] = Field(default_factory=list)
    labels: list[LabelRow] = Field(default_factory=list)
    events: list[Event] = Field(default_factory=list)
    settings: list[SettingRow] = Field(default_factory=list)
    versions: dict[str, Text] = Field(default_factory=dict)
    paths: dict[str, Annotated[str, BeforeValidator(lambda p: str(p) if p else "")]] = Field(
        default_factory=dict
    )
    usage: Usage = Field(default_factory=Usage)

    @property
    def potential_path(self) -> str:
        """Return where the potential lies, or an empty string."""
        return self.paths.get("potential", "")
