"""Composing a run: the one place where the orchestrator's ports meet real controllers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from controllers.base import Controller, DeploymentError, LogSink
from controllers.engines.gguf_tokenizer import UnsupportedTokenizer, tokenizer_directory
from controllers.engines.model_files import locate_directory_or_hub_id, locate_gguf
from controllers.genai_bench.run import GenaiBench
from controllers.registry import ControllerSettings, controller_for
from tuning.domain.names import DeploymentMode, EngineName
from tuning.domain.spec import TaskSpec
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports, TokenizerUnavailable


def build_controller(mode: DeploymentMode, models_dir: Path | None = None) -> Controller:
    """The controller of a deployment mode, as the settings describe it.

    Raises:
        DeploymentModeUnavailable: this release or this host can't deploy that way.
    """
    return controller_for(
        mode,
        ControllerSettings(
            runtime_dir=settings.AUTOTUNER_RUNTIME_DIR,
            models_dir=models_dir or settings.AUTOTUNER_MODEL_PATH,
            port_range=settings.AUTOTUNER_PORT_RANGE,
            llama_server_binary=settings.AUTOTUNER_LLAMA_SERVER,
        ),
    )


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
    )


def tokenizer_for(spec: TaskSpec, models_dir: Path | None = None) -> str:
    """What genai-bench counts tokens with: as the task says, else the model's own.

    Raises:
        TokenizerUnavailable: the model's own tokenizer can't be used; the text says why.
    """
    if spec.benchmark.model_tokenizer:
        return spec.benchmark.model_tokenizer
    model, models_dir = spec.model.id_or_path, models_dir or settings.AUTOTUNER_MODEL_PATH
    try:
        if spec.base_runtime is not EngineName.LLAMACPP:
            return locate_directory_or_hub_id(model, models_dir)
        gguf = locate_gguf(model, models_dir)
        return str(tokenizer_directory(gguf, settings.AUTOTUNER_TOKENIZER_DIR))
    except (DeploymentError, UnsupportedTokenizer, OSError) as error:
        raise TokenizerUnavailable(str(error)) from error
