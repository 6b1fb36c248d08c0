"""How many launches each search strategy needs, replayed on recorded systems.

    python -m benchmarks.search --data FOLDER [--seeds 30] [--jobs 2] [--json results.json]

`FOLDER` holds recorded grids of real systems (benchmarks/replay/sources.py says which are known);
`benchmarks/data` holds those that the project has measured itself, and is replayed without
`--data`. Families are split in two halves by a hash of the system's name: the strategy's own
settings were chosen on the development half and are reported on the held-out half.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from benchmarks.replay.contenders import CONTENDERS
from benchmarks.replay.disturbances import Disturbances
from benchmarks.replay.family import Family, Half
from benchmarks.replay.grid_file import UnreadableGrid
from benchmarks.replay.report import Comparison
from benchmarks.replay.session import Result, Rules, replay
from benchmarks.replay.sources import load_families

OWN_DATA = Path(__file__).parent / "data"
DEFAULT_BUDGET = 100
DEFAULT_SEEDS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        families = _chosen(options)
    except (FileNotFoundError, UnreadableGrid) as error:
        print(error, file=sys.stderr)
        return 2
    if not families:
        print("No family matches. Without --families all of --data are replayed.", file=sys.stderr)
        return 2
    strategies = options.strategies.split(",")
    unknown = [name for name in strategies if name not in CONTENDERS]
    if unknown:
        print(
            f"Unknown: {', '.join(unknown)}. Strategies are {', '.join(CONTENDERS)}.",
            file=sys.stderr,
        )
        return 2
    rules = Rules(
        budget=options.budget,
        disturbances=Disturbances(options.failures, options.noise),
        to_the_end=options.to_the_end,
    )
    began = time.monotonic()
    results = list(_all_replays(options, families, strategies, rules))
    comparison = Comparison(results, families)
    _print(comparison, rules, options.seeds, time.monotonic() - began)
    if options.json:
        documents = [asdict(result) for result in results]
        Path(options.json).write_text(json.dumps(documents), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--data", default=str(OWN_DATA), help="folder of recorded systems")
    parser.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="searches of each family")
    parser.add_argument("--families", default="*", help="patterns of names, separated by commas")
    parser.add_argument("--half", choices=[half.value for half in Half], help="only this half")
    parser.add_argument("--strategies", default=",".join(CONTENDERS), help="separated by commas")
    parser.add_argument("--budget", type=int, default=DEFAULT_BUDGET, help="launches of a search")
    parser.add_argument(
        "--failures", type=float, default=0.0, help="share of configurations made to fail, as 0.1"
    )
    parser.add_argument(
        "--noise", type=float, default=0.0, help="coefficient of variation of measurements, as 0.02"
    )
    parser.add_argument(
        "--to-the-end", action="store_true", help="spend the budget even when all is found"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--json", help="write every single result to this file")
    return parser


def _chosen(options: argparse.Namespace) -> list[Family]:
    patterns = options.families.split(",")
    return [
        family
        for family in _families(options.data)
        if any(fnmatch(family.name, pattern) for pattern in patterns)
        and options.half in {None, family.half.value}
    ]


@cache
def _families(folder: str) -> list[Family]:
    """Read once in each process."""
    return load_families(Path(folder))


def _all_replays(
    options: argparse.Namespace,
    families: Sequence[Family],
    strategies: Sequence[str],
    rules: Rules,
) -> Iterator[Result]:
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # each process has one core
    started_anew = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=started_anew) as pool:
        runs = [
            pool.submit(_one_replay, options.data, family.name, strategy, seed, rules)
            for seed in range(options.seeds)
            for family in sorted(families, key=lambda one: -len(one.configurations))
            for strategy in strategies
        ]
        for done, run in enumerate(as_completed(runs), start=1):
            if sys.stderr.isatty():
                print(f"\r{done}/{len(runs)}", end="", file=sys.stderr)
            yield run.result()


def _one_replay(folder: str, family: str, strategy: str, seed: int, rules: Rules) -> Result:
    found = next(one for one in _families(folder) if one.name == family)
    return replay(found, strategy, CONTENDERS[strategy], seed, rules)


def _print(comparison: Comparison, rules: Rules, seeds: int, wall_s: float) -> None:
    print(f"{seeds} seeds, at most {rules.budget} launches, {rules.disturbances}, {wall_s:.0f} s\n")
    print(comparison.family_table())
    for half in (Half.DEVELOPMENT, Half.HELD_OUT, None):
        if comparison.of(half):
            print(f"\n{comparison.summary_table(half)}\n\n{comparison.verdict(half)}")


if __name__ == "__main__":
    sys.exit(main())
