"""`pyacemaker data`: look at labels, check them, take them elsewhere, bring others in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pyacemaker.cli.words import JsonFlag, refuse, say, say_apart, stdout

if TYPE_CHECKING:
    from pyacemaker.data.listing import Wanted
    from pyacemaker.labels import LabelStore

data_app = typer.Typer(
    help="Labels: list, show, check, export, import.",
    no_args_is_help=True,
    epilog="Exit codes: 0 all is well; 1 something is wrong with the data (it is said what); "
    "2 bad usage.",
)

StoreArgument = Annotated[
    Path, typer.Argument(help="A campaign's work directory, or its labels folder.", metavar="STORE")
]
Elements = Annotated[
    list[str] | None, typer.Option("--element", "-e", help="Only labels with this element.")
]
Generators = Annotated[
    list[str] | None,
    typer.Option("--generator", "-g", help="Only structures this generator made (local, eos)."),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--setting", "-s", help="Only labels with this setting: code=espresso."),
]


def _open(path: Path) -> LabelStore:
    from pyacemaker.data.listing import DataError, open_store

    try:
        return open_store(path)
    except DataError as error:
        raise refuse(str(error)) from error


def _wanted(
    elements: list[str] | None, generators: list[str] | None, settings: list[str] | None
) -> Wanted:
    from pyacemaker.data.listing import Wanted

    pairs = [text.partition("=") for text in settings or ()]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise refuse(f"--setting {bad[0]}: write NAME=VALUE, such as code=espresso")
    return Wanted(elements or (), generators or (), {name: value for name, _, value in pairs})


@data_app.command("ls")
def ls(
    store: StoreArgument,
    element: Elements = None,
    generator: Generators = None,
    setting: SettingsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List labels, one a line; filters combine.

    pyacemaker data ls runs/silicon -e Si -g local -s code=espresso
    """
    from pyacemaker.data.listing import labels_of, row_of
    from pyacemaker.labels import CorruptLabelError

    found = _open(store)
    try:
        pairs = labels_of(found, _wanted(element, generator, setting))
        rows = [row_of(key, label) for key, label in pairs]
    except CorruptLabelError as error:
        raise refuse(str(error), code=1) from error
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    right = {"atoms", "E (eV/atom)", "max |F| (eV/Å)", "time (s)"}
    for title in ("key", "formula", "atoms", "code", "from", *sorted(right - {"atoms"})):
        table.add_column(title, justify="right" if title in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row["key"][:12],
            row["formula"],
            str(row["atoms"]),
            str(row["code"]),
            str(row["generator"] or ""),
            f"{row['energy_eV_per_atom']:.4f}",
            f"{row['max_force_eV_per_A']:.3f}",
            f"{row['wall_s']:.1f}",
        )
    wide = stdout if stdout.is_terminal else Console(width=200)
    wide.print(table)
    stdout.print(f"{len(rows)} labels in {found.directory}", style="dim", highlight=False)


@data_app.command("show")
def show(
    store: StoreArgument,
    key: Annotated[str, typer.Argument(help="A label's key, or its first digits.", metavar="KEY")],
    as_json: JsonFlag = False,
) -> None:
    """Show everything that is kept of one label."""
    from pyacemaker.data.listing import DataError, find_key
    from pyacemaker.label_files import label_content
    from pyacemaker.labels import CorruptLabelError

    found = _open(store)
    try:
        whole = find_key(found, key)
        label = found.get(whole)
    except DataError as error:
        raise refuse(str(error)) from error
    except CorruptLabelError as error:
        raise refuse(str(error), code=1) from error
    assert label is not None  # noqa: S101 - its key was just found
    content: dict[str, Any] = {"key": whole, **label_content(label)}
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    from pyacemaker.cli.data_words import print_label

    print_label(stdout, whole, label)


@data_app.command("export")
def export(
    store: StoreArgument,
    path: Annotated[
        Path,
        typer.Argument(
            help="File to write: .extxyz, .db (ASE) or .pckl.gzip (pacemaker).", metavar="FILE"
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option("--format", help="extxyz, db or pacemaker, against the file's name."),
    ] = None,
    element: Elements = None,
    generator: Generators = None,
    setting: SettingsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write labels for other programs.

    ASE's database keeps every digit; extended XYZ rounds positions and forces to 1e-8; both
    carry settings, provenance and key. pacemaker's table is a pickle written by pandas 2.3.

    pyacemaker data export runs/silicon all.extxyz
    """
    from pyacemaker.data.exchange import export as write
    from pyacemaker.data.exchange import format_of
    from pyacemaker.data.listing import DataError, labels_of
    from pyacemaker.labels import CorruptLabelError
    from pyacemaker.parts.sources import PartError

    found = _open(store)
    if path.exists() and not force:
        raise refuse(f"{path} exists already; use --force to replace it")
    wanted = _wanted(element, generator, setting)
    try:
        kind = form or format_of(path)
        count = write(
            labels_of(found, wanted),
            path,
            kind,
            say_apart,
        )
    except (DataError, PartError) as error:
        raise refuse(str(error)) from error
    except CorruptLabelError as error:
        raise refuse(str(error), code=1) from error
    say(f"wrote {count} labels to {path}")


@data_app.command("import")
def import_(
    store: StoreArgument,
    path: Annotated[
        Path, typer.Argument(help="Extended XYZ, ASE .db, vasprun.xml, OUTCAR.", metavar="FILE")
    ],
    name: Annotated[
        str, typer.Option("--name", help="The data set's name, for `oracle.imported`.")
    ],
    method: Annotated[
        str,
        typer.Option(
            "--settings",
            help='How the labels were made, as JSON or a JSON file: \'{"functional": "PBE"}\'.',
        ),
    ] = "{}",
    energy_key: Annotated[str | None, typer.Option(help="Name of the energy (eV).")] = None,
    forces_key: Annotated[str | None, typer.Option(help="Name of the forces (eV/A).")] = None,
    stress_key: Annotated[str | None, typer.Option(help="Name of the stress.")] = None,
    virial_key: Annotated[str | None, typer.Option(help="Name of the virial (eV).")] = None,
    stress_unit: Annotated[str, typer.Option(help="eV/A^3, GPa or kbar.")] = "eV/A^3",
    pressure_sign: Annotated[
        bool, typer.Option("--pressure-sign", help="The file's stress is positive in compression.")
    ] = False,
    keep_outliers: Annotated[
        bool, typer.Option("--keep-outliers", help="Take what the checks find odd as well.")
    ] = False,
    restore: Annotated[
        bool,
        typer.Option("--restore", help="Bring exported labels back under their own settings."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring in labels that you have: deduplicated, checked, with their provenance.

    They are used by a campaign only where its `oracle.imported` names them. A pickle is never
    read. Structures that the checks find odd are set aside, and the exit code is 1.

    pyacemaker data import runs/new mine.extxyz --name mine --settings '{"functional": "PBE"}'
    """
    from pyacemaker.data.importing import import_file
    from pyacemaker.data.listing import DataError
    from pyacemaker.data.reading import Convention
    from pyacemaker.labels import LabelStore

    if stress_unit not in ("eV/A^3", "GPa", "kbar"):
        raise refuse(f"--stress-unit {stress_unit}: choose eV/A^3, GPa or kbar")
    # The store may be new: the labels folder of a campaign that has not begun.
    folder = store if store.name == "labels" or (store / "computed.log").exists() else None
    target = LabelStore(folder or store / "labels")
    convention = Convention(
        energy_key,
        forces_key,
        stress_key,
        virial_key,
        stress_unit,  # type: ignore[arg-type]  # looked at above
        pressure_sign,
    )
    try:
        done = import_file(
            target,
            path,
            name,
            _method(method),
            convention,
            keep_outliers=keep_outliers,
            restore=restore,
            dry_run=dry_run,
        )
    except DataError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps(done.as_dict(), indent=1))
    else:
        from pyacemaker.cli.data_words import print_imported

        print_imported(stdout, done, name, dry_run)
    raise typer.Exit(1 if done.set_aside else 0)


def _method(text: str) -> dict[str, Any]:
    try:
        path = Path(text)
        given = path.read_text() if not text.lstrip().startswith("{") else text
        found = json.loads(given)
    except (OSError, ValueError) as error:
        raise refuse(f"--settings {text}: neither JSON nor a JSON file ({error})") from error
    if not isinstance(found, dict):
        raise refuse("--settings: give a JSON object, such as {'functional': 'PBE'}")
    return found


@data_app.command("check")
def check(store: StoreArgument, as_json: JsonFlag = False) -> None:
    """Verify every checksum and every key, and look for labels that cannot be right."""
    from pyacemaker.data.verify import verify_store

    found = _open(store)
    report = verify_store(found)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=1))
    else:
        from pyacemaker.cli.data_words import print_check

        print_check(stdout, report)
    raise typer.Exit(1 if report.findings else 0)
