"""Tasks that show what can become of one: experiments that were pruned or launched again, verdicts,
fronts and goodput."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.seeded_run import REQUESTS_PER_POINT, Machine, SimulatedRun
from tests.seeding import Seeding
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus, TaskStatus
from tuning.domain.spec import parse_task

_SGLANG = {
    "deployment_mode": "docker",
    "model": {"id_or_path": "meta-llama/Llama-3.1-8B-Instruct"},
    "base_runtime": "sglang",
    "parameters": {
        "mem-fraction-static": [0.7, 0.8, 0.88],
        "schedule-policy": ["lpm", "fcfs"],
        "chunked-prefill-size": [2048, 4096, 8192, 16384],
        "enable-torch-compile": [True, False],
    },
}
_CHAT = {
    "traffic_scenarios": ["D(512,128)", "N(480,240)/(300,150)"],
    "num_concurrency": [1, 4, 16, 64],
    "max_requests_per_iteration": REQUESTS_PER_POINT,
}
_CLUSTER = {
    "engine": "vllm",
    "namespace": "llama",
    "ome_version": "v0.1.3",
    "kubernetes_version": "v1.33.2",
    "model": "llama-3-1-8b-instruct",
    "runtime": "vllm-llama-3-1-8b-instruct",
    "image": "vllm/vllm-openai:v0.10.1",
    "image_digest": "sha256:0c4f29e1b7d2",
    "node": "gpu-worker-07",
    "gpu_model": "NVIDIA-H100-80GB-HBM3",
    "manifests": [
        {
            "apiVersion": "ome.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "autotuner-3f2a-19-2-1", "namespace": "llama"},
            "spec": {
                "model": {"name": "llama-3-1-8b-instruct", "kind": "ClusterBaseModel"},
                "runtime": {
                    "name": "vllm-llama-3-1-8b-instruct",
                    "kind": "ClusterServingRuntime",
                },
                "engine": {
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "runner": {
                        "name": "ome-container",
                        "args": ["--max-num-seqs=256", "--gpu-memory-utilization=0.9"],
                    },
                },
            },
        }
    ],
}


@dataclass
class Showcase:
    """Fills the database through `seeding`. Deterministic, but for the times."""

    seeding: Seeding
    seed: int = 7

    def all(self) -> dict[str, int]:
        """Every task, and the experiments worth a look, by a name for addresses."""
        made = {
            "better": self.better(),
            "no_difference": self.no_difference(),
            "unstable": self.unstable(),
            "front": self.front(),
            "goodput": self.goodput(),
            "verifying": self.verifying(),
            "cluster": self.cluster(),
            "several_draft": self.several_draft(),
        }
        return {**made, **_experiments_worth_a_look(made)}

    def better(self) -> int:
        """A limit that some break, pruned ones, requests that failed, contenders repeated, and a
        winner that is better."""
        return self._task(
            {
                "task_name": "llama-3.1-8b chat, verified",
                **_SGLANG,
                "optimization": {"strategy": "bayesian", "max_iterations": 24},
                "slo": {"ttft_p99_s": 0.34, "error_rate": 0.05},
                "benchmark": {**_CHAT, "repeats": "auto"},
            },
            Machine(failing={1: 3, 7: 6}, out_of_memory=[4]),
            ended_h_ago=5,
        )

    def no_difference(self) -> int:
        return self._task(
            {
                "task_name": "llama-3.1-8b schedule policy",
                **_SGLANG,
                "optimization": {"objective": "maximize_throughput"},
                "parameters": {"schedule-policy": ["lpm", "fcfs", "dfs-weight"]},
                "benchmark": {**_CHAT, "traffic_scenarios": ["D(512,128)"]},
            },
            Machine(spread=0.0, baseline=1.0, noise=0.012),
            ended_h_ago=4,
        )

    def unstable(self) -> int:
        return self._task(
            {
                "task_name": "llama-3.1-8b on a shared host",
                **_SGLANG,
                "optimization": {"strategy": "random", "max_iterations": 8, "pruning": "off"},
                "benchmark": {**_CHAT, "repeats": 2, "traffic_scenarios": ["D(512,128)"]},
            },
            Machine(spread=0.04, baseline=0.95, launch_noise=0.2),
            ended_h_ago=3,
        )

    def front(self) -> int:
        objectives = [
            "maximize_throughput",
            {"metric": "ttft_p99_s", "direction": "minimize"},
            {"metric": "energy_per_output_token_j", "direction": "minimize"},
        ]
        return self._task(
            {
                "task_name": "llama-3.1-8b throughput, TTFT and energy",
                **_SGLANG,
                "optimization": {
                    "strategy": "random",
                    "max_iterations": 24,
                    "objective": objectives,
                },
                "benchmark": {**_CHAT, "num_concurrency": [4, 16, 64]},
            },
            Machine(out_of_memory=[6, 15]),
            ended_h_ago=7,
        )

    def goodput(self) -> int:
        return self._task(
            {
                "task_name": "llama-3.1-8b goodput within TTFT 0.3 s",
                **_SGLANG,
                "optimization": {
                    "strategy": "random",
                    "max_iterations": 12,
                    "objective": "maximize_goodput",
                },
                "slo": {"ttft_p99_s": 0.3},
                "benchmark": {
                    **_CHAT,
                    "traffic_scenarios": ["D(512,128)"],
                    "num_concurrency": [1, 128],
                },
            },
            Machine(),
            ended_h_ago=6,
        )

    def verifying(self) -> int:
        """The search is over, and the second round is under way."""
        return self._task(
            {
                "task_name": "llama-3.1-8b, being verified",
                **_SGLANG,
                "optimization": {"strategy": "random", "max_iterations": 8},
                "benchmark": _CHAT,
            },
            Machine(),
            ended_h_ago=0.03,
            launches_again=3,
        )

    def cluster(self) -> int:
        return self._task(
            {
                "task_name": "llama-3.1-8b in the cluster",
                **_SGLANG,
                "base_runtime": "vllm",
                "deployment_mode": "ome",
                "model": {"id_or_path": "llama-3-1-8b-instruct", "namespace": "llama"},
                "ome": {
                    "runtime": "vllm-llama-3-1-8b-instruct",
                    "measuring": "benchmark_job",
                    "results_storage": "pvc://benchmark-results/autotuner",
                },
                "parameters": {
                    "max-num-seqs": [64, 128, 256],
                    "gpu-memory-utilization": [0.85, 0.9],
                },
                "optimization": {"verification": 2},
                "benchmark": {**_CHAT, "traffic_scenarios": ["D(512,128)"]},
            },
            Machine(environment=_CLUSTER),
            ended_h_ago=8,
        )

    def several_draft(self) -> int:
        """A draft that uses every corner of the form."""
        from tuning.models import Task
        from tuning.orchestrator.control import submit

        spec = parse_task(
            {
                "task_name": "draft with several objectives",
                **_SGLANG,
                "base_runtime": "vllm",
                "deployment_mode": "ome",
                "model": {"id_or_path": "llama-3-1-8b-instruct", "namespace": "llama"},
                "ome": {"measuring": "benchmark_job", "results_storage": "pvc://results/tuner"},
                "parameters": {"max-num-seqs": {"type": "int", "low": 32, "high": 512}},
                "optimization": {
                    "strategy": "bayesian",
                    "max_iterations": 40,
                    "pruning": "aggressive",
                    "verification": 5,
                    "objective": [
                        "maximize_throughput",
                        {"metric": "ttft_p99_s", "direction": "minimize"},
                    ],
                },
                "slo": {"ttft_p99_s": 0.8, "e2e_latency": {"p90": {"max": 6.0, "hard": False}}},
                "benchmark": _CHAT,
            }
        )
        task = submit(spec, owner=self.seeding.owner)
        Task.objects.filter(pk=task.pk).update(status=TaskStatus.DRAFT.value)
        return task.pk

    def _task(
        self,
        document: Mapping[str, Any],
        machine: Machine,
        *,
        ended_h_ago: float,
        launches_again: int | None = None,
    ) -> int:
        """Run a whole task; with `launches_again`, it stops in the middle of the last of those."""
        from django.utils import timezone

        from tuning.models import Task
        from tuning.orchestrator.control import submit

        spec = parse_task(dict(document))
        task = submit(spec, owner=self.seeding.owner)
        started = timezone.now()
        Task.objects.filter(pk=task.pk).update(created_at=started, started_at=started)
        task.refresh_from_db()
        run = SimulatedRun(task, spec, machine, random.Random(self.seed), started)
        # With a seed of its own, whatever else was made before.
        run.search(Seeding(self.seeding.owner, self.seed))
        ended = run.launch_again(launches_again)
        if ended:
            run.finish()
        else:
            Task.objects.filter(pk=task.pk).update(status=TaskStatus.RUNNING.value)
        run.end_at(timezone.now() - timedelta(hours=ended_h_ago))
        self.seeding.log(task.pk, started)
        return task.pk


def _experiments_worth_a_look(tasks: Mapping[str, int]) -> dict[str, int]:
    """Their primary keys, by a name for addresses."""
    from tuning.models import Experiment, Task

    of_better = Experiment.objects.filter(task_id=tasks["better"]).order_by("number")
    winner = Task.objects.get(pk=tasks["better"]).best_experiment
    wanted = {
        "pruned_experiment": of_better.filter(status=ExperimentStatus.PRUNED.value),
        "broken_experiment": of_better.filter(
            failure_kind=FailureKind.SLO_VIOLATED.value, number__gt=0
        ),
        "failing_experiment": of_better.filter(num_failed_requests__gt=0),
        "verification_experiment": of_better.filter(
            purpose=ExperimentPurpose.VERIFICATION.value, original=winner
        ),
        "cluster_experiment": Experiment.objects.filter(task_id=tasks["cluster"], number=2),
        "front_experiment": Experiment.objects.filter(
            task_id=tasks["front"], status=ExperimentStatus.SUCCESS.value, number__gt=0
        ),
        "goodput_experiment": Experiment.objects.filter(
            task_id=tasks["goodput"], status=ExperimentStatus.SUCCESS.value, number__gt=0
        ),
    }
    return {
        name: experiments.values_list("pk", flat=True)[0] for name, experiments in wanted.items()
    }
