"""What `status` and `list` tell."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rootstock.build.version import package_sha256
from rootstock.cli.words import size_text
from rootstock.root.errors import SourceError
from rootstock.root.files import sha256_of
from rootstock.root.layout import Layout, short_name
from rootstock.root.manifest import EnvironmentRecord, Manifest, ModelRecord, read_manifest
from rootstock.root.shipped import BUILT_IN, shipped_source, shipped_sources
from rootstock.root.source import EnvironmentSource, read_source


def status_of(layout: Layout) -> dict[str, Any]:
    """Return what is known of every environment and model of a root, as plain JSON values."""
    manifest = read_manifest(layout)
    names = {*manifest.environments, *manifest.errors}
    names |= {path.stem for path in layout.environments.glob("*_env.py")}
    names |= {model.environment for model in manifest.models.values()}
    return {
        "root": str(layout.folder),
        "environments": {n: _environment(layout, manifest, n) for n in sorted(names)},
        "models": {n: _model(manifest, n, m) for n, m in sorted(manifest.models.items())},
    }


def print_status(console: Console, status: dict[str, Any]) -> None:
    """Print one line a model, and what is wrong under it."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("model", "environment", "built", "verified", "size", "ms/call"):
        table.add_column(column, overflow="fold")
    notes: list[tuple[str, str]] = []
    environments = status["environments"]
    with_models = {model["environment"] for model in status["models"].values()}
    for name, model in status["models"].items():
        environment = environments[model["environment"]]
        verified = [d for d, v in model["verified"].items() if v["current"]]
        stale = [f"{d}, older build" for d, v in model["verified"].items() if not v["current"]]
        text = Text(", ".join(verified), "green") if verified else Text(", ".join(stale) or "no")
        calls = [v["call_s"] for v in model["verified"].values() if v["current"]]
        table.add_row(
            name,
            model["environment"],
            _built_text(environment),
            text,
            size_text(model["size_bytes"]),
            f"{1000 * min(calls):.1f}" if calls else "-",
        )
        if model["last_error"]:
            notes.append((name, model["last_error"]["message"]))
    for name, environment in environments.items():
        if name not in with_models:
            built = _built_text(environment)
            table.add_row("-", name, built, "no", size_text(environment["size_bytes"]), "-")
        if environment["last_error"]:
            notes.append((name, f"last build failed: {environment['last_error']['message']}"))
        notes += [(name, note) for note in environment["notes"]]
    console.print(f"root {status['root']}", markup=False, highlight=False, soft_wrap=True)
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing is built yet; next: rootstock list, then rootstock build NAME")
    for name, note in notes:
        console.print(
            Text.assemble((f"{name}: ", "bold"), (note, "yellow")), soft_wrap=True, highlight=False
        )


def listed(layout: Layout | None) -> list[dict[str, Any]]:
    """Return every environment that can be built, shipped and added, as plain JSON values."""
    sources: dict[str, EnvironmentSource | str] = dict(shipped_sources())
    built: dict[str, EnvironmentRecord] = {}
    if layout is not None:
        built = read_manifest(layout).environments
        for path in sorted(layout.environments.glob("*_env.py")):
            try:
                sources[path.stem] = read_source(path)
            except SourceError as error:
                sources[path.stem] = str(error)
    rows: list[dict[str, Any]] = [
        {"name": name, "origin": "built in", "built": True, "models": [""], "weights": "none",
         "licence": "LGPL-2.1-or-later (ASE)", "aliases": [],
         "summary": f"ASE's own {what}; needs no environment"}
        for name, what in zip(BUILT_IN, ("EMT", "Lennard-Jones"), strict=True)
    ]  # fmt: skip
    for name, source in sorted(sources.items()):
        row: dict[str, Any] = {"name": short_name(name), "built": name in built}
        shipped = shipped_source(name) is not None
        row["origin"] = "shipped" if shipped else "added"
        if isinstance(source, str):
            rows.append(row | {"error": source, "summary": source, "licence": "", "models": []})
            continue
        facts = source.facts
        rows.append(
            row
            | {
                "summary": facts.summary,
                "licence": facts.licence,
                "models": list(facts.models),
                "aliases": list(facts.aliases),
                "weights": facts.weights,
                "requires_python": source.requires_python,
                "dependencies": list(source.dependencies),
            }
        )
    return rows


def print_list(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print one paragraph an environment."""
    for row in rows:
        state = Text("built", "green") if row["built"] else Text("not built", "dim")
        if row["origin"] == "built in":
            state = Text("built in", "green")
        head = Text.assemble((f"{row['name']:<10} ", "bold"), state, f"  {row['summary']}")
        console.print(head, soft_wrap=True, highlight=False)
        models = [m for m in row["models"] if m]
        if models:
            text = ", ".join(f"{row['name']}-{m}" for m in models[:8])
            console.print(f"           {text}", style="dim", soft_wrap=True, highlight=False)
        elif row.get("weights") == "file":
            text = f"{row['name']}-/path/to/file, or rootstock register {row['name']}-NAME FILE"
            console.print(f"           {text}", style="dim", soft_wrap=True, highlight=False)
        console.print(f"           {row['licence']}", style="dim", soft_wrap=True, highlight=False)


def _built_text(environment: dict[str, Any]) -> str:
    if not environment["built"]:
        return "no"
    return f"{environment['built'][:10]} {environment['device']}"


def _environment(layout: Layout, manifest: Manifest, name: str) -> dict[str, Any]:
    record = manifest.environments.get(name)
    failure = manifest.errors.get(name)
    found: dict[str, Any] = {
        "built": record.built if record else None,
        "device": record.device if record else None,
        "size_bytes": record.size_bytes if record else 0,
        "version": record.version if record else None,
        "python": record.python if record else None,
        "packages": record.packages if record else {},
        "source_sha256": record.source_sha256 if record else None,
        "lock_sha256": record.lock_sha256 if record else None,
        "last_error": asdict(failure) if failure else None,
        "notes": [],
    }
    notes: list[str] = found["notes"]
    source = layout.source(name)
    again = f"rootstock build {short_name(name)}"
    if record is not None:
        if not source.is_file():
            notes.append("its environment file is gone")
        elif sha256_of(source) != record.source_sha256:
            notes.append(f"its environment file changed since it was built; {again} takes it in")
        if package_sha256() != record.rootstock_sha256:
            notes.append(f"built by another rootstock ({record.rootstock}); {again} renews it")
    shipped = shipped_source(name)
    if shipped is not None and source.is_file() and sha256_of(source) != sha256_of(shipped):
        notes.append(
            "its environment file is not the shipped one; "
            f"rootstock add {short_name(name)} --replace puts that in its place"
        )
    return found


def _model(manifest: Manifest, name: str, model: ModelRecord) -> dict[str, Any]:
    record = manifest.environments.get(model.environment)
    verified = {
        device: asdict(v) | {"current": record is not None and v.version == record.version}
        for device, v in model.verified.items()
    }
    size = model.size_bytes + (record.size_bytes if record else 0)
    return asdict(model) | {
        "built": record is not None,
        "verified": verified,
        "size_bytes": size,
        "weights_bytes": model.size_bytes,
    }
