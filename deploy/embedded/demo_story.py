"""How the demo is told: one line for each stage with its seconds, a progress bar while a job runs."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from shared.client import SynthMRI

Json = dict[str, Any]


@dataclass
class Story:
    """The demo as far as it has come.

    Attributes:
        stages: (stage, what came out, seconds), in order.
        results: what the last steps need of the earlier ones.
    """

    platform: SynthMRI
    console: Console
    stages: list[tuple[str, str, float]] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)

    def run_job(self, title: str, job: Json) -> Json:
        """Follow a job with a progress bar; return it with its artifacts once it has succeeded."""
        columns = (
            TextColumn("  {task.description:<34}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[notes]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            line = bar.add_task(title, total=1, notes="")

            def show(state: Json) -> None:
                notes = "  ".join(f"{key} {value}" for key, value in state.get("notes", {}).items())
                progress = state["progress"]
                bar.update(line, completed=progress["done"], total=progress["total"] or 1, notes=notes)

            return self.platform.wait(job["id"], show)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[list[str]]:
        """Time one stage; what is appended to the list is its one-line result."""
        self.console.print(f"[bold]{title}[/bold]")
        began = time.monotonic()
        said: list[str] = []
        yield said
        seconds = time.monotonic() - began
        result = "; ".join(said)
        self.stages.append((title, result, seconds))
        self.console.print(f"  {result}  [dim]{seconds:.1f} s[/dim]", highlight=False)
