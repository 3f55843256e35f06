"""The settings of the oracle: which code, and for DFT how finely it has to be sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from pyacemaker.config import defaults
from pyacemaker.config.load import ConfigError
from pyacemaker.config.models import Config
from pyacemaker.config.physics import (
    SPIN_MOMENTS_MUB,
    Ruled,
    guess_magnetization,
    guess_metallic,
)
from pyacemaker.config.yaml_lines import KeyPath
from pyacemaker.oracle.dft_settings import GPAWSettings, VASPSettings
from pyacemaker.oracle.pseudopotentials import PSEUDODOJO, find_pseudopotentials
from pyacemaker.oracle.settings import (
    ASESettings,
    EspressoSettings,
    OracleSettings,
    RootstockSettings,
)
from pyacemaker.oracle.upf import UPF, PseudopotentialError
from pyacemaker.parts.sources import PartError

if TYPE_CHECKING:
    from pyacemaker.config.choices import Choices


class NoCutoffError(ConfigError):
    """The pseudopotentials cannot say how large the basis has to be."""

    @classmethod
    def at(cls, choices: Choices, path: KeyPath, message: str) -> NoCutoffError:
        """Return the error for a key, with its file and line."""
        refused = choices.refuse(path, " ".join(message.split()))
        return cls(refused.file, list(refused.problems))


Code = Literal["espresso", "vasp", "gpaw", "rootstock", "ase"]

_MODELS: Mapping[Code, type[BaseModel]] = {
    "espresso": EspressoSettings,
    "vasp": VASPSettings,
    "gpaw": GPAWSettings,
    "rootstock": RootstockSettings,
    "ase": ASESettings,
}
_WORDS: Mapping[Code, str] = {
    "espresso": "density-functional theory",
    "vasp": "a folder of POTCAR files is named",
    "gpaw": "GPAW",
    "rootstock": "a model is named",
    "ase": "a calculator is named",
}


def absolute(given: str, base_dir: Path) -> Path:
    """Return a path of the configuration, which starts from its own folder."""
    return (base_dir / Path(given).expanduser()).resolve()


def oracle_code(config: Config) -> Code:
    """Return which code labels: the one named, or the one whose own key is given."""
    section: Any = config.oracle
    if section.code:
        named: Code = section.code
        return named
    if section.calculator:
        return "ase"
    if section.model:
        return "rootstock"
    return "vasp" if section.potcar_folder else "espresso"


def resolve_oracle(choices: Choices, base_dir: Path) -> OracleSettings:
    """Return the oracle's settings. Raises ConfigError where keys do not go together."""
    section: Any = choices.config.oracle
    code = oracle_code(choices.config)
    if section.code:
        choices.note(("oracle", "code"), code, "user", "where labels come from")
    else:
        choices.note(("oracle", "code"), code, "default", _WORDS[code])
    own = {"code", "imported"} | (set() if code in ("ase", "rootstock") else {"metallic"})
    for key in sorted(section.model_fields_set):
        if key in _MODELS[code].model_fields or key in own or getattr(section, key) is None:
            continue
        others = [name for name, model in _MODELS.items() if key in model.model_fields]
        owner = " or ".join(others) or "espresso"
        raise choices.refuse(
            ("oracle", key), f"belongs to `code: {owner}`, but the oracle is {code}; remove it"
        )
    if code == "ase":
        return _ase(choices)
    if code == "rootstock":
        return _rootstock(choices, base_dir)
    if code == "espresso":
        return _espresso(choices, base_dir)
    return _plane_waves(choices, base_dir, code)


def imported_sets(choices: Choices) -> tuple[str, ...]:
    """Return the names of the imported data sets to learn from."""
    section: Any = choices.config.oracle
    names = tuple(dict.fromkeys(section.imported or ()))
    kind: Literal["user", "default"] = "user" if section.imported is not None else "default"
    choices.note(("oracle", "imported"), names, kind, "imported data sets to learn from as well")
    return names


def _plane_waves(
    choices: Choices, base_dir: Path, code: Literal["vasp", "gpaw"]
) -> GPAWSettings | VASPSettings:
    """Return the settings of GPAW or VASP."""
    section: Any = choices.config.oracle
    elements = choices.config.elements
    metallic = choices.take(
        ("oracle", "metallic"), section.metallic, guess_metallic(elements), "metal or insulator"
    )
    rules: dict[str, Ruled[Any]] = {
        "kspacing_per_A": defaults.kspacing(metallic),
        "smearing_eV": defaults.smearing_width(metallic),
        **_moments(choices),
    }
    if code == "gpaw":
        return choices.fill("oracle", GPAWSettings, rules, {"code": "gpaw"})
    if not section.potcar_folder:
        raise choices.refuse(
            ("oracle", "potcar_folder"),
            "is required with `code: vasp`: the folder of your licensed POTCAR files",
        )
    folder = absolute(section.potcar_folder, base_dir)
    if not folder.is_dir():
        raise choices.refuse(
            ("oracle", "potcar_folder"), f"there is no folder {section.potcar_folder!r}"
        )
    replaced = {"potcar_folder": str(folder)}
    return choices.fill("oracle", VASPSettings, rules, {"code": "vasp"}, replaced)


def _moments(choices: Choices) -> dict[str, Ruled[Any]]:
    """Return the rules for nspin and moments_muB, and check the user's."""
    section: Any = choices.config.oracle
    elements = choices.config.elements
    for symbol in section.moments_muB or {}:
        if symbol not in elements:
            raise choices.refuse(
                ("oracle", "moments_muB", symbol),
                f"is not among the elements {', '.join(elements)}",
            )
    if section.moments_muB:
        return {"nspin": Ruled(2, "moments_muB are given")}
    found = {e: SPIN_MOMENTS_MUB[e] for e in elements if e in SPIN_MOMENTS_MUB}
    if section.nspin == 1 or (not found and section.nspin is None):
        why = "no spin" if section.nspin == 1 else "no open magnetic d or f shell: no spin"
        return {"nspin": Ruled(1, why), "moments_muB": Ruled({}, why)}
    found = found or dict.fromkeys(elements, 1.0)
    told = ", ".join(f"{e} {moment:g}" for e, moment in found.items())
    return {
        "nspin": Ruled(2, f"magnetic elements: {', '.join(found)}"),
        "moments_muB": Ruled(found, f"moments to start from, all parallel: {told}"),
    }


def _ase(choices: Choices) -> ASESettings:
    section: Any = choices.config.oracle
    if not section.calculator:
        raise choices.refuse(
            ("oracle", "calculator"),
            "is required with `code: ase`; give a dotted name, such as ase.calculators.emt.EMT",
        )
    return choices.fill("oracle", ASESettings, {}, fixed={"code": "ase"})


def _rootstock(choices: Choices, base_dir: Path) -> RootstockSettings:
    section: Any = choices.config.oracle
    if not section.model:
        raise choices.refuse(
            ("oracle", "model"), "is required with `code: rootstock`; give one, such as chgnet"
        )
    root = section.root
    replaced = {"root": str(absolute(root, base_dir))} if root else {}
    return choices.fill("oracle", RootstockSettings, {}, {"code": "rootstock"}, replaced)


def _espresso(choices: Choices, base_dir: Path) -> EspressoSettings:
    section: Any = choices.config.oracle
    elements = choices.config.elements
    metallic = choices.take(
        ("oracle", "metallic"), section.metallic, guess_metallic(elements), "metal or insulator"
    )
    folder = _own_folder(choices, base_dir)
    files = _pseudopotentials(choices, folder)
    rules: dict[str, Ruled[Any]] = {
        "kspacing_per_A": defaults.kspacing(metallic),
        "smearing": defaults.smearing(metallic),
        "degauss_Ry": defaults.degauss(metallic),
        **_cutoffs(choices, files),
        **_spin(choices, {element: upf.valence for element, upf in files.items()}),
    }
    for manifold in section.hubbard_U_eV or {}:
        if manifold.partition("-")[0] not in elements:
            raise choices.refuse(
                ("oracle", "hubbard_U_eV", manifold),
                f"is of no element among {', '.join(elements)}; write it like Fe-3d",
            )
    replaced = {} if folder is None else {"pseudopotentials": str(folder)}
    return choices.fill("oracle", EspressoSettings, rules, {"code": "espresso"}, replaced)


def _own_folder(choices: Choices, base_dir: Path) -> Path | None:
    """Return the user's folder of pseudopotentials, absolute, or None for PseudoDojo's."""
    section: Any = choices.config.oracle
    given = section.pseudopotentials
    if given is None or given == PSEUDODOJO:
        return None
    folder = absolute(given, base_dir)
    if not folder.is_dir():
        raise choices.refuse(
            ("oracle", "pseudopotentials"),
            f"there is no folder {given!r} in {base_dir}; name one with UPF files, or {PSEUDODOJO}",
        )
    return folder


def _pseudopotentials(choices: Choices, folder: Path | None) -> dict[str, UPF]:
    """Return each element's pseudopotential; none are looked for if both cutoffs are given."""
    section: Any = choices.config.oracle
    if section.ecutwfc_Ry is not None and section.ecutrho_Ry is not None:
        return {}
    source = PSEUDODOJO if folder is None else str(folder)
    try:
        return find_pseudopotentials(
            choices.config.elements,
            section.functional or EspressoSettings.model_fields["functional"].default,
            source,
            section.table or EspressoSettings.model_fields["table"].default,
        )
    except PseudopotentialError as error:
        raise NoCutoffError.at(choices, ("oracle", "pseudopotentials"), str(error)) from None
    except PartError as error:
        remedy = "or give both cutoffs, oracle.ecutwfc_Ry and oracle.ecutrho_Ry"
        raise NoCutoffError.at(
            choices, ("oracle", "pseudopotentials"), f"{error}; {remedy}"
        ) from None


def _cutoffs(choices: Choices, files: Mapping[str, UPF]) -> dict[str, Ruled[Any]]:
    """Return the rules for the two cutoffs: the largest of the pseudopotentials' own hints."""
    section: Any = choices.config.oracle
    if not files:
        return {}
    dual = max(upf.least_dual for upf in files.values())
    wfc, rho = section.ecutwfc_Ry, section.ecutrho_Ry
    rules: dict[str, Ruled[Any]] = {}
    if wfc is None:
        missing = [e for e, upf in files.items() if upf.ecutwfc_hint_Ry is None]
        if missing:
            raise NoCutoffError.at(
                choices,
                ("oracle", "ecutwfc_Ry"),
                f"the pseudopotentials of {', '.join(missing)} suggest none; give it, in Ry",
            )
        hints = {e: math.ceil(upf.ecutwfc_hint_Ry or 0) for e, upf in files.items()}
        wfc = float(max(hints.values()))
        told = ", ".join(f"{e} {hint}" for e, hint in hints.items())
        why = f"largest hint of the pseudopotentials ({told}); checked before the first label"
        if rho is not None and rho < dual * wfc:
            wfc, why = rho / dual, f"oracle.ecutrho_Ry / {dual:g}; checked before the first label"
        rules["ecutwfc_Ry"] = Ruled(wfc, why)
    if rho is None:
        hinted = max(upf.ecutrho_hint_Ry or 0.0 for upf in files.values())
        rho = dual * wfc if section.ecutwfc_Ry else max(math.ceil(hinted), dual * wfc)
        kind = "norm-conserving" if dual <= 4 else "ultrasoft or PAW"
        rules["ecutrho_Ry"] = Ruled(
            float(rho), f"at least {dual:g} x ecutwfc_Ry, for {kind} pseudopotentials"
        )
    return rules


def _spin(choices: Choices, valence: Mapping[str, float]) -> dict[str, Ruled[Any]]:
    """Return the rules for nspin and starting_magnetization, and check the user's."""
    section: Any = choices.config.oracle
    elements = choices.config.elements
    given = section.starting_magnetization
    for symbol, value in (given or {}).items():
        path = ("oracle", "starting_magnetization", symbol)
        if symbol not in elements:
            raise choices.refuse(path, f"is not among the elements {', '.join(elements)}")
        if not -1 <= value <= 1:
            raise choices.refuse(
                path, f"must lie between -1 and 1, (up - down) / (up + down), not {value:g}"
            )
    guess = guess_magnetization(elements, valence)
    if section.nspin == 1:
        if given:
            raise choices.refuse(
                ("oracle", "starting_magnetization"), "needs `nspin: 2`; remove `nspin: 1`"
            )
        return {"starting_magnetization": Ruled({}, "no spin, as `nspin: 1` says")}
    if given:
        return {"nspin": Ruled(2, "a starting_magnetization is given")}
    if section.nspin == 2 and not guess.value:
        start = dict.fromkeys(elements, 0.3)
        return {
            "starting_magnetization": Ruled(start, "spin is asked for: a start for each element")
        }
    return {
        "nspin": Ruled(2 if guess.value else 1, guess.why),
        "starting_magnetization": guess,
    }
