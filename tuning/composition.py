"""Composing a run: the one place where the orchestrator's ports meet real controllers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from controllers.base import (
    Benchmark,
    Controller,
    DeploymentError,
    GpuWatch,
    HostCards,
    LogSink,
)
from controllers.cluster.settings import ClusterSettings, ModelSource, ModelStorage
from controllers.container_plan import ContainerLimits
from controllers.engines.base import Engine
from controllers.engines.catalogue import engine
from controllers.engines.memory import Verdict
from controllers.engines.model_files import locate_directory_or_hub_id, locate_gguf
from controllers.genai_bench.run import GenaiBench
from controllers.gpus import GpuSampler, host_gpus
from controllers.registry import ControllerSettings, DeploymentModeUnavailable, controller_for
from tuning.domain.names import DeploymentMode, EngineName, FlagValue
from tuning.domain.spec import TaskSpec
from tuning.model_memory import ModelMemory
from tuning.models import Task
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports, TokenizerUnavailable
from tuning.orchestrator.reaper import Reaped, reap

IN_THE_CLUSTER = ""
"""In place of a tokenizer: OME gives genai-bench the one that lies with the model's weights."""

FOREIGN_USE_MIB = 1024
"""More memory in use than the driver itself takes of an idle card: somebody works on it. An idle
H200 shows 615 MiB, and one with nothing but an empty CUDA context 1,144 MiB (measured)."""


def build_controller(mode: DeploymentMode, models_dir: Path | None = None) -> Controller:
    """The controller of a deployment mode, as the settings describe it.

    Raises:
        DeploymentModeUnavailable: this release or this host can't deploy that way.
    """
    return controller_for(
        mode,
        ControllerSettings(
            runtime_dir=settings.AUTOTUNER_RUNTIME_DIR,
            models_dir=models_dir or models_dir_of(mode),
            instance=settings.AUTOTUNER_INSTANCE,
            port_range=settings.AUTOTUNER_PORT_RANGE,
            llama_server_binary=settings.AUTOTUNER_LLAMA_SERVER,
            allowed_flags=settings.AUTOTUNER_ALLOWED_FLAGS,
            container_limits=ContainerLimits(**settings.AUTOTUNER_DOCKER_LIMITS),
            cluster=cluster_settings(),
            namespaces=used_namespaces,
        ),
    )


def cluster_settings() -> ClusterSettings:
    """The cluster of `ome` mode, as the settings describe it."""
    return ClusterSettings(**settings.AUTOTUNER_CLUSTER, model_storage=_model_storage())


def _model_storage() -> ModelStorage | None:
    given = settings.AUTOTUNER_CLUSTER_MODELS
    if given is None:
        return None
    return ModelStorage(
        source=ModelSource(given["source"]),
        claim=given.get("claim"),
        folder=given.get("folder", ""),
        directory=settings.AUTOTUNER_CLUSTER_MODEL_DIRECTORY,
        secret=settings.AUTOTUNER_CLUSTER_HUB_SECRET,
    )


def used_namespaces(database: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Namespaces of a cluster that tasks name: there may be something left in each."""
    tasks = Task.objects.using(database).filter(spec__deployment_mode=DeploymentMode.OME.value)
    names = tasks.order_by().values_list("spec__model__namespace", flat=True).distinct()
    return [name for name in names if name]


def models_dir_of(mode: DeploymentMode) -> Path:
    """Where a mode looks for relative model paths."""
    in_containers = mode is DeploymentMode.DOCKER
    path: Path = settings.DOCKER_MODEL_PATH if in_containers else settings.AUTOTUNER_MODEL_PATH
    return path


class HostGpus:
    """The GPUs of this host, and the engines' rules for how many they take.

    AUTOTUNER_GPUS says which may be used; it is believed also where the driver can't be asked.
    """

    def __init__(self, models_dir: Path | None = None) -> None:
        self._models_dir = models_dir

    def needed(self, spec: TaskSpec, parameters: Mapping[str, FlagValue]) -> int:
        return _engine_of(spec).gpus_needed(parameters)

    def can_do_without(self, spec: TaskSpec) -> bool:
        return _engine_of(spec).runs_without_gpus

    def fits(
        self, spec: TaskSpec, parameters: Mapping[str, FlagValue], cards_mib: Sequence[float]
    ) -> bool:
        models_dir = self._models_dir or models_dir_of(spec.deployment_mode)
        memory = ModelMemory(spec.model.id_or_path, _engine_of(spec), models_dir)
        found = memory.estimate(parameters, cards_mib)
        return found is None or found.verdict is not Verdict.TOO_BIG

    def cards(self) -> HostCards:
        found = host_gpus()
        seen, usable = found.gpus, settings.AUTOTUNER_GPUS
        told = tuple(card.index for card in seen) or found.in_containers
        present = told if usable is None else usable
        return HostCards(
            socket.gethostname(),
            present,
            frozenset(card.index for card in seen if card.used_mib > FOREIGN_USE_MIB),
            memory_mib={card.index: card.memory_mib for card in seen if card.index in present},
            only_for_containers=usable is None and bool(found.in_containers),
        )

    def watch(self, gpus: Sequence[int]) -> GpuWatch:
        return GpuSampler(gpus).start()


def _engine_of(spec: TaskSpec) -> Engine:
    return engine(spec.base_runtime, settings.AUTOTUNER_LLAMA_SERVER)


def take_back() -> Reaped:
    """Take from dead workers what they hold: experiments, and engines and GPUs of this host."""
    controllers = {}
    for mode in DeploymentMode:
        try:
            controllers[mode] = build_controller(mode)
        except DeploymentModeUnavailable:
            continue
    return reap(settings.AUTOTUNER_INSTANCE, controllers)


def benchmark_for(spec: TaskSpec) -> Benchmark:
    """What measures the engines of a task: genai-bench here, or in their cluster."""
    if not spec.is_measured_by_jobs:
        return GenaiBench(api_key=settings.AUTOTUNER_BENCHMARK_API_KEY)
    # The Kubernetes client takes half a second to load.
    from controllers.cluster.benchmark_job import BenchmarkJob

    storage = spec.ome.results_storage
    assert storage is not None, "no task is read without one"
    return BenchmarkJob(cluster_settings(), storage)


def build_ports(
    spec: TaskSpec,
    controller: Controller,
    log: LogSink,
    *,
    models_dir: Path | None = None,
    on_progress: Callable[[int, str], None],
    interrupted: Callable[[], bool] = lambda: False,
) -> Ports:
    return Ports(
        instance=settings.AUTOTUNER_INSTANCE,
        owner=this_process(),
        controller=controller,
        benchmark=benchmark_for(spec),
        log=log,
        results_dir=settings.AUTOTUNER_RESULTS_DIR,
        tokenizer_for=lambda spec: tokenizer_for(spec, models_dir),
        on_progress=on_progress,
        interrupted=interrupted,
        accelerators=HostGpus(models_dir),
        take_back=take_back,
    )


def tokenizer_for(spec: TaskSpec, models_dir: Path | None = None) -> str:
    """What genai-bench counts tokens with: as the task says, else the model's own.

    Raises:
        TokenizerUnavailable: the model's own tokenizer can't be used; the text says why.
    """
    if spec.is_measured_by_jobs:
        return IN_THE_CLUSTER
    if spec.benchmark.model_tokenizer:
        return spec.benchmark.model_tokenizer
    if spec.deployment_mode is DeploymentMode.OME:
        return _tokenizer_of_cluster(spec)
    model, models_dir = spec.model.id_or_path, models_dir or models_dir_of(spec.deployment_mode)
    # It loads gguf, tokenizers and NumPy, which the processes that only show pages never need.
    from controllers.engines.gguf_tokenizer import UnsupportedTokenizer, tokenizer_directory

    try:
        if spec.base_runtime is not EngineName.LLAMACPP:
            return locate_directory_or_hub_id(model, models_dir)
        gguf = locate_gguf(model, models_dir)
        return str(tokenizer_directory(gguf, settings.AUTOTUNER_TOKENIZER_DIR))
    except (DeploymentError, UnsupportedTokenizer, OSError) as error:
        raise TokenizerUnavailable(str(error)) from error


def _tokenizer_of_cluster(spec: TaskSpec) -> str:
    """Raises TokenizerUnavailable."""
    from controllers.cluster.tokenizers import hub_id

    model = spec.model.id_or_path
    try:
        found = hub_id(cluster_settings(), model, spec.model.namespace)
    except DeploymentError as error:
        raise TokenizerUnavailable(str(error)) from error
    if found is None:
        raise TokenizerUnavailable(
            f"benchmark.model_tokenizer has to be named: the cluster does not have the model "
            f"{model} from the Hugging Face hub, so that its tokenizer can't be had here."
        )
    return found
