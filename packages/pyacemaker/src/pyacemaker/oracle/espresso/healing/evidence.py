"""What lies beside a run: which file of a folder is the output, and what goes with it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyacemaker.oracle.espresso.healing.run_text import read_text

_LIKELY = ("pw.out", "aiida.out", "espresso.pwo", "scf.out", "stdout", "out")
_ENDINGS = {".out", ".pwo", ".log", ".txt", ".output", ".stdout", ".o", ".pho", ".nebo"}
_NOT_OUTPUTS = {
    ".xml", ".in", ".pwi", ".upf", ".json", ".yaml", ".yml", ".py", ".sh", ".dat", ".hdf5", ".npz",
    ".md", ".gz", ".zip", ".png", ".svg", ".wfc1", ".mix1", ".save",
}  # fmt: skip
_ERRORS = re.compile(
    r"(?i)(^|[._-])(stderr|err|error|scheduler|slurm.*)($|[._-])|\.(err|e\d+)$|^fort"
)
_NAMELIST = re.compile(r"(?im)^\s*&(control|system|electrons|inputph|path)\b")
_PROGRAM = re.compile(r"(?im)^\s*Program \S.* v\.? ?\S+ .*starts")
_PATH = re.compile(r"(?im)^\s*Program (neb|pioud|path)")
_XML_NAMES = ("data-file-schema.xml", "data-file.xml")
_MOST_FILES = 2000
_PEEK = 65536


@dataclass(frozen=True)
class Ending:
    """How the program's process ended, where that is known.

    `returncode` is negative for a signal. `stopped` says why we ended it ourselves:
    ``timeout``, ``stalled``, ``disk`` or ``memory``.
    """

    returncode: int | None = None
    stopped: str | None = None
    wall_s: float | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything a diagnosis is made from. Texts are empty where there is no such file."""

    output: str
    path: Path | None = None
    crash: str = ""
    errors: str = ""
    input: str = ""
    xml: str | None = None
    ending: Ending | None = None
    images: tuple[str, ...] = ()


RECORD = "attempt.json"


def gather(path: Path) -> Evidence:
    """Return the evidence of an output file or of a folder that holds one.

    Raises FileNotFoundError for a path that is not there, and OSError where the file cannot
    be read.
    """
    if path.is_dir():
        folder, output = path, find_output(path)
    elif path.exists():
        folder, output = path.parent, path
    else:
        raise FileNotFoundError(path)
    text = read_text(output) if output is not None else ""
    if path.is_file() and not _alone(folder, path):
        # Among other outputs, what else lies here may belong to any of them.
        return Evidence(text, output, input=_own_input(folder, output))
    return Evidence(
        output=text,
        path=output,
        crash=_read(folder / "CRASH"),
        errors=_errors(folder, output),
        input=_own_input(folder, output),
        xml=_xml_problem(folder),
        ending=_ending(folder),
        images=_images(folder) if _PATH.search(text[:_PEEK]) else (),
    )


def find_output(folder: Path) -> Path | None:
    """Return the file of `folder` that looks most like a program's output, the newest of equals."""
    best: tuple[int, float, str] | None = None
    found: Path | None = None
    for entry in _files(folder):
        points = _points(entry)
        if points <= 0:
            continue
        try:
            rank = (points, entry.stat().st_mtime, entry.name)
        except OSError:
            continue
        if best is None or rank > best:
            best, found = rank, entry
    if found is None:
        return _below(folder)
    return found


def _below(folder: Path) -> Path | None:
    """Return an output one level down, for a folder that holds the run's folder."""
    inner = sorted(entry for entry in _entries(folder) if entry.is_dir())[:200]
    for entry in reversed(inner):
        for file in _files(entry):
            if _points(file) >= 4:
                return file
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for _, entry in zip(range(_MOST_FILES), folder.iterdir(), strict=False)]
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    return sorted(entry for entry in _entries(folder) if entry.is_file())


def _points(path: Path) -> int:
    name = path.name.lower()
    if name.startswith(".") or path.suffix.lower() in _NOT_OUTPUTS:
        return 0
    points = 0
    if name in _LIKELY:
        points += 2
    elif path.suffix.lower() in _ENDINGS:
        points += 1
    try:
        head = _peek(path)
    except OSError:
        return 0
    if _PROGRAM.search(head):
        points += 8
    elif _NAMELIST.search(head):
        return 0
    elif "JOB DONE." in head or "Error in routine" in head:
        points += 4
    elif "%%%%%%%%%%" in head:
        points += 2
    if name == "crash" or _ERRORS.search(name):
        points = min(points, 1) if "Error in routine" not in head else 1
    return points


def _peek(path: Path) -> str:
    with path.open("rb") as stream:
        data = stream.read(_PEEK)
    return data.replace(b"\x00", b"").decode("latin-1")


def _alone(folder: Path, output: Path) -> bool:
    return not any(
        entry != output and _points(entry) >= 8 and not _ERRORS.search(entry.name.lower())
        for entry in _files(folder)[:500]
    )


def _read(path: Path) -> str:
    try:
        return read_text(path) if path.is_file() else ""
    except OSError:
        return ""


def _errors(folder: Path, output: Path | None) -> str:
    texts = [
        _read(entry)[-200_000:]
        for entry in _files(folder)
        if entry != output
        and _ERRORS.search(entry.name.lower())
        and entry.suffix not in _NOT_OUTPUTS
    ]
    return "\n".join(texts)


def _own_input(folder: Path, output: Path | None) -> str:
    """Return the input that goes with an output: of the same stem, or the only one here."""
    stems = {output.stem, output.name} if output is not None else set()
    inputs = []
    for entry in _files(folder):
        if entry == output or entry.suffix.lower() in {".xml", ".upf", ".json", ".py"}:
            continue
        try:
            if entry.stat().st_size < 4_000_000 and _NAMELIST.search(_peek(entry)):
                inputs.append(entry)
        except OSError:
            continue
    same = [entry for entry in inputs if entry.stem in stems]
    if len(same) == 1:
        return _read(same[0])
    return _read(inputs[0]) if len(inputs) == 1 else ""


def _images(folder: Path) -> tuple[str, ...]:
    """Return the outputs of the images of a path (neb.x writes each into a folder of its own)."""
    found = sorted([*folder.glob("*_[0-9]*/PW.out"), *folder.glob("*/*_[0-9]*/PW.out")])
    return tuple(_read(path) for path in found[:200])


def _xml_problem(folder: Path) -> str | None:
    """Return what is wrong with the XML of a run, "" for a whole one, None where there is none."""
    for name in _XML_NAMES:
        found = sorted(folder.glob(name)) + sorted(folder.glob(f"*.save/{name}"))
        found += sorted(folder.glob(f"*/*.save/{name}"))
        if len(found) == 1:
            try:
                with found[0].open("rb") as stream:
                    for _ in ET.iterparse(stream):  # noqa: S314 - no entity is ever expanded here
                        pass
            except ET.ParseError as error:
                return f"{name}: {error}"
            except (OSError, ValueError, LookupError) as error:
                return f"{name}: {error}"
            return ""
    return None


def _ending(folder: Path) -> Ending | None:
    try:
        told: Any = json.loads((folder / RECORD).read_text())
        return Ending(told.get("returncode"), told.get("stopped"), told.get("wall_s"))
    except (OSError, ValueError, AttributeError):
        return None
