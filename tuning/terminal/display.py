"""Live progress of `run_task`: a panel that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tuning import formatting as formatted
from tuning.domain.names import LogSource
from tuning.logs import LogLine
from tuning.models import Task
from tuning.progress import TaskProgress, read_progress
from tuning.terminal.console import print_plain

SOURCE_STYLES = {
    LogSource.ENGINE: "dim",
    LogSource.BENCHMARK: "dim cyan",
    LogSource.ORCHESTRATOR: "",
}


class Display(Protocol):
    """Shows what happens while it happens. Used as a context manager around the run."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...

    def progress(self, experiment_id: int, phase: str) -> None:
        """An experiment does something new; called many times a second."""
        ...

    def line(self, line: LogLine) -> None:
        """A log line was written; called from several threads."""
        ...

    def say(self, text: str) -> None:
        """Tell the user something outside the log."""
        ...


class PlainDisplay:
    """One line per event, for pipes, files and CI."""

    def __init__(self, console: Console, *, verbose: bool, quiet: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing to put away."""

    def progress(self, experiment_id: int, phase: str) -> None:
        """The log lines of the orchestrator say the same, once each."""

    def line(self, line: LogLine) -> None:
        if self._verbose or (line.source is LogSource.ORCHESTRATOR and not self._quiet):
            prefix = "" if line.source is LogSource.ORCHESTRATOR else f"[{line.source}] "
            self.say(prefix + line.text)

    def say(self, text: str) -> None:
        if not self._quiet:
            print_plain(self._console, text)


class LiveDisplay:
    """A panel with experiment i of n, its phase, elapsed time, ETA and the best so far."""

    def __init__(self, console: Console, task: Task, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._task = task
        self._spec = task.parsed_spec()
        self._started = time.monotonic()
        self._spinner = Spinner("dots")
        self._phases: dict[int, tuple[str, float]] = {}
        self._progress = self._read()
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def progress(self, experiment_id: int, phase: str) -> None:
        known, _ = self._phases.get(experiment_id, ("", 0.0))
        if phase == known:
            return
        # Read here, in the thread that runs the experiment: the one that redraws has no business
        # with the database.
        self._progress = self._read()
        self._phases[experiment_id] = (phase, time.monotonic())

    def line(self, line: LogLine) -> None:
        if self._verbose:
            self._live.console.print(
                Text(f"{line.source:<12} {line.text}", style=SOURCE_STYLES[line.source]),
                soft_wrap=True,
            )

    def say(self, text: str) -> None:
        print_plain(self._live.console, text)

    def _read(self) -> TaskProgress:
        return read_progress(self._task, self._spec)

    def _render(self) -> Group:
        progress = self._progress
        now = time.monotonic()
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            Text(self._spec.task_name, style="bold"),
            ProgressBar(total=progress.total, completed=progress.finished, width=30),
            Text(f"{progress.finished}/{progress.total} experiments"),
            Text(f"elapsed {formatted.duration(now - self._started)}", style="dim"),
            Text(self._eta(progress), style="dim"),
        )
        self._spinner.update(text=Text(self._current(progress, now)))
        return Group(grid, self._spinner, Text(self._best(progress), style="green"))

    @staticmethod
    def _eta(progress: TaskProgress) -> str:
        if progress.eta_s is None:
            return "ETA after the first experiment"
        return f"ETA {formatted.duration(progress.eta_s)}"

    def _current(self, progress: TaskProgress, now: float) -> str:
        if progress.running is None:
            return "starting"
        running = progress.running
        phase, since = self._phases.get(running.pk, ("starting", now))
        name = running.title.lower()
        return (
            f"{name} ({formatted.flags(running.parameters)}): {phase}, "
            f"{formatted.duration(now - since)}"
        )

    def _best(self, progress: TaskProgress) -> str:
        if progress.best is None:
            return "no result yet"
        name = "the baseline" if progress.best.is_baseline else f"experiment {progress.best.number}"
        value = formatted.metric(self._spec.objective.metric, progress.best.objective_value)
        gain = formatted.gain(progress.gain_over_baseline)
        failed = progress.best.num_failed_requests
        value += f" ({failed:,} failed requests)" if failed else ""
        return f"best so far: {name}, {value}" + (
            f", {gain}" if gain and not progress.best.is_baseline else ""
        )
