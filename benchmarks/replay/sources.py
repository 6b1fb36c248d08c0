"""Recorded systems as families, read from a folder of public data sets.

`SOURCES.md` of that folder says where each file comes from and under which licence. What a data
set lacks is filled in here, and only here: see `LAUNCH_S`.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.replay.family import Family, Outcome, family_of
from benchmarks.replay.grid_file import SUFFIX, MeasuredConfiguration, read_grids
from tuning.domain.failures import FailureKind
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.search.base import LimitedValue

FEWEST_CONFIGURATIONS = 20
"""A family of fewer is no search; the studies of vLLM's flags are taken whatever their size."""

LARGEST_GOOD_SHARE = 0.9
"""Where more than this share of the configurations is within 5 %, no search finds anything."""

LAUNCH_S = 180.0
"""Seconds from launch to healthy where a data set has no durations: a 70B model from local disk."""

ROUNDS = 10
"""Rounds of requests that a load point is measured with where a data set has no durations."""

Record = tuple[dict[str, FlagValue], Outcome]


def load_families(folder: Path) -> list[Family]:
    """All families of the data sets that lie in the folder, in the order of their names.

    Raises:
        FileNotFoundError: the folder holds none of the known data sets.
    """
    families = [
        family
        for name, load in _LOADERS.items()
        if (folder / name).is_dir()
        for family in load(folder / name)
    ]
    families += own_grids(folder)
    if not families:
        raise FileNotFoundError(
            f"{folder} holds no recorded system; known are the folders {', '.join(_LOADERS)} "
            f"and grids of our own (*{SUFFIX})."
        )
    telling = [family for family in families if family.share_within(0.05) <= LARGEST_GOOD_SHARE]
    return _with_kin(sorted(telling, key=lambda family: family.name))


def _with_kin(families: Sequence[Family]) -> list[Family]:
    """Each family with the next one of the same system that has the same flags."""
    groups: dict[tuple[object, ...], list[Family]] = defaultdict(list)
    for family in families:
        groups[_kinship(family)].append(family)
    kin = {
        family.name: group[(place + 1) % len(group)]
        for group in groups.values()
        for place, family in enumerate(group)
        if len(group) > 1
    }
    return [replace(family, kin=kin.get(family.name)) for family in families]


def _kinship(family: Family) -> tuple[object, ...]:
    """What families have in common that differ in their load alone. Of our own grids, each gives
    a family for every objective."""
    has_limits = any(outcome.limited for outcome in family.outcomes.values())
    objective = family.traffic if family.source == OWN else ""
    system = family.system.rpartition("-")[0]
    return family.source, system, objective, family.space.tuned, has_limits


def _number(text: str) -> FlagValue:
    """The value as a number where it is one; an empty text stays a text: the engine's default."""
    try:
        number = float(text)
    except ValueError:
        return text or "default"
    return int(number) if number.is_integer() else number


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row]


def _grouped(
    rows: Sequence[Mapping[str, str]], key: Callable[[Mapping[str, str]], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Mapping[str, str]]]:
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _merged(records: Sequence[Record]) -> list[Record]:
    """One record for each configuration: the median of those measured more than once."""
    by_flags: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_flags[json.dumps(record[0], sort_keys=True)].append(record)
    return [_median_record(group) for group in by_flags.values()]


def _median_record(group: Sequence[Record]) -> Record:
    measured = sorted(
        (record for record in group if record[1].value is not None),
        key=lambda record: record[1].value or 0.0,
    )
    return measured[(len(measured) - 1) // 2] if measured else group[0]


# --- silicon: measured deployments of LLMs on many GPUs ---

_DEPLOYMENT = ("backend", "backend_version", "precision", "tp", "adp", "moe_tp", "moe_ep")


def _silicon(folder: Path) -> Iterator[Family]:
    rows = _rows(folder / "silicon_agg_tasks.csv")
    groups = _grouped(rows, lambda row: (row["model"], row["system"], row["isl"], row["osl"]))
    for (model, system, isl, osl), group in groups.items():
        records = _merged([_deployment(row) for row in group])
        if len(records) < FEWEST_CONFIGURATIONS:
            continue
        name = f"{model.split('/')[-1]}-{system}"
        yield family_of(
            "silicon", name, f"D({isl},{osl})", Direction.MAXIMIZE, _without_limits(records)
        )
        yield family_of(
            "silicon", name, f"D({isl},{osl})+slo", Direction.MAXIMIZE, _with_limits(records)
        )


def _deployment(row: Mapping[str, str]) -> Record:
    flags = {name: _number(row[name]) for name in (*_DEPLOYMENT, "concurrency")}
    ttft_s, tpot_s = float(row["ttft_ms"]) / 1000, float(row["tpot_ms"]) / 1000
    request_s = ttft_s + tpot_s * (int(row["osl"]) - 1)
    outcome = Outcome(
        value=float(row["est_out_tok_s_per_gpu"]),
        gpu_s=(LAUNCH_S + ROUNDS * request_s) * int(row["gpus"]),
        limited=(
            LimitedValue("ttft_mean_s", ttft_s, max=ttft_s),
            LimitedValue("tpot_mean_s", tpot_s, max=tpot_s),
        ),
    )
    return flags, outcome


def _without_limits(records: Sequence[Record]) -> list[Record]:
    return [(flags, replace(outcome, limited=())) for flags, outcome in records]


def _with_limits(records: Sequence[Record]) -> list[Record]:
    """The same deployments, of which only those are good that answer as fast as half of them.

    Each metric's limit is its median; where no deployment keeps both, those of the first remain.
    """
    count = len(records[0][1].limited)
    medians = [median(_value(outcome, index) for _, outcome in records) for index in range(count)]
    limited = [(flags, _judged(outcome, medians)) for flags, outcome in records]
    if any(outcome.failure is None for _, outcome in limited):
        return limited
    return [(flags, _judged(outcome, medians[:1])) for flags, outcome in records]


def _value(outcome: Outcome, index: int) -> float:
    return outcome.limited[index].actual or 0.0


def _judged(outcome: Outcome, limits: Sequence[float]) -> Outcome:
    limited = tuple(
        replace(value, max=limit) for value, limit in zip(outcome.limited, limits, strict=False)
    )
    broken = any((value.actual or 0.0) > (value.max or 0.0) for value in limited)
    failure = FailureKind.SLO_VIOLATED if broken else None
    return replace(outcome, limited=limited, failure=failure)


# --- LLM-Inference-Bench: frameworks, devices and batch sizes ---


def _inference_bench(folder: Path) -> Iterator[Family]:
    plots = _rows(folder / "Plots_All_results.csv")
    yield from _bench_families(
        plots, "", ("Hardware", "Num of Hardware", "Framework", "Batch Size")
    )
    for file, suffix, extra in (
        ("TP_EP_PP_results.csv", "-parallelism", "Parallelism Type"),
        ("quant_all_results.csv", "-quantisation", "kv_cache_dtype"),
    ):
        flags = ("Hardware", "Num of Hardware", "Framework", extra, "Batch Size")
        yield from _bench_families(_rows(folder / file), suffix, flags)


def _bench_families(
    rows: Sequence[Mapping[str, str]], suffix: str, flags: Sequence[str]
) -> Iterator[Family]:
    complete = [row for row in rows if all(row.values())]
    groups = _grouped(complete, lambda row: (row["Model"], row["Input Output Length"]))
    for (model, length), group in groups.items():
        records = _merged([_bench_record(row, flags, int(length)) for row in group])
        if len(records) < FEWEST_CONFIGURATIONS:
            continue
        name = f"{model.split('/')[-1]}{suffix}"
        yield family_of(
            "inference-bench", name, f"D({length},{length})", Direction.MAXIMIZE, records
        )


def _bench_record(row: Mapping[str, str], flags: Sequence[str], length: int) -> Record:
    """Throughput counts per device, so that more devices are no gain by themselves."""
    devices = int(row["Num of Hardware"])
    throughput = float(row.get("Throughput") or row["throughput"])
    request_s = 2 * length * int(row["Batch Size"]) / throughput
    outcome = Outcome(throughput / devices, (LAUNCH_S + ROUNDS * request_s) * devices)
    return {flag: _number(row[flag]) for flag in flags}, outcome


# --- Studies of vLLM's flags, with failures and durations as they were ---

_STUDIES = {
    "mlperf-throughput": (
        "src_mlperf_studies_study_4",
        "src_mlperf_studies_study_7",
        "src_mlperf_studies_study_8",
    ),
    "mlperf-seqs": ("src_mlperf_studies_study_30",),
    "batched-tokens": tuple(f"src_studies_study_{number}" for number in (27, 32, 33, 34)),
}
"""Studies of the same objective on the same system, measured one after another."""

_VLLM_FLAGS = (
    "block_size",
    "compilation_config",
    "cuda_graph_sizes",
    "gpu_memory_utilization",
    "kv_cache_dtype",
    "long_prefill_token_threshold",
    "max_num_batched_tokens",
    "max_num_partial_prefills",
    "max_num_seqs",
)


def _vllm_studies(folder: Path) -> Iterator[Family]:
    with (folder / "optuna_trials.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] in {"COMPLETE", "FAIL"}]
    for name, studies in _STUDIES.items():
        records = _merged([_vllm_trial(row) for row in rows if row["study"] in studies])
        yield family_of("vllm-studies", name, "recorded", Direction.MAXIMIZE, records)


def _vllm_trial(row: Mapping[str, str]) -> Record:
    values = json.loads(row["values"])
    value = values[0] if values and values[0] > 0 else None
    flags = {flag: _number(row[flag]) for flag in _VLLM_FLAGS}
    failure = FailureKind.CRASHED if value is None else None
    return flags, Outcome(value, float(row["duration_s"]), failure)


# --- Kernels of GPUs, measured exhaustively ---


def _kernels(folder: Path) -> Iterator[Family]:
    for path in sorted(folder.glob("*.json.gz")):
        kernel, _, device = path.name.removesuffix(".json.gz").partition("_milo_")
        with gzip.open(path) as file:
            cache: dict[str, dict[str, Any]] = (document := json.load(file))["cache"]
        names = document["tune_params_keys"]
        records = [_kernel_run(names, entry) for entry in cache.values()]
        yield family_of("kernels", f"{kernel}-{device}", "recorded", Direction.MINIMIZE, records)


def _kernel_run(names: Sequence[str], entry: Mapping[str, Any]) -> Record:
    phases = ("compile_time", "verification_time", "benchmark_time")
    spent_s = sum(float(entry.get(phase) or 0.0) for phase in phases) / 1000
    flags = {name: entry[name] for name in names}
    if isinstance(entry["time"], int | float):
        return flags, Outcome(float(entry["time"]), spent_s)
    compiled = entry["time"] != "CompilationFailedConfig"
    return flags, Outcome(None, spent_s, FailureKind.CRASHED if compiled else FailureKind.BAD_FLAG)


# --- Grids that we have measured ourselves ---


OWN = "own"


def own_grids(folder: Path) -> Iterator[Family]:
    """The grids of `benchmarks.replay.grid_file`, one family for each measured objective.

    Raises:
        UnreadableGrid: a file that is named like a grid is none.
    """
    for grid in read_grids(folder):
        for objective in grid.objectives:
            records = [
                _grid_record(one, objective.metric)
                for one in grid.configurations
                if one.failure or objective.metric in one.metrics
            ]
            if any(outcome.value is not None for _, outcome in records):
                yield family_of(OWN, grid.system, objective.metric, objective.direction, records)


def _grid_record(one: MeasuredConfiguration, metric: str) -> Record:
    value = None if one.failure else one.metrics[metric]
    return dict(one.parameters), Outcome(value, one.duration_s, one.failure)


_LOADERS: Mapping[str, Callable[[Path], Iterator[Family]]] = {
    "silicon": _silicon,
    "LLM-Inference-Bench": _inference_bench,
    "auto-tuning-vllm-studies": _vllm_studies,
    "benchmark_hub": _kernels,
}
