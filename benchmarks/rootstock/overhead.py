"""What a call to a model in another process costs: ours, ASE's, i-PI's, rootstock 1.6.4.

    python benchmarks/rootstock/overhead.py --out benchmarks/rootstock/overhead.json

A call is what an MD asks after each move: energy, forces and stress of the `Atoms`. The model
is null_model.py, so what is left is the way there and back (and ASE's own bookkeeping, which
`in-process` shows alone); `model` is one call of the model's own `calculate`, and `overhead_us`
what a way costs beyond it. Each repeat runs every way in turn, in a process of its own.

i-PI has no calculator: its figure is the time per step of an NVE run with its own Python driver
and its `gas` potential (zero forces), (t(900 steps) - t(100 steps)) / 800, its integrator
included.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ase.io import write
from measure import structure

HERE = Path(__file__).resolve().parent
OURS = ("shared-memory", "socket", "plain-i-pi")
PEER = "rootstock==1.6.4"
PEER_SOURCE = '''"""The null model as the peer wants it."""
CHECKPOINTS = {{"null": "null"}}

def setup(checkpoint, device, **kwargs):
    import sys
    sys.path.insert(0, {here!r})
    from null_model import Null
    return Null()
'''


def peer_root(folder: Path) -> tuple[Path, Path]:
    """Make the peer's environment and its root; return its interpreter and the root."""
    root = folder / "peer-root"
    environment = root / "envs" / "null_env"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "-q", environment], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = [uv, "pip", "install", "-q", "--python", python, PEER]
    subprocess.run(install, check=True, timeout=600)
    (root / "environments").mkdir()
    text = PEER_SOURCE.format(here=str(HERE))
    (root / "environments" / "null_env.py").write_text(text)
    (environment / "env_source.py").write_text(text)
    return python, root


def measure(python: Path, way: str, extra: list[str]) -> dict[str, Any]:
    """Run measure.py once and return what it says."""
    done = subprocess.run(
        [python, HERE / "measure.py", way, *extra],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ipi_seconds(count: int, steps: int, folder: Path) -> float:
    """Return the wall time of an i-PI run with its own driver."""
    folder.mkdir(parents=True)
    write(folder / "start.xyz", structure(count))
    name = f"bench_{os.getpid()}_{count}_{steps}"
    (folder / "input.xml").write_text(
        f"""<simulation verbosity='quiet'><output prefix='x'></output>
        <total_steps>{steps}</total_steps><prng><seed>1</seed></prng>
        <ffsocket mode='unix' name='d' pbc='False'><address>{name}</address></ffsocket>
        <system><initialize nbeads='1'><file mode='ase'>start.xyz</file>
        <velocities mode='thermal' units='kelvin'>100</velocities></initialize>
        <forces><force forcefield='d'></force></forces>
        <motion mode='dynamics'><dynamics mode='nve'>
        <timestep units='femtosecond'>1</timestep></dynamics></motion>
        <ensemble><temperature units='kelvin'>100</temperature></ensemble></system>
        </simulation>"""
    )
    binaries = Path(sys.executable).parent
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, binaries / "i-pi", "input.xml"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not Path(f"/tmp/ipi_{name}").exists() and server.poll() is None:
        time.sleep(0.01)
    driver = subprocess.Popen(
        [sys.executable, binaries / "i-pi-driver-py", "-u", "-a", name, "-m", "gas"],
        stdout=subprocess.DEVNULL,
    )
    if server.wait(600) != 0:
        raise SystemExit("i-PI failed")
    seconds = time.perf_counter() - start
    driver.wait(60)
    return seconds


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--atoms", type=int, nargs="+", default=[64, 256, 1000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    extra = ["--calls", str(options.calls), "--atoms", *map(str, options.atoms)]
    runs: dict[str, list[dict[str, Any]]] = {}
    here = Path(sys.executable)
    with tempfile.TemporaryDirectory() as scratch:
        peer_python, root = peer_root(Path(scratch))
        for repeat in range(options.repeats):
            for way in ("model", "in-process", *OURS, "ase-socketio"):
                runs.setdefault(way, []).append(measure(here, way, extra))
            peer = measure(peer_python, "rootstock-1.6.4", [*extra, "--root", str(root)])
            runs.setdefault("rootstock-1.6.4", []).append(peer)
            per_step = {}
            for count in options.atoms:
                folder = Path(scratch) / f"ipi-{repeat}-{count}"
                short = ipi_seconds(count, 100, folder / "short")
                long = ipi_seconds(count, 900, folder / "long")
                per_step[str(count)] = 1e6 * (long - short) / 800
            runs.setdefault("i-pi", []).append({"median_us": per_step})
            print(f"repeat {repeat + 1} of {options.repeats}", file=sys.stderr, flush=True)
    summary: dict[str, Any] = {}
    for way, results in runs.items():
        summary[way] = {
            "us_per_call": {
                n: round(statistics.median(r["median_us"][n] for r in results), 1)
                for n in map(str, options.atoms)
            }
        }
        for key, digits in (("first_energy_s", 3), ("added_rss_kib", 0)):
            if key in results[0]:
                value = statistics.median(r[key] for r in results)
                summary[way][key] = round(value, digits)
    base = summary["shared-memory"]["us_per_call"]
    for found in summary.values():
        times = found["us_per_call"]
        if found is not summary["model"]:
            alone = summary["model"]["us_per_call"]
            found["overhead_us"] = {n: round(times[n] - alone[n], 1) for n in times}
        found["times_ours"] = {n: round(times[n] / base[n], 2) for n in base}
    report = {
        "what": "energy + forces + stress after a move, null model; medians of repeats",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end",
        "repeats": options.repeats,
        "calls": options.calls,
        "summary": summary,
        "runs": runs,
    }
    print(json.dumps(summary, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
