"""Our own time per experiment: all that is neither the engine's start nor the benchmark.

    python -m benchmarks.overhead [experiments]

Runs real experiments (embedded llama.cpp, sample model, genai-bench) through the same steps as
`run_task` and subtracts from each one's wall time

- the engine's start: from the moment its process is there to its own line "listening on …", and
- the benchmark: from the call that starts it to the last result file on disk.

What is left is claiming, launching, noticing, storing, judging, stopping and choosing what is next.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGET_S = 0.3


@dataclass
class Timeline:
    """Unix times of one experiment, in seconds."""

    engine_launched: float = 0.0
    engine_listening: float = 0.0
    benchmark_started: float = 0.0
    last_result: float = 0.0

    @property
    def engine_s(self) -> float:
        return self.engine_listening - self.engine_launched

    @property
    def benchmark_s(self) -> float:
        return self.last_result - self.benchmark_started


@dataclass
class Stopwatch:
    """Notes the times while an experiment runs, from the outside of every component."""

    current: Timeline = field(default_factory=Timeline)

    def watch(self, controller: Any, benchmark: Any) -> None:
        deploy, start = controller.deploy, benchmark.start

        def timed_deploy(*arguments: Any) -> Any:
            deployment = deploy(*arguments)
            self.current.engine_launched = time.time()
            return deployment

        def timed_start(*arguments: Any) -> Any:
            self.current.benchmark_started = time.time()
            return start(*arguments)

        controller.deploy, benchmark.start = timed_deploy, timed_start

    def log(self, source: Any, text: str) -> None:
        if "listening on" in text and not self.current.engine_listening:
            self.current.engine_listening = time.time()


def main(experiments: int) -> None:
    with tempfile.TemporaryDirectory(prefix="autotuner-overhead-") as scratch:
        data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        os.environ.setdefault(
            "AUTOTUNER_MODEL_PATH", str(data_home / "inference-autotuner" / "models")
        )
        os.environ["AUTOTUNER_DATA_DIR"] = scratch
        os.environ["DJANGO_SETTINGS_MODULE"] = "autotuner_site.settings"
        import django

        django.setup()
        report(measure(experiments))


def measure(experiments: int) -> list[tuple[float, Timeline]]:
    """Wall seconds and timeline of each experiment."""
    from django.conf import settings

    from controllers.sample_model import fetch_sample_model
    from tuning.composition import build_controller, build_ports, tokenizer_for
    from tuning.database import prepare_database
    from tuning.domain.spec import parse_task
    from tuning.models import Experiment
    from tuning.orchestrator.advance import advance
    from tuning.orchestrator.control import submit
    from tuning.orchestrator.run_experiment import run_experiment

    fetch_sample_model(settings.AUTOTUNER_MODEL_PATH)
    prepare_database()
    spec = parse_task(document(experiments))
    tokenizer_for(spec)
    task = submit(spec)
    stopwatch = Stopwatch()
    controller = build_controller(spec.deployment_mode)
    ports = build_ports(
        spec,
        controller,
        stopwatch.log,
        on_progress=lambda experiment_id, phase: None,
        interrupted=lambda: False,
    )
    stopwatch.watch(controller, ports.benchmark)
    measured: list[tuple[float, Timeline]] = []
    while True:
        stopwatch.current = Timeline()
        began = time.time()
        step = advance(task.pk)
        if step.finished:
            return measured
        run_experiment(step.ready[0], ports)
        wall_s = time.time() - began
        number = Experiment.objects.get(pk=step.ready[0]).number
        results = settings.AUTOTUNER_RESULTS_DIR / f"task_{task.pk}" / f"experiment_{number}"
        stopwatch.current.last_result = max(
            path.stat().st_mtime for path in results.rglob("*.json") if path.parent != results
        )
        measured.append((wall_s, stopwatch.current))


def document(experiments: int) -> dict[str, Any]:
    return {
        "task_name": "overhead",
        "deployment_mode": "local",
        "model": {"id_or_path": "SmolLM2-135M-Instruct.Q4_1.gguf"},
        "base_runtime": "llamacpp",
        "parameters": {"parallel": list(range(1, experiments + 1)), "ctx-size": 2048},
        "optimization": {"baseline": False, "max_iterations": experiments},
        "benchmark": {
            "traffic_scenarios": ["D(16,8)"],
            "num_concurrency": [1],
            "max_requests_per_iteration": 4,
            "max_time_per_iteration": 1,
        },
    }


def report(measured: list[tuple[float, Timeline]]) -> None:
    print(f"{'experiment':>10} {'wall s':>8} {'engine s':>9} {'benchmark s':>12} {'ours s':>8}")
    ours = []
    for number, (wall_s, timeline) in enumerate(measured, start=1):
        own_s = wall_s - timeline.engine_s - timeline.benchmark_s
        ours.append(own_s)
        print(
            f"{number:>10} {wall_s:>8.2f} {timeline.engine_s:>9.2f} "
            f"{timeline.benchmark_s:>12.2f} {own_s:>8.3f}"
        )
    median = statistics.median(ours)
    share = median / statistics.median(wall_s for wall_s, _ in measured)
    print(f"\nours per experiment: median {median:.3f} s, {share:.1%} of the wall time")
    print(f"ratio to the target of {TARGET_S} s: {median / TARGET_S:.2f} (at most 1 is wanted)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
