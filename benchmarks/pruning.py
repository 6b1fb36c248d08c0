"""How much measuring time pruning saves, and what it costs, replayed on recorded systems.

    python -m benchmarks.pruning --data FOLDER [--seeds 10] [--half held-out] [--noise 0.02]

`FOLDER` holds recorded systems (benchmarks/curves/recorded.py says which are known);
`benchmarks/data` holds those that the project has measured itself, and is replayed without
`--data`. Families are split in two halves by a hash of the system's name: the settings of
`tuning/domain/measuring` were chosen on the development half.

A saving of 3x means a third of the measuring time. Regret is how much worse the chosen
configuration is than the one that measuring everything would have led to. Launches are not counted:
they are the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.curves.recorded import (
    E2E_LATENCY,
    THROUGHPUT,
    TPOT,
    TTFT,
    Family,
    Half,
    read_families,
)
from benchmarks.curves.replay import Cost, Replayed, Setting, replay
from benchmarks.replay.grid_file import UnreadableGrid
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import Direction
from tuning.domain.objectives import metric_objective

OWN_DATA = Path(__file__).parent / "data"
OBJECTIVES = (
    metric_objective(THROUGHPUT, Direction.MAXIMIZE),
    metric_objective(E2E_LATENCY, Direction.MINIMIZE),
    metric_objective(TTFT, Direction.MINIMIZE),
    metric_objective(TPOT, Direction.MINIMIZE),
)
LEAST_SAVING = 2.5
MOST_REGRET = 0.02


@dataclass(frozen=True)
class Row:
    """All replays of one family under one setting. Savings are of the time of all its searches."""

    family: Family
    setting: Setting
    pruning: Pruning
    saving: float
    regret: float
    worst_regret: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        families = [
            family
            for family in read_families(Path(options.data))
            if options.half in {None, family.half.value}
        ]
    except (FileNotFoundError, UnreadableGrid) as error:
        print(error, file=sys.stderr)
        return 2
    if not families:
        print("No family is replayed. Without --half all of --data are.", file=sys.stderr)
        return 2
    jobs = [
        (family, Setting(objective, cost, options.noise), pruning, options.seeds)
        for family in families
        for objective in OBJECTIVES
        if objective.metric in family.metrics
        for cost in ([Cost.REQUESTS] if family.seconds else Cost)
        for pruning in (Pruning.SAFE, Pruning.AGGRESSIVE)
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(_row, *zip(*jobs, strict=True), chunksize=4))
    print(f"{options.seeds} seeds of {len(families)} families, noise {options.noise:.0%}\n")
    for half in Half:
        of_half = [row for row in rows if row.family.half is half]
        if of_half:
            print(f"{half}:\n{_table(of_half)}\n")
    return 0 if _keeps_the_bar(rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__)
    parser.add_argument("--data", default=str(OWN_DATA), help="folder of recorded systems")
    parser.add_argument("--seeds", type=int, default=10, help="searches of each family")
    parser.add_argument("--half", choices=[half.value for half in Half], help="only this half")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="coefficient of variation of measurements, as 0.02"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


def _row(family: Family, setting: Setting, pruning: Pruning, seeds: int) -> Row:
    replays = [replay(family, setting, pruning, seed) for seed in range(seeds)]
    return Row(
        family,
        setting,
        pruning,
        _saving(replays),
        fmean(one.regret for one in replays),
        max(one.regret for one in replays),
    )


def _saving(replays: Sequence[Replayed]) -> float:
    return sum(one.whole_s for one in replays) / sum(one.spent_s for one in replays)


def _table(rows: Sequence[Row]) -> str:
    """A line for each objective and cost: means over families."""
    lines = [
        f"{'objective':34} {'a load takes':13} {'families':>8}"
        f" {'safe':>7} {'regret':>7} {'worst':>7} {'aggressive':>10} {'regret':>7} {'worst':>7}"
    ]
    settings = dict.fromkeys(row.setting for row in rows)
    for setting in settings:
        alike = [row for row in rows if row.setting == setting]
        cells = [_cells([row for row in alike if row.pruning is one]) for one in _SHOWN]
        name = f"{setting.objective.direction} {setting.objective.metric}"
        lines.append(f"{name:34.34} {setting.cost:13} {len(alike) // 2:8} {' '.join(cells)}")
    return "\n".join([*lines, *_verdicts(rows)])


_SHOWN = (Pruning.SAFE, Pruning.AGGRESSIVE)


def _cells(rows: Sequence[Row]) -> str:
    width = 6 if rows[0].pruning is Pruning.SAFE else 9
    return (
        f"{_mean_saving(rows):{width}.2f}x {fmean(row.regret for row in rows):7.2%}"
        f" {max(row.worst_regret for row in rows):7.2%}"
    )


def _mean_saving(rows: Sequence[Row]) -> float:
    """Of the time: a family that saves nothing costs more than one that saves all gives back."""
    return 1 / fmean(1 / row.saving for row in rows)


def _verdicts(rows: Sequence[Row]) -> list[str]:
    return [_verdict([row for row in rows if row.setting.cost is cost], cost) for cost in Cost]


def _verdict(rows: Sequence[Row], cost: Cost) -> str:
    safe = [row for row in rows if row.pruning is Pruning.SAFE]
    if not safe:
        return f"{cost}: not replayed"
    saving, regret = _mean_saving(safe), fmean(row.regret for row in safe)
    word = "kept" if saving >= LEAST_SAVING and regret <= MOST_REGRET else "MISSED"
    return (
        f"safe, loads by {cost}: saves {saving:.2f}x at {regret:.2%} regret; the bar of "
        f"{LEAST_SAVING}x at {MOST_REGRET:.0%} is {word}"
    )


def _keeps_the_bar(rows: Sequence[Row]) -> bool:
    """As task files have it: a number of requests for each load."""
    safe = [
        row for row in rows if row.pruning is Pruning.SAFE and row.setting.cost is Cost.REQUESTS
    ]
    return _mean_saving(safe) >= LEAST_SAVING and fmean(row.regret for row in safe) <= MOST_REGRET


if __name__ == "__main__":
    sys.exit(main())
