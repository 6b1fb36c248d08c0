"""Recorded systems whose configurations were measured at several concurrencies.

Read from a folder of public data sets, whose `SOURCES.md` says where each file comes from and under
which licence, from grids that the project has measured itself (`benchmarks.replay.grid_file`), and
from results that the product has exported as JSON (`*.results.json`).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.replay.grid_file import DURATION, SUFFIX, Grid, read_grids
from tuning.domain.measuring.loads import Load

FEWEST_CONFIGURATIONS = 8
FEWEST_LOADS = 3
"""With fewer there is little to leave out."""

THROUGHPUT = "output_throughput_tokens_per_s"
E2E_LATENCY = "e2e_latency_mean_s"
TTFT = "ttft_mean_s"
TPOT = "tpot_mean_s"

Metrics = Mapping[str, float]
Curves = Mapping[Load, Metrics]


class Half(StrEnum):
    """Settings are chosen on one half of the families and reported on the other."""

    DEVELOPMENT = "development"
    HELD_OUT = "held-out"


@dataclass(frozen=True)
class Family:
    """Configurations that were all measured at the same loads.

    `seconds` has how long each load took, where that was recorded.
    """

    source: str
    system: str
    traffic: str
    configurations: Sequence[Curves]
    seconds: Sequence[Mapping[Load, float]] = ()

    @property
    def name(self) -> str:
        return f"{self.source}/{self.system}@{self.traffic}"

    @property
    def half(self) -> Half:
        """Of the system, so that another traffic of it is on the same side."""
        digest = hashlib.sha256(f"{self.source}/{self.system}".encode()).digest()
        return Half.DEVELOPMENT if digest[0] % 2 == 0 else Half.HELD_OUT

    @property
    def loads(self) -> list[Load]:
        return sorted(self.configurations[0]) if self.configurations else []

    @property
    def metrics(self) -> frozenset[str]:
        every = [set(metrics) for curves in self.configurations for metrics in curves.values()]
        return frozenset(set.intersection(*every))


def read_families(folder: Path) -> list[Family]:
    """All that can be told of what lies in the folder, by name.

    Raises:
        FileNotFoundError: nothing known is there.
        UnreadableGrid: a file that is named like a grid of our own is none.
    """
    readers: Mapping[str, Callable[[Path], Iterator[Family]]] = {
        "silicon/silicon_agg_tasks.csv": _silicon,
        "LLM-Inference-Bench/Plots_All_results.csv": _inference_bench,
    }
    found = [
        family
        for name, read in readers.items()
        if (folder / name).is_file()
        for family in read(folder / name)
    ]
    found += [_measured(grid) for grid in read_grids(folder)]
    found += [_exported(path) for path in sorted(folder.glob("*.results.json"))]
    if not found:
        raise FileNotFoundError(
            f"{folder} has none of {', '.join(readers)}, nor a grid of our own (*{SUFFIX}) or an "
            "exported *.results.json."
        )
    return sorted((one for one in found if _tells_enough(one)), key=lambda one: one.name)


def _tells_enough(family: Family) -> bool:
    return len(family.configurations) >= FEWEST_CONFIGURATIONS and len(family.loads) >= FEWEST_LOADS


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _silicon(path: Path) -> Iterator[Family]:
    """A search over serving systems: accelerator, engine, version, precision and parallelism.

    Output throughput is that of one GPU, so that deployments of any size can be compared.
    """
    flags = ("system", "backend", "backend_version", "precision", "tp", "adp", "moe_tp", "moe_ep")
    groups: dict[tuple[str, ...], dict[tuple[str, ...], dict[Load, Metrics]]] = _nested()
    for row in _rows(path):
        traffic = f"D({row['isl']},{row['osl']})"
        load = Load(traffic, int(row["concurrency"]))
        ttft_s, tpot_s = float(row["ttft_ms"]) / 1000, float(row["tpot_ms"]) / 1000
        e2e_s = ttft_s + tpot_s * (int(row["osl"]) - 1)
        throughput = load.concurrency * int(row["osl"]) / e2e_s / int(row["gpus"])
        metrics = {TTFT: ttft_s, TPOT: tpot_s, E2E_LATENCY: e2e_s, THROUGHPUT: throughput}
        curves = groups[row["model"], traffic][tuple(row[flag] for flag in flags)]
        curves.setdefault(load, metrics)
    for (model, traffic), configurations in groups.items():
        yield from _family("silicon", model, traffic, list(configurations.values()))


def _inference_bench(path: Path) -> Iterator[Family]:
    """A search over hardware, framework and number of devices. Batch sizes are concurrencies."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], dict[Load, Metrics]]] = _nested()
    for row in _rows(path):
        try:
            latency_s, throughput = float(row["Latency"]), float(row["Throughput"])
            load = Load(row["Input Output Length"], int(row["Batch Size"]))
        except ValueError:
            continue
        if latency_s <= 0 or throughput <= 0:
            continue
        key = (row["Hardware"], row["Framework"], row["Num of Hardware"])
        curves = groups[row["Model"], load.scenario][key]
        curves.setdefault(load, {E2E_LATENCY: latency_s, THROUGHPUT: throughput})
    for (model, traffic), configurations in groups.items():
        yield from _family("LLM-Inference-Bench", model, traffic, list(configurations.values()))


def _nested() -> dict[tuple[str, ...], dict[tuple[str, ...], dict[Load, Metrics]]]:
    return defaultdict(lambda: defaultdict(dict))


def _family(
    source: str, model: str, traffic: str, configurations: Sequence[Curves]
) -> Iterator[Family]:
    """With those loads that most measurements have in common with configurations of all of them."""
    sets = Counter(frozenset(curves) for curves in configurations)
    best: list[Curves] = []
    for loads in sets:
        having = [curves for curves in configurations if loads <= set(curves)]
        common = [{load: curves[load] for load in sorted(loads)} for curves in having]
        enough = len(loads) >= FEWEST_LOADS and len(common) >= FEWEST_CONFIGURATIONS
        if enough and (not best or len(common) * len(loads) > len(best) * len(best[0])):
            best = list(common)
    if best:
        yield Family(source, model.split("/")[-1], traffic, best)


def _measured(grid: Grid) -> Family:
    """Those configurations of a grid that were measured at every load."""
    points = [grid.points_of(one) for one in grid.configurations if one.failure is None]
    whole = [one for one in points if len(one) == len(grid.loads)]
    return Family(
        source="own",
        system=grid.system,
        traffic=grid.traffic,
        configurations=[{load: _without_time(row) for load, row in one.items()} for one in whole],
        seconds=[{load: row[DURATION] for load, row in one.items()} for one in whole],
    )


def _without_time(row: Metrics) -> Metrics:
    return {name: value for name, value in row.items() if name != DURATION}


def _exported(path: Path) -> Family:
    """Results of a task, as `GET /api/tasks/<id>/results` and the page's download give them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    configurations: list[Curves] = []
    seconds: list[Mapping[Load, float]] = []
    for experiment in document["experiments"]:
        if experiment["status"] != "SUCCESS":
            continue
        points = [one for one in experiment["measurements"] if one["repeat"] == 0]
        configurations.append({_load(one): one["metrics"] for one in points})
        seconds.append({_load(one): one["duration_s"] for one in points})
    system = path.name.removesuffix(".results.json")
    return Family("own", system, "as recorded", configurations, seconds)


def _load(measurement: Mapping[str, object]) -> Load:
    return Load(str(measurement["scenario"]), int(str(measurement["concurrency"])))
