"""A configuration to start from: the elements, and the other keys as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from pyacemaker.config.choices import Entry
from pyacemaker.config.load import ConfigError, parse_config
from pyacemaker.config.oracle_choice import NoCutoffError
from pyacemaker.config.resolve import Resolved, resolve
from pyacemaker.config.show import format_value
from pyacemaker.config.yaml_lines import Problem
from pyacemaker.files import write_whole

# What an ordinary campaign may want to change; `pyacemaker config show` prints the rest.
_SHOWN = (
    "temperatures_K",
    "oracle.code",
    "oracle.functional",
    "oracle.metallic",
    "oracle.ecutwfc_Ry",
    "oracle.kspacing_per_A",
    "oracle.smearing",
    "oracle.degauss_Ry",
    "oracle.nspin",
    "oracle.starting_magnetization",
    "trainer.fit",
    "trainer.cutoff_A",
    "trainer.functions_per_element",
    "dynamics.md_ps",
    "dynamics.timestep_fs",
    "dynamics.pressure_GPa",
    "dynamics.gamma_from",
    "validation.test_energy_rmse_eV_per_atom",
    "validation.test_force_rmse_eV_per_A",
    "budget.labels",
    "budget.hours",
    "seed",
    "workers",
)
_HEADER = """\
# A campaign of pyacemaker. Run it with   pyacemaker run {name}
# Only the elements are required. Every other key shows the value it has when left out,
# chosen for these elements; remove the '# ' before a key (and its section) to change it.
# `pyacemaker config show {name}` prints all values and where each comes from.
"""


def template_text(elements: Sequence[str], name: str = "config.yaml") -> str:
    """Return the text of a configuration for `elements`. Raises ConfigError."""
    listed = f"elements: [{', '.join(elements)}]"
    try:
        resolved, missing = resolve(parse_config(listed, name)), ""
    except NoCutoffError as error:  # a file all the same; the user gives what is missing
        given = f"{listed}\noracle: {{ecutwfc_Ry: 1, ecutrho_Ry: 4}}"
        resolved, missing = resolve(parse_config(given, name)), error.problems[0].message
    lines = [_HEADER.format(name=name), f"{listed}\n"]
    lines += _structure(resolved)
    if missing:
        lines += textwrap.wrap(f"# TO DO: {missing}", 96, subsequent_indent="#   ")
    section = ""
    for key in _SHOWN:
        entry = next((found for found in resolved.entries if found.key == key), None)
        if entry is None or (entry.kind == "user"):
            continue
        outer, _, inner = key.rpartition(".")
        if outer != section and outer:
            lines.append(f"# {outer}:")
        section = outer
        lines.append(f"# {'  ' if outer else ''}{inner}: {_with_comment(entry)}")
    return "\n".join(lines) + "\n"


def _structure(resolved: Resolved) -> list[str]:
    entry = resolved.entry("structure")
    note = f"# structure is not set: {entry.explanation}."
    lines = textwrap.wrap(note, 96, subsequent_indent="# ")
    return [*lines, "# To choose it, name a file, a prototype or a formula:   structure: POSCAR"]


def _with_comment(entry: Entry) -> str:
    words = f"{entry.unit}; {entry.explanation}" if entry.unit else entry.explanation
    return f"{format_value(entry.value)}  # {textwrap.shorten(words, 90, placeholder=' ...')}"


def write_template(elements: Sequence[str], path: Path, *, force: bool = False) -> Path:
    """Write a configuration for `elements` to `path` and return it.

    Raises ConfigError for unknown elements, and where `path` exists and `force` is false.
    """
    if path.is_dir():
        raise ConfigError(str(path), [Problem(None, "", "is a folder; name a file")])
    if path.exists() and not force:
        raise ConfigError(
            str(path), [Problem(None, "", "exists already; use --force to overwrite it")]
        )
    text = template_text(elements, path.name)
    parse_config(text, str(path))
    try:
        write_whole(path, text)
    except OSError as error:
        raise ConfigError(
            str(path), [Problem(None, "", f"cannot be written ({error.strerror})")]
        ) from None
    return path
