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
    """One phase of one experiment. `is_last` when the experiment went no further."""

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
    if run.started_at is None or run.status == ExperimentStatus.PENDING:
        return []
    end = run.finished_at or now
    cleanup = max(run.started_at, end - timedelta(seconds=run.cleanup_s or 0.0))
    return [bar for bar in _bars(run, run.started_at, cleanup, end) if bar.seconds > 0]


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
    launched = [run for run in results.runs if bars_of(run, results.now)]
    if not launched:
        return replace(chart, nothing="No experiment has been launched yet.")
    drawn = launched[-MOST_BARS:]
    return replace(
        chart,
        summary=_summary(drawn, results.now),
        data={
            "phases": PHASES,
            "experiments": [_experiment(results, run) for run in drawn],
        },
        table=_table(results, drawn),
        notes=_notes(len(drawn), results.total),
    )


def _notes(drawn: int, total: int) -> tuple[str, ...]:
    if drawn < MOST_BARS or drawn == total:
        return ()
    return (f"The newest {drawn} of {total:,} experiments are drawn.",)


def _experiment(results: TaskResults, run: Run) -> dict[str, Any]:
    return {
        "id": run.pk,
        "number": run.number,
        "role": results.role(run),
        "outcome": run.outcome,
        "failed": bool(run.failure_kind),
        "attempt": run.attempt,
        "bars": [
            [PHASES.index(bar.phase), _milliseconds(bar.start), _milliseconds(bar.end)]
            for bar in bars_of(run, results.now)
        ],
    }


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _summary(runs: Sequence[Run], now: datetime) -> str:
    spent = dict.fromkeys(PHASES, 0.0)
    for run in runs:
        for bar in bars_of(run, now):
            spent[bar.phase] += bar.seconds
    shares = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in spent.items())
    return f"{counted(len(runs), 'experiment')}; in all: {shares}."


def _table(results: TaskResults, runs: Sequence[Run]) -> Table:
    columns = [
        Column("#"),
        Column("Outcome", is_number=False),
        Column("Attempt"),
        Column("Launched (UTC)"),
        *(Column(phase.capitalize()) for phase in PHASES),
    ]
    return table(columns, runs[::-1], lambda run: _row(results, run))


def _row(results: TaskResults, run: Run) -> Row:
    bars = {bar.phase: bar for bar in bars_of(run, results.now)}
    launched = f"{run.started_at:%Y-%m-%d %H:%M:%S}" if run.started_at else "-"
    lengths = (duration(bars[phase].seconds) if phase in bars else "-" for phase in PHASES)
    cells = (str(run.number), run.outcome, str(run.attempt), launched, *lengths)
    return Row(cells, run.pk, results.role(run))
