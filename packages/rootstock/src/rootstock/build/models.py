"""Weights and smoke tests of a model in a built, not yet swapped in, environment."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootstock.build.programs import Log, Say, run
from rootstock.root.errors import BuildError
from rootstock.root.files import sha256_of
from rootstock.root.layout import Layout
from rootstock.root.manifest import ModelRecord, Verification, now
from rootstock.root.source import Facts
from rootstock.root.variables import complete, model_variables

FETCH_LIMIT_S = 3600.0
SMOKE_LIMIT_S = 900.0
# Our own, by its path: the rootstock inside an older environment may not know what is asked.
_SMOKE_TEST = Path(__file__).with_name("smoke_test.py")
# Python keeps what it compiles of the modules that the model imports: the root is read-only
# later, and to compile every file of every package would take minutes for nothing.
_COMPILE = {"PYTHONDONTWRITEBYTECODE": ""}
# A handful of atoms: more threads than one only wait for each other.
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


@dataclass(frozen=True)
class Bench:
    """Where models are tried: a version folder and what its interpreter needs."""

    layout: Layout
    folder: Path
    environment: str
    facts: Facts
    library_path: Path | None
    log: Log
    say: Say

    def run(self, what: str, arguments: list[str], timeout_s: float, *, offline: bool) -> Any:
        """Run the smoke test's module in the environment and return the JSON it wrote."""
        variables = model_variables(self.layout.folder, self.library_path, offline=offline)
        with tempfile.TemporaryDirectory(prefix="rootstock-") as work:
            out = Path(work) / "found.json"
            command = [
                str(self.folder / "bin" / "python"), str(_SMOKE_TEST),
                "--source", str(self.folder / f"{self.environment}.py"),
                *arguments, "--out", str(out),
            ]  # fmt: skip
            run(
                what,
                command,
                log=self.log,
                timeout_s=timeout_s,
                env=_ONE_THREAD | complete(variables | _COMPILE),
                cwd=Path(work),
                say=self.say,
            )
            return json.loads(out.read_text())


def import_test(bench: Bench) -> None:
    """Run the environment without a model: its interpreter, numpy, ase and the file itself."""
    bench.say(f"testing {bench.environment} without a model")
    arguments = ["--model", "", "--device", "cpu", "--import-only"]
    found = bench.run(f"the test of {bench.environment}", arguments, SMOKE_LIMIT_S, offline=True)
    _demand_inside(bench, bench.environment, found)


def argument_of(layout: Layout, model: ModelRecord) -> str:
    """Return what `setup` gets: the argument, or the path of registered weights."""
    return str(layout.folder / model.path) if model.path else model.argument


def fetch(bench: Bench, model: ModelRecord, name: str) -> None:
    """Load the model once with the network, and note what came into the root's caches."""
    bench.say(f"fetching the weights of {name}")
    before = _files(bench.layout)
    try:
        bench.run(
            f"fetching the weights of {name}",
            ["--model", argument_of(bench.layout, model), "--device", "cpu", "--load-only"],
            FETCH_LIMIT_S,
            offline=False,
        )
    except BuildError as error:
        short = bench.environment.removesuffix("_env")
        raise BuildError(
            f"{error}; where the network does not reach them, register a file: rootstock build "
            f"{short} --no-models, then rootstock register {short}-NAME FILE"
        ) from error
    new = {path: size for path, size in _files(bench.layout).items() if before.get(path) != size}
    for path in sorted(new):
        model.weights[str(path.relative_to(bench.layout.folder))] = sha256_of(path)
    model.size_bytes = sum((bench.layout.folder / path).stat().st_size for path in model.weights)


def smoke_test(
    bench: Bench, model: ModelRecord, name: str, device: str, options: Mapping[str, Any]
) -> Verification:
    """Run the smoke test of a model; without a network, as it will be used. Raises BuildError."""
    bench.say(f"testing {name} on {device}: energy, forces, stress")
    arguments = ["--model", argument_of(bench.layout, model), "--device", device]
    arguments += ["--elements", ",".join(model.elements), "--options", json.dumps(dict(options))]
    arguments += ["--default-elements", ",".join(bench.facts.elements)]
    if not bench.facts.conservative:
        arguments.append("--predicted-forces")
    found = bench.run(f"the smoke test of {name}", arguments, SMOKE_LIMIT_S, offline=True)
    _demand_inside(bench, name, found)
    model.elements = found["elements"]
    bench.say(
        f"{name}: {found['formula']} {found['energy_eV']:.4f} eV; forces within "
        f"{found['force_error_eV_per_A']:.1e} eV/Å of finite differences, {_stress_words(found)}"
        f"; {1000 * found['call_s']:.0f} ms a call"
    )
    return Verification(
        time=now(),
        version=bench.folder.name,
        formula=found["formula"],
        energy_eV=found["energy_eV"],
        force_error_eV_per_A=found["force_error_eV_per_A"],
        stress_error_eV_per_A3=found["stress_error_eV_per_A3"],
        load_s=found["load_s"],
        call_s=found["call_s"],
    )


def _demand_inside(bench: Bench, name: str, found: Mapping[str, Any]) -> None:
    if Path(found["prefix"]).resolve() != bench.folder.resolve():
        raise BuildError(
            f"the test of {name} ran in {found['prefix']}, not in {bench.folder}: this Python "
            f"({found['python']}) does not take an environment that can be moved"
        )
    if not Path(found["rootstock"]).resolve().is_relative_to(bench.folder.resolve()):
        raise BuildError(f"the test of {name} found rootstock in {found['rootstock']}")
    base = Path(found["base_prefix"]).resolve()
    if not base.is_relative_to(bench.layout.interpreters.resolve()):
        raise BuildError(f"the test of {name} used an interpreter outside the root: {base}")


def _stress_words(found: Mapping[str, Any]) -> str:
    off = found["stress_error_eV_per_A3"]
    return "no stress" if off is None else f"stress within {off:.1e} eV/Å³"


def _files(layout: Layout) -> dict[Path, int]:
    """Return the files of the root's caches and their sizes, registered weights left out."""
    return {
        path: path.stat().st_size
        for path in layout.cache.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not path.is_relative_to(layout.weights)
        and not path.name.endswith((".lock", ".tmp", ".incomplete"))
    }
