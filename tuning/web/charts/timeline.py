"""When each experiment deployed, measured and cleaned up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tuning.domain.lifecycle import ExperimentStatus
from tuning.formatting import duration
from tuning.web.charts.chart import Chart, Column, Row, Table, counted, table
from tuning.web.charts.reading import Run, TaskResults

DEPLOY, BENCHMARK, CLEANUP = PHASES = ("deploy", "benchmark", "clean-up")

MOST_BARS = 200
"""The newest ones are drawn."""


@dataclass(frozen=True)
class Bar:
    """One phase of one experiment."""

    phase: str
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


def bars_of(run: Run, now: datetime) -> list[Bar]:
    """The phases of the last attempt, as far as it came; empty when it was never launched.

    Only a phase that was completed has a recorded length. One that failed or is under way takes
    what is left until the clean-up, which is the last thing before the end.
    """
    if run.started_at is None or not is_launched(run):
        return []
    end = run.finished_at or now
    cleanup = max(run.started_at, end - timedelta(seconds=run.cleanup_s or 0.0))
    return [bar for bar in _bars(run, run.started_at, cleanup, end) if bar.seconds > 0]


def is_launched(run: Run) -> bool:
    """A pending one may have been launched before; what is to come is not known."""
    return run.started_at is not None and run.status != ExperimentStatus.PENDING


def _bars(run: Run, start: datetime, cleanup: datetime, end: datetime) -> Iterator[Bar]:
    is_deploying = run.status == ExperimentStatus.DEPLOYING
    deployed = cleanup if is_deploying else _after(start, run.deploy_s, cleanup)
    yield Bar(DEPLOY, start, deployed)
    yield Bar(BENCHMARK, deployed, _after(deployed, run.benchmark_s, cleanup))
    yield Bar(CLEANUP, cleanup, end)


def _after(start: datetime, seconds: float | None, latest: datetime) -> datetime:
    return latest if seconds is None else min(latest, start + timedelta(seconds=seconds))


def timeline_chart(results: TaskResults) -> Chart:
    chart = Chart(
        key="timeline",
        kind="timeline",
        title="Timeline",
        reading="When each experiment ran, and for how long its engine started, was measured and "
        "was stopped. A cross marks a failure, and a number before a bar a repeated attempt, of "
        "which only the last is drawn.",
    )
    launched = [run for run in results.launches if is_launched(run)]
    drawn = [(run, bars_of(run, results.now)) for run in launched[-MOST_BARS:]]
    if not drawn:
        return replace(chart, nothing="No experiment has been launched yet.")
    return replace(
        chart,
        summary=_summary([bar for _, bars in drawn for bar in bars], len(drawn)),
        data={
            "phases": PHASES,
            "experiments": [_experiment(results, run, bars) for run, bars in drawn],
        },
        table=_table(results, drawn[::-1]),
        notes=_notes(len(drawn), results.total),
    )


def _notes(drawn: int, total: int) -> tuple[str, ...]:
    if drawn < MOST_BARS or drawn == total:
        return ()
    return (f"The newest {drawn} of {total:,} experiments are drawn.",)


def _experiment(results: TaskResults, run: Run, bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "id": run.pk,
        "number": run.number,
        "role": results.role(run),
        "outcome": run.outcome,
        "failed": bool(run.failure_kind),
        "attempt": run.attempt,
        "bars": [
            [PHASES.index(bar.phase), _milliseconds(bar.start), _milliseconds(bar.end)]
            for bar in bars
        ],
    }


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _summary(bars: Sequence[Bar], experiments: int) -> str:
    spent = dict.fromkeys(PHASES, 0.0)
    for bar in bars:
        spent[bar.phase] += bar.seconds
    shares = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in spent.items())
    return f"{counted(experiments, 'experiment')}; in all: {shares}."


def _table(results: TaskResults, drawn: Sequence[tuple[Run, Sequence[Bar]]]) -> Table:
    columns = [
        Column("#"),
        Column("Outcome", is_number=False),
        Column("Attempt"),
        Column("Launched (UTC)"),
        *(Column(phase.capitalize()) for phase in PHASES),
    ]
    return table(columns, drawn, lambda one: _row(results, *one))


def _row(results: TaskResults, run: Run, bars: Sequence[Bar]) -> Row:
    lengths = {bar.phase: duration(bar.seconds) for bar in bars}
    launched = f"{run.started_at:%Y-%m-%d %H:%M:%S}" if run.started_at else "-"
    phases = (lengths.get(phase, "-") for phase in PHASES)
    cells = (str(run.number), run.outcome, str(run.attempt), launched, *phases)
    return Row(cells, run.pk, results.role(run))
