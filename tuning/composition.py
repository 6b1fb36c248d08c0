"""Composing a run: the one place where the orchestrator's ports meet real controllers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from django.conf import settings

from controllers.base import Controller, DeploymentError, GpuWatch, HostCards, LogSink
from controllers.container_plan import ContainerLimits
from controllers.engines.catalogue import engine
from controllers.engines.gguf_tokenizer import UnsupportedTokenizer, tokenizer_directory
from controllers.engines.model_files import locate_directory_or_hub_id, locate_gguf
from controllers.genai_bench.run import GenaiBench
from controllers.gpus import GpuSampler, read_gpus
from controllers.registry import ControllerSettings, DeploymentModeUnavailable, controller_for
from tuning.domain.names import DeploymentMode, EngineName, FlagValue
from tuning.domain.spec import TaskSpec
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports, TokenizerUnavailable
from tuning.orchestrator.reaper import Reaped, reap

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
        ),
    )


def models_dir_of(mode: DeploymentMode) -> Path:
    """Where a mode looks for relative model paths."""
    in_containers = mode is DeploymentMode.DOCKER
    path: Path = settings.DOCKER_MODEL_PATH if in_containers else settings.AUTOTUNER_MODEL_PATH
    return path


class HostGpus:
    """The GPUs of this host, and the engines' rules for how many they take.

    AUTOTUNER_GPUS says which may be used; it is believed also where the driver can't be asked.
    """

    def needed(self, spec: TaskSpec, parameters: Mapping[str, FlagValue]) -> int:
        return engine(spec.base_runtime, settings.AUTOTUNER_LLAMA_SERVER).gpus_needed(parameters)

    def cards(self) -> HostCards:
        seen = read_gpus().gpus
        usable = settings.AUTOTUNER_GPUS
        return HostCards(
            socket.gethostname(),
            tuple(card.index for card in seen) if usable is None else usable,
            frozenset(card.index for card in seen if card.used_mib > FOREIGN_USE_MIB),
        )

    def watch(self, gpus: Sequence[int]) -> GpuWatch:
        return GpuSampler(gpus).start()


def take_back() -> Reaped:
    """Take from dead workers what they hold: experiments, and engines and GPUs of this host."""
    controllers = {}
    for mode in DeploymentMode:
        try:
            controllers[mode] = build_controller(mode)
        except DeploymentModeUnavailable:
            continue
    return reap(settings.AUTOTUNER_INSTANCE, controllers)


def build_ports(
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
        benchmark=GenaiBench(api_key=settings.AUTOTUNER_BENCHMARK_API_KEY),
        log=log,
        results_dir=settings.AUTOTUNER_RESULTS_DIR,
        tokenizer_for=lambda spec: tokenizer_for(spec, models_dir),
        on_progress=on_progress,
        interrupted=interrupted,
        accelerators=HostGpus(),
        take_back=take_back,
    )


def tokenizer_for(spec: TaskSpec, models_dir: Path | None = None) -> str:
    """What genai-bench counts tokens with: as the task says, else the model's own.

    Raises:
        TokenizerUnavailable: the model's own tokenizer can't be used; the text says why.
    """
    if spec.benchmark.model_tokenizer:
        return spec.benchmark.model_tokenizer
    model, models_dir = spec.model.id_or_path, models_dir or models_dir_of(spec.deployment_mode)
    try:
        if spec.base_runtime is not EngineName.LLAMACPP:
            return locate_directory_or_hub_id(model, models_dir)
        gguf = locate_gguf(model, models_dir)
        return str(tokenizer_directory(gguf, settings.AUTOTUNER_TOKENIZER_DIR))
    except (DeploymentError, UnsupportedTokenizer, OSError) as error:
        raise TokenizerUnavailable(str(error)) from error
