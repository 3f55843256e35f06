"""Pseudopotentials by element: PseudoDojo's, or a folder of the user's own.

PseudoDojo: M. J. van Setten et al., Comput. Phys. Commun. 226, 39 (2018). The UPF files
state no licence of their own, only the request to cite D. R. Hamann, Phys. Rev. B 88, 085117
(2013); the wheel they come in is under the GPL 2. They are fetched by each user and never
copied into what we publish.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyacemaker.oracle.upf import UPF, PseudopotentialError, read_upf
from pyacemaker.parts.pseudopotential_files import Say, pseudodojo_files

PSEUDODOJO = "pseudodojo"
_OWN_FOLDER = (
    "name a folder with UPF files of your own (SSSP has it, for example) in oracle.pseudopotentials"
)


def find_pseudopotentials(
    elements: Iterable[str],
    functional: str = "PBE",
    source: str = PSEUDODOJO,
    table: str = "standard",
    say: Say = lambda _: None,
) -> dict[str, UPF]:
    """Return the verified pseudopotential of each element, in the order of `elements`.

    `source` is ``pseudodojo`` or a folder. Every file's checksum is compared each time:
    with the pinned wheel's, or with the md5 in the folder's JSON.

    Raises PseudopotentialError in one line: an element that is missing, a file that is
    damaged, made for another functional or another element; PartError where PseudoDojo
    cannot be fetched.
    """
    wanted = list(dict.fromkeys(elements))
    if source == PSEUDODOJO:
        found = _from_pseudodojo(wanted, functional, table, say)
    else:
        found = _from_folder(wanted, Path(source).expanduser())
    for element, upf in found.items():
        if upf.element != element:
            raise PseudopotentialError(f"{upf.path} is for {upf.element}, not {element}")
        if upf.functional != functional:
            raise PseudopotentialError(
                f"{upf.path} is made for {upf.functional}, not {functional}; set oracle.functional "
                "or choose other files"
            )
    return found


def _from_pseudodojo(elements: list[str], functional: str, table: str, say: Say) -> dict[str, UPF]:
    checksums = pseudodojo_files(functional, table, say)
    missing = [element for element in elements if element not in checksums]
    if missing:
        raise PseudopotentialError(
            f"PseudoDojo's {functional} {table} table has no {', '.join(missing)}; {_OWN_FOLDER}"
        )
    found = {}
    for element in elements:
        path, sha256 = checksums[element]
        remedy = f"remove {path.parent} to have it unpacked again"
        if not path.is_file():
            raise PseudopotentialError(f"pseudopotential {path} is missing; {remedy}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise PseudopotentialError(
                f"pseudopotential {path} is damaged (its checksum is wrong); {remedy}"
            )
        found[element] = read_upf(path)
    return found


def _from_folder(elements: list[str], folder: Path) -> dict[str, UPF]:
    if not folder.is_dir():
        raise PseudopotentialError(f"oracle.pseudopotentials: there is no folder {folder}")
    entries = _table_of(folder)
    if entries is not None:
        return {element: _listed(element, entries, folder) for element in elements}
    return {element: _by_header(element, folder) for element in elements}


def _table_of(folder: Path) -> Mapping[str, Any] | None:
    """Return the folder's JSON of file names and cutoffs, or None where it has none."""
    tables = {}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise PseudopotentialError(f"{path} is no JSON: {error}") from error
        if isinstance(content, dict) and any(
            isinstance(entry, dict) and "filename" in entry for entry in content.values()
        ):
            tables[path.name] = content
    if len(tables) > 1:
        raise PseudopotentialError(
            f"{folder} has several tables of pseudopotentials ({', '.join(tables)}); leave one"
        )
    return next(iter(tables.values()), None)


def _listed(element: str, entries: Mapping[str, Any], folder: Path) -> UPF:
    entry = entries.get(element)
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        raise PseudopotentialError(f"the JSON in {folder} has no entry for {element}; add one")
    path = folder / entry["filename"]
    if path.parent != folder or not path.is_file():
        raise PseudopotentialError(f"pseudopotential {path}, named in the JSON, is missing")
    md5 = entry.get("md5")
    if md5 is not None:
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if found != str(md5).lower():
            raise PseudopotentialError(
                f"pseudopotential {path} is damaged or another version: its md5 is {found}, the "
                f"JSON says {md5}"
            )
    upf = read_upf(path)
    try:
        wfc = entry.get("cutoff_wfc", entry.get("cutoff"))
        wfc = float(wfc) if wfc is not None else upf.ecutwfc_hint_Ry
        rho = entry.get("cutoff_rho")
        if rho is None and "dual" in entry and wfc is not None:
            rho = float(entry["dual"]) * wfc
        rho = float(rho) if rho is not None else None
    except (TypeError, ValueError) as error:
        raise PseudopotentialError(
            f"the JSON in {folder} has a cutoff for {element} that is no number ({error})"
        ) from error
    if wfc is not None and not wfc > 0:
        raise PseudopotentialError(f"the JSON in {folder} has a cutoff for {element} below 0")
    if rho is None:
        rho = None if wfc is None else upf.least_dual * wfc
    return replace(upf, ecutwfc_hint_Ry=wfc, ecutrho_hint_Ry=rho)


def _by_header(element: str, folder: Path) -> UPF:
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".upf"]
    likely = [path for path in paths if path.name.lower().startswith(element.lower())]
    found = [upf for upf in map(read_upf, likely or paths) if upf.element == element]
    if not found:
        raise PseudopotentialError(f"{folder} has no UPF file for {element}; put one there")
    if len(found) > 1:
        names = ", ".join(upf.path.name for upf in found)
        raise PseudopotentialError(f"{folder} has several files for {element} ({names}); leave one")
    upf = found[0]
    if upf.ecutwfc_hint_Ry is not None and upf.ecutrho_hint_Ry is None:
        return replace(upf, ecutrho_hint_Ry=upf.least_dual * upf.ecutwfc_hint_Ry)
    return upf
