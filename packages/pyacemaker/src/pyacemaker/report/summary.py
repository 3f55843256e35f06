"""What the report says in words and tables, worked out from its data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pyacemaker.report.data import CheckEntry, LabelRow, MDTrace, ReportData
from pyacemaker.report.figures import QUANTITIES, Quantity, in_order, parity_pairs
from pyacemaker.report.formatting import (
    MISSING,
    count,
    duration,
    fixed,
    name_and_unit,
    number,
    plural,
)
from pyacemaker.report.thinning import errors


@dataclass(frozen=True)
class KeyNumber:
    """How a headline number is shown: `scale` turns the key's unit into `unit`."""

    key: str
    name: str
    unit: str
    scale: float = 1.0
    digits: int = 3


KEY_NUMBERS = (
    KeyNumber("labels", "Labels", ""),
    KeyNumber("energy_rmse_eV_per_atom", "Energy error (test RMSE)", "meV/atom", 1000, 2),
    KeyNumber("force_rmse_eV_per_A", "Force error (test RMSE)", "eV/Å", 1, 2),
    KeyNumber("stress_rmse_GPa", "Stress error (test RMSE)", "GPa", 1, 2),
    KeyNumber("a0_A", "Lattice constant a", "Å", 1, 4),
    KeyNumber("V0_A3_per_atom", "Equilibrium volume", "Å³/atom", 1, 4),
    KeyNumber("B0_GPa", "Bulk modulus B₀", "GPa"),
    KeyNumber("C11_GPa", "Elastic constant C₁₁", "GPa"),
    KeyNumber("C12_GPa", "Elastic constant C₁₂", "GPa"),
    KeyNumber("C44_GPa", "Elastic constant C₄₄", "GPa"),
    KeyNumber("lowest_phonon_THz", "Lowest phonon frequency", "THz"),
    KeyNumber("wall_s", "Wall time", "s"),
    KeyNumber("dft_s", "{method} time", "s"),
)
_ALWAYS = {
    "labels",
    "energy_rmse_eV_per_atom",
    "force_rmse_eV_per_A",
    "B0_GPa",
    "C11_GPa",
    "C12_GPa",
    "C44_GPa",
    "lowest_phonon_THz",
    "wall_s",
    "dft_s",
}  # shown also where they are not known yet
_FROM_CHECKS = {
    "a0_A": "a0_A",
    "V0_A3_per_atom": "V0_A3_per_atom",
    "B0_GPa": "B0_GPa",
    "C11_GPa": "C11_GPa",
    "C12_GPa": "C12_GPa",
    "C44_GPa": "C44_GPa",
    "lowest_phonon_THz": "lowest_frequency_THz",
}
VERDICTS = {
    "certified": ("✓", "Certified", "This potential passed every check."),
    "no_go": ("✕", "No-Go", "This potential failed a check and must not be used."),
    "budget": ("■", "Stopped by budget", "The campaign used up its budget before it converged."),
    "running": ("…", "In progress", "The campaign has not come to a decision yet."),
    "failed": ("✕", "Campaign failed", "The campaign ended by an error."),
}


def latest_checks(checks: Sequence[CheckEntry]) -> list[CheckEntry]:
    """Return the newest result of every check, in order of first appearance."""
    newest: dict[str, CheckEntry] = {}
    for check in checks:
        known = newest.get(check.name)
        if known is None or (check.iteration or 0) >= (known.iteration or 0):
            newest[check.name] = check
    return list(newest.values())


def short_method(data: ReportData) -> str:
    """Return what the labels were computed with, as a word before `energy` or `time`."""
    method = data.reference_method.strip()
    return "reference" if not method or method.lower().startswith("the ") else method


def labelled(data: ReportData) -> list[LabelRow]:
    """Return the structures that became labels."""
    return [row for row in data.labels if not row.failed]


def headline(data: ReportData) -> dict[str, float | None]:
    """Return every headline number: those given, then those the other parts tell."""
    found: dict[str, float | None] = {}
    if data.labels:
        found["labels"] = float(len(labelled(data)))
        spent = [row.wall_s for row in data.labels if row.wall_s is not None]
        found["dft_s"] = sum(spent) if spent else None
    if data.cycles:
        last = data.cycles[-1]
        found.setdefault("labels", last.labels)
        walls = [row.wall_s for row in data.cycles if row.wall_s is not None]
        found["wall_s"] = sum(walls) if walls else None
    for quantity in QUANTITIES:
        judged = [getattr(row, quantity.field) for row in data.cycles]
        value = next((v for v in reversed(judged) if v is not None), None)
        found[quantity.field] = _test_rmse(data, quantity) if value is None else value
    for check in latest_checks(data.checks):
        for key, name in _FROM_CHECKS.items():
            if name in check.numbers:
                found.setdefault(key, check.numbers[name])
    return found | {key: value for key, value in data.numbers.items() if value is not None}


def _test_rmse(data: ReportData, quantity: Quantity) -> float | None:
    test = data.parity.get("test")
    return errors(*parity_pairs(test, quantity))[0] if test else None


def judged_otherwise(data: ReportData) -> bool:
    """Say whether the test error that was judged is not that of the whole test set."""
    found = headline(data)
    for quantity in QUANTITIES:
        judged, whole = found[quantity.field], _test_rmse(data, quantity)
        if judged is not None and whole is not None and abs(judged - whole) > 0.01 * abs(whole):
            return True
    return False


def shown(key: str, value: float | None, scale: float = 1.0, digits: int = 3) -> str:
    """Return a headline number as text without its unit (times carry their own)."""
    if key.endswith("_s"):
        return duration(value)
    if key == "labels":
        return count(value)
    if key.endswith("_THz"):
        return fixed(value, 2)
    return number(None if value is None else value * scale, digits)


def key_number_rows(data: ReportData) -> list[dict[str, object]]:
    """Return rows for the table of key numbers: name, unit, value and one text a reference."""
    found = headline(data)
    known = {item.key for item in KEY_NUMBERS}
    referenced = {key for column in data.references.values() for key in column}
    others = [k for k in dict.fromkeys([*found, *sorted(referenced)]) if k not in known]
    method = short_method(data)
    method = method[:1].upper() + method[1:]
    rows: list[dict[str, object]] = []
    for item in (*KEY_NUMBERS, *(KeyNumber(k, *name_and_unit(k)) for k in others)):
        wanted = item.key in _ALWAYS or item.key in referenced or found.get(item.key) is not None
        if not wanted:
            continue
        rows.append(
            {
                "key": item.key,
                "name": item.name.replace("{method}", method),
                "unit": "" if item.key.endswith("_s") else item.unit,
                "value": shown(item.key, found.get(item.key), item.scale, item.digits),
                "references": [
                    _reference(item, column.get(item.key), found.get(item.key))
                    for column in data.references.values()
                ],
            }
        )
    return rows


def _reference(item: KeyNumber, value: float | None, ours: float | None) -> str:
    text = shown(item.key, value, item.scale, item.digits)
    if value and ours is not None and not item.key.endswith("_s"):
        text += f" ({100 * (ours - value) / abs(value):+.1f} %)".replace("-", "−")
    return text


def reason(data: ReportData) -> str:
    """Return the campaign's own sentence, or what the data alone can say."""
    if data.reason.strip():
        return data.reason.strip()
    bad = [check for check in latest_checks(data.checks) if check.passed is False]
    if bad:
        return " ".join(
            f"{check_name(check.name)}: {(check.reason or 'no reason was recorded').rstrip('.')}."
            for check in bad
        )
    if data.decision == "running":
        if data.cycles:
            return f"{plural(len(data.cycles), 'cycle')} finished so far."
        if data.labels:
            return f"{plural(len(labelled(data)), 'label')} so far, no potential fitted yet."
        return "Nothing has been computed yet."
    return "The campaign recorded no reason."


_CHECK_NAMES = {
    "consistency": "Forces and stress from the energy",
    "short_range": "Repulsion of every pair",
    "eos": "Equation of state",
    "elastic": "Elastic constants",
    "phonons": "Phonons",
    "test_error": "Errors on the test set",
}


def check_name(name: str) -> str:
    """Return a check's name as a heading."""
    gate, _, phase = name.partition(" (")  # of a further stable phase: eos (fcc Al)
    words = _CHECK_NAMES.get(gate, gate.replace("_", " ").capitalize())
    return f"{words} ({phase}" if phase else words


def check_numbers(check: CheckEntry) -> list[tuple[str, str, str]]:
    """Return (name, value, unit) of every number of a check; ratios in per cent."""
    rows = []
    for key, value in check.numbers.items():
        if key.endswith("_relative"):
            scaled = None if value is None else 100 * value
            rows.append((key.removesuffix("_relative").replace("_", " "), number(scaled, 3), "%"))
            continue
        name, unit = name_and_unit(key)
        if unit == "THz":
            text = fixed(value, 3)
        elif not unit and value is not None and value == round(value):
            text = count(value)
        else:
            text = number(value, 4)
        rows.append((name, text, unit))
    return rows


def _newest(traces: Sequence[MDTrace]) -> list[MDTrace]:
    newest = max((trace.iteration for trace in traces), default=0)
    return [trace for trace in traces if trace.iteration == newest]


def md_end(traces: Sequence[MDTrace]) -> str:
    """Say in one word how the newest cycle's MD ended: `go` without a halt or a failure."""
    ends = {trace.status for trace in _newest(traces)}
    if not ends:
        return "not run"
    if ends == {"completed"}:
        return "go"
    return "failed" if "failed" in ends else "halted" if "halted" in ends else "not finished"


def md_sentence(traces: Sequence[MDTrace]) -> str:
    """Say how the newest cycle's MD ended, or nothing where there was none."""
    if not traces:
        return ""
    last = _newest(traces)
    calm = sum(trace.status == "completed" for trace in last)
    reached = [t for trace in last for t, _, _ in trace.samples if t is not None]
    text = f"{calm} of {plural(len(last), 'run')} of cycle {last[0].iteration} ended without a halt"
    return text + (f"; the longest reached {number(max(reached) / 1000)} ps" if reached else "")


def error_rows(data: ReportData) -> list[dict[str, object]]:
    """Return a row for every split: RMSE, MAE and largest error of each quantity."""
    rows: list[dict[str, object]] = []
    for split in in_order(data.parity):
        cells = []
        for quantity in QUANTITIES:
            x, y = parity_pairs(data.parity[split], quantity)
            texts = [
                number(None if e is None else e * quantity.error_scale, 3) for e in errors(x, y)
            ]
            cells.append({"points": x.size, "rmse": texts[0], "mae": texts[1], "max": texts[2]})
        rows.append({"split": split, "cells": cells})
    return rows


def md_rows(traces: Sequence[MDTrace]) -> list[dict[str, object]]:
    """Return a row for every MD run."""
    rows: list[dict[str, object]] = []
    for trace in traces:
        times = [t for t, _, _ in trace.samples if t is not None]
        gammas = [g for _, g, _ in trace.samples if g is not None]
        rows.append(
            {
                "iteration": trace.iteration,
                "temperature": fixed(trace.temperature_K, 0),
                "engine": trace.engine or MISSING,
                "time": number(max(times) / 1000, 3) if times else MISSING,
                "gamma": number(max(gammas), 3) if gammas else MISSING,
                "status": trace.status or MISSING,
                "message": trace.message,
            }
        )
    return rows


def generator_rows(labels: Sequence[LabelRow]) -> tuple[list[str], list[dict[str, object]]]:
    """Return the splits there are, and a row for every generator, most labels first."""
    splits = in_order({row.split or "unassigned": 0 for row in labels if not row.failed})
    grouped: dict[str, list[LabelRow]] = defaultdict(list)
    for row in labels:
        grouped[row.generator or "unknown"].append(row)
    rows: list[dict[str, object]] = []
    for name in sorted(grouped, key=lambda g: (-len(grouped[g]), g)):
        of = grouped[name]
        by_split = Counter(row.split or "unassigned" for row in of if not row.failed)
        spent = [row.wall_s for row in of if row.wall_s is not None]
        good = sum(by_split.values())
        rows.append(
            {
                "generator": name,
                "counts": [by_split[split] for split in splits],
                "total": good,
                "failed": len(of) - good,
                "groups": len({row.group for row in of if row.group}),
                "time": duration(sum(spent)) if spent else MISSING,
                "mean": duration(sum(spent) / len(spent)) if spent else MISSING,
            }
        )
    return splits, rows


def trouble_rows(labels: Sequence[LabelRow]) -> list[LabelRow]:
    """Return the structures that failed, then those that needed more than one attempt."""
    failed = [row for row in labels if row.failed]
    healed = [r for r in labels if not r.failed and (r.remedies or (r.attempts or 1) > 1)]
    return failed + healed


def trouble_sentence(labels: Sequence[LabelRow], method: str) -> str:
    """Say how many calculations went wrong and what became of them."""
    if not labels:
        return f"No structure has been sent to {method} yet."
    failed = sum(1 for row in labels if row.failed)
    healed = len(trouble_rows(labels)) - failed
    if not failed and not healed:
        return f"All {plural(len(labels), 'structure')} gave a label at the first attempt."
    parts = []
    if healed:
        verb = "was" if healed == 1 else "were"
        parts.append(f"{plural(healed, 'structure')} failed at first and {verb} healed")
    if failed:
        parts.append(f"{plural(failed, 'structure')} could not be labelled")
    return f"Of {plural(len(labels), 'structure')}, " + " and ".join(parts) + "."
