"""What a person sees while a campaign runs: a live panel, plain lines, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pyacemaker.campaign.entries import BARRIERS_STEP
from pyacemaker.campaign.events import STEP_WORDS, Event, Listener

if TYPE_CHECKING:
    from pyacemaker.config.settings import CampaignSettings


def duration(seconds: float) -> str:
    """Return seconds as a person reads them: 42 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


class Watch:
    """Keeps what the panel shows, from the events of the campaign."""

    def __init__(self, settings: CampaignSettings) -> None:
        self.settings = settings
        self.start = time.monotonic()
        self.step_start = self.start
        self.iteration = 0
        self.step = ""
        self.done: int | None = None
        self.total: int | None = None
        self.labels = 0
        self.label_s = 0.0
        self.errors: tuple[float, float] | None = None

    def see(self, event: Event) -> None:
        """Take an event in."""
        self.iteration = event.iteration
        if event.kind == "begin":
            self.step, self.step_start = event.step, time.monotonic()
            self.done = self.total = None
        elif event.kind == "progress":
            self.done, self.total = event.data["done"], event.data["total"]
        elif event.kind == "end":
            self._take_result(event)

    def _take_result(self, event: Event) -> None:
        if event.step in ("label", BARRIERS_STEP, "certify"):
            self.labels += len(event.data["keys"])
            if computed := event.data["computed"]:
                self.label_s = event.data["wall_s"] / computed
        for check in event.data.get("checks", []):
            numbers = check["numbers"]
            energy = numbers.get("energy_rmse_eV_per_atom")
            force = numbers.get("force_rmse_eV_per_A")
            if check["name"] == "test_error" and energy is not None and force is not None:
                self.errors = (energy, force)

    def errors_text(self) -> str:
        """Return the newest test errors against what is asked for."""
        if self.errors is None:
            return "not known yet"
        wanted = self.settings.validation
        energy, force = self.errors
        return (
            f"{1000 * energy:.1f} meV/atom (goal {1000 * wanted.test_energy_rmse_eV_per_atom:g}), "
            f"{force:.3f} eV/Å (goal {wanted.test_force_rmse_eV_per_A:g})"
        )

    def estimate_text(self) -> str:
        """Return how long the rest can take at most: the labels that the budget leaves."""
        if not self.label_s:
            return "after the first labels"
        left = max(0, self.settings.budget.labels - self.labels)
        return f"at most {duration(left * self.label_s)} of labelling, less if it converges first"

    def panel(self) -> RenderableType:
        """Return what the terminal shows."""
        now = time.monotonic()
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", justify="right")
        table.add_column()
        running = STEP_WORDS.get(self.step, self.step) or "starting"
        where = f"iteration {self.iteration}" if self.iteration else "preparation"
        line = Text(f"{where}: {running}  ({duration(now - self.step_start)})", style="bold")
        table.add_row("now", line)
        if self.total:
            bar = Table.grid(padding=(0, 1))
            bar.add_row(
                ProgressBar(total=self.total, completed=self.done or 0, width=40),
                f"{self.done} of {self.total}",
            )
            table.add_row("", bar)
        table.add_row("labels", f"{self.labels} of at most {self.settings.budget.labels}")
        table.add_row("test error", self.errors_text())
        table.add_row("time", f"{duration(now - self.start)} in this run")
        table.add_row("estimate", self.estimate_text())
        return Group(Text(""), table)

    def __rich__(self) -> RenderableType:
        return self.panel()


@contextmanager
def live(console: Console, settings: CampaignSettings) -> Iterator[Listener]:
    """Show a panel that stays at the bottom, and the decisions scrolling above it."""
    watch = Watch(settings)
    with Live(watch, console=console, refresh_per_second=4, transient=True):

        def listen(event: Event) -> None:
            watch.see(event)
            if event.kind == "note":
                stamp = datetime.now().strftime("%H:%M:%S")
                text = Text.assemble(
                    (f"{stamp} ", "dim"), (f"[{event.iteration}] ", "cyan"), _coloured(event)
                )
                console.print(text, soft_wrap=True)

        yield listen


def _coloured(event: Event) -> Text:
    text = Text(f"{event.step}: {event.message}")
    text.highlight_words(["NO-GO", "halted", "failed"], "bold red")
    text.highlight_regex(r"\bgo\b|\bcompleted\b", "green")
    return text


@contextmanager
def plain(settings: CampaignSettings) -> Iterator[Listener]:
    """Print a line for every step and decision: for logs and pipes."""
    watch = Watch(settings)
    last = 0.0

    def listen(event: Event) -> None:
        nonlocal last
        watch.see(event)
        now = time.monotonic()
        text = None
        if event.kind == "note":
            text = f"{event.step}: {event.message}"
        elif event.kind == "begin":
            text = f"{event.step}: {STEP_WORDS.get(event.step, event.step)}"
        elif event.kind == "progress" and (now - last > 30 or watch.done == watch.total):
            text = f"{event.step}: {watch.done} of {watch.total}"
        if text is not None:
            last = now
            stamp = datetime.now().strftime("%H:%M:%S")
            print(f"{stamp} [{event.iteration}] {text}", flush=True)

    yield listen


@contextmanager
def json_lines() -> Iterator[Listener]:
    """Print every event as one JSON object a line."""

    def listen(event: Event) -> None:
        line = {
            "time": time.time(),
            "event": event.kind,
            "iteration": event.iteration,
            "step": event.step,
        }
        if event.message:
            line["message"] = event.message
        if event.kind == "progress":
            line |= {"done": event.data["done"], "total": event.data["total"]}
        elif event.kind == "end":
            line["wall_s"] = event.data["wall_s"]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    yield listen
