"""Commands, options, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import esper
from esper.commands import blueprints, kernels, policy, service
from esper.files import AlreadyLockedError
from esper.terminal import JsonFlag, QuietFlag, refuse, say, stderr, stdout, warn

if TYPE_CHECKING:
    from esper.tolaria.run import Run

app = typer.Typer(
    help="Networks that grow their own architecture while they train.\n\n"
    "Begin with `esper train examples/esper/digits.yaml`, then `esper report digits`.",
    epilog="Exit codes: 0 done; 1 training failed; 2 bad usage, or a configuration or data set "
    "that is refused; 130 interrupted (run again to go on).",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


TRAINING, LIBRARY = "Training", "What can grow"


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"esper {esper.__version__}")
        raise typer.Exit


@app.command(rich_help_panel=TRAINING)
def train(
    config: Annotated[Path, typer.Argument(help="The training's YAML.", metavar="CONFIG")],
    workdir: Annotated[
        Path | None,
        typer.Option("--workdir", "-w", help="Where it works; by default the YAML's name, here."),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Train, or go on with the training in the work directory.

    It can be stopped at any moment, by Ctrl-C or by a crash: the same command goes on from the
    last checkpoint, and ends with the very weights of an undisturbed run.
    """
    from esper.config import ConfigError, load_config

    try:
        settings = load_config(config)
    except ConfigError as error:
        raise refuse(str(error)) from error
    from esper.report.render import write_report
    from esper.tezzeret.module import KernelError
    from esper.tolaria.data import DataError
    from esper.tolaria.governor import TrainingError
    from esper.tolaria.library import deposit, run_name
    from esper.tolaria.loop import HISTORY
    from esper.tolaria.loop import train as run_training
    from esper.urza.database import LibraryError

    where = workdir or Path(config.stem)
    if where.exists() and not where.is_dir():
        raise refuse(f"{where} is a file; name a work directory with --workdir")
    try:
        with Progress(
            TextColumn("epoch {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=stderr,
            disable=quiet or not stderr.is_terminal,
        ) as progress:
            task = progress.add_task("", total=settings.training.epochs)

            def show(run: Run) -> None:
                last = run.history["epochs"][-1:]
                words = [f"val {e['validation_accuracy']:.3f}" for e in last]
                words += [f"{e['parameters']} parameters" for e in last]
                progress.update(task, completed=run.epoch, description=", ".join(words))

            run = run_training(settings, where, folder=config.parent, on_step=show)
    except DataError as error:
        raise refuse(f"{config}: key 'data.source': {error}") from error
    except (TrainingError, AlreadyLockedError) as error:
        raise refuse(str(error), code=1) from error
    except OSError as error:
        raise refuse(f"--workdir {where}: training stopped ({error})", code=1) from error
    except KeyboardInterrupt:
        raise refuse(f"interrupted; `esper train {config}` goes on", code=130) from None
    if run.untold:
        warn(
            f"{run.untold} events were not told ({run.bus_failure}); nothing is lost, the same "
            "command tells them"
        )
    try:
        deposit(run, settings, run_name(settings, where))
    except (LibraryError, KernelError) as error:
        warn(f"what grew is not in the library yet ({error}); the same command puts it there")
    history = json.loads((where / HISTORY).read_text())
    report = write_report(where)
    if as_json:
        typer.echo(json.dumps(history["result"], indent=1))
        return
    outcome = history["result"]
    stdout.print(
        f"test accuracy {outcome['test_accuracy']:.4f}, {outcome['parameters']} parameters, "
        f"{outcome['training_flops']:.3g} training FLOPs; report: {report}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command(rich_help_panel=TRAINING)
def runs(
    folder: Annotated[Path, typer.Argument(help="Where to look.", metavar="DIR")] = Path(),
    as_json: JsonFlag = False,
) -> None:
    """List the trainings below a folder, and how far each is."""
    if not folder.is_dir():
        raise refuse(f"{folder}: there is no such folder; name one that holds work directories")
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("history.json")):
        try:
            history = json.loads(path.read_text())
            epochs, wanted = history["epochs"], history["config"]["training"]["epochs"]
            events, outcome = history["events"], history["result"] or {}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # some other program's history.json
        rows.append(
            {
                "workdir": str(path.parent),
                "epochs": len(epochs),
                "of": wanted,
                "parameters": epochs[-1]["parameters"] if epochs else None,
                "validation_accuracy": epochs[-1]["validation_accuracy"] if epochs else None,
                "test_accuracy": outcome.get("test_accuracy"),
                "events": len(events),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        say(f"no training below {folder}; `esper train CONFIG` makes one")
        return
    table = Table("training", "epochs", "parameters", "validation", "test", "events")
    for row in rows:
        table.add_row(
            row["workdir"],
            f"{row['epochs']}/{row['of']}",
            str(row["parameters"]),
            _share(row["validation_accuracy"]),
            _share(row["test_accuracy"]),
            str(row["events"]),
        )
    stdout.print(table)


@app.command(rich_help_panel=TRAINING)
def report(
    workdir: Annotated[Path, typer.Argument(help="A training's work directory.", metavar="DIR")],
) -> None:
    """Write report.html anew: loss, growth events, lineage, cost."""
    from esper.report.render import ReportError, write_report

    try:
        typer.echo(write_report(workdir))
    except ReportError as error:
        raise refuse(str(error)) from error


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


app.add_typer(policy.policy_app, name="policy", rich_help_panel=TRAINING)
app.command(rich_help_panel=LIBRARY)(kernels.forge)
app.command(rich_help_panel=LIBRARY)(blueprints.lineage)
app.command(rich_help_panel=LIBRARY)(service.serve)
app.command(rich_help_panel=LIBRARY)(service.events)
app.add_typer(blueprints.blueprints_app, name="blueprints", rich_help_panel=LIBRARY)
app.add_typer(kernels.kernels_app, name="kernels", rich_help_panel=LIBRARY)
app.add_typer(service.library_app, name="library", rich_help_panel=LIBRARY)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
