"""Run a LAMMPS input with a model.

python -m rootstock.lammps -in in.md --model mace-medium --root R --species Cu Au

The input has a line `fix ID all external pf/callback 1 1` where the model comes in, after the
box is there, and `units metal`; a pair style is not needed, or `pair_style zero`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rootstock.calculator import RootstockCalculator
from rootstock.errors import RootstockError
from rootstock.lammps.fix import FixModel
from rootstock.lammps.library import load_lammps

_FIX = re.compile(r"^\s*fix\s+(\S+)\s+all\s+external\s+pf/callback\s+1\s+1\s*(#.*)?$")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the input; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        before, fix_id, after = split_input(options.input.read_text(), options.input)
        with RootstockCalculator(
            options.model,
            cluster=options.cluster,
            root=options.root,
            environment=options.environment,
            device=options.device,
            options=json.loads(options.options),
        ) as calculator:
            calculator.start()  # what is wrong with the model shows before LAMMPS begins
            lmp = load_lammps(["-log", str(options.log), "-nocite"])
            lmp.commands_string(before)
            with FixModel(lmp, calculator, options.species, fix_id=fix_id) as fix:
                fix.command(after)
            lmp.close()
    except (RuntimeError, OSError, ValueError) as error:
        print(f"rootstock: {error}", file=sys.stderr)
        return 1
    return 0


def split_input(text: str, name: Path) -> tuple[str, str, str]:
    """Return what comes before the fix, the fix's name, and what comes after it.

    Lines that end with & are joined. Raises RootstockError if there is no such line.
    """
    lines = re.sub(r"&[ \t]*\n", " ", text).splitlines()
    for number, line in enumerate(lines):
        if found := _FIX.match(line):
            before, after = lines[: number + 1], lines[number + 1 :]
            return "\n".join(before) + "\n", found[1], "\n".join(after)
    raise RootstockError(
        f"{name} has no line `fix ID all external pf/callback 1 1`: write it where the model "
        "comes in, before the first run"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rootstock.lammps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-in", dest="input", type=Path, required=True, help="LAMMPS' input")
    parser.add_argument("--model", help="the model's name: mace-medium, chgnet, emt")
    parser.add_argument("--species", nargs="+", required=True, help="element of each atom type")
    parser.add_argument("--root", help="the root with the model's environment")
    parser.add_argument("--cluster", help="or a known cluster")
    parser.add_argument("--environment", help="or a file with setup(model, device, **kwargs)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--options", default="{}", help="further arguments of setup, as JSON")
    parser.add_argument("--log", default="log.lammps", help="LAMMPS' log")
    return parser


if __name__ == "__main__":
    sys.exit(main())
