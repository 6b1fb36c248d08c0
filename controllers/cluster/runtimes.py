"""What a serving runtime of OME says, and which runtime serves a task.

Sources: the CustomResourceDefinitions ServingRuntime and ClusterServingRuntime of ome.io/v1beta1,
the runtimes that OME ships (config/runtimes), and OME's page "Serving runtimes".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers.base import DeploymentError
from controllers.cluster import model_matching
from controllers.cluster.documents import NVIDIA_GPU, RuntimeKind, RuntimeReference
from controllers.engines.base import Engine
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName

RUNNER = "ome-container"
"""What OME calls the engine's container."""
DEFAULT_PORT = 8080
MOST_NAMES = 8

_PROGRAMS = {
    EngineName.SGLANG: re.compile(r"\bsglang\.launch_server\b|\bsglang serve\b"),
    EngineName.VLLM: re.compile(r"\bvllm\.entrypoints\b|\bvllm serve\b"),
    EngineName.LLAMACPP: re.compile(r"\bllama-server\b"),
}
_IMAGES = {
    EngineName.SGLANG: re.compile(r"sglang"),
    EngineName.VLLM: re.compile(r"vllm"),
    EngineName.LLAMACPP: re.compile(r"llama[-.]?cpp|llama\.cpp"),
}
_NAMES = {
    EngineName.SGLANG: re.compile(r"(srt|sglang)\b.*"),
    EngineName.VLLM: re.compile(r"vllm\b.*"),
    EngineName.LLAMACPP: re.compile(r"(llama-?cpp)\b.*"),
}
_GPU_RESOURCE = re.compile(r".+/(gpu|mig-.+)")
_OPENAI = "openai"


@dataclass(frozen=True)
class Runtime:
    """A ServingRuntime or a ClusterServingRuntime. `spec` is as the server gave it."""

    reference: RuntimeReference
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.reference.name

    @property
    def is_disabled(self) -> bool:
        return self.spec.get("disabled") is True

    @property
    def is_old(self) -> bool:
        """Whether its container is where only older versions of OME looked for one."""
        return not self.engine_config.get("runner") and bool(self.spec.get("containers"))

    @property
    def engine_config(self) -> Mapping[str, Any]:
        return self.spec.get("engineConfig") or {}

    @property
    def runner(self) -> Mapping[str, Any]:
        """The engine's container; {} where there is none."""
        if self.engine_config.get("runner"):
            runner: Mapping[str, Any] = self.engine_config["runner"]
            return runner
        containers: Sequence[Mapping[str, Any]] = self.spec.get("containers") or ()
        named = [one for one in containers if one.get("name") == RUNNER]
        return next(iter(named or containers), {})

    @property
    def command(self) -> tuple[str, ...]:
        return tuple(self.runner.get("command") or ())

    @property
    def args(self) -> tuple[str, ...]:
        return tuple(self.runner.get("args") or ())

    @property
    def image(self) -> str | None:
        return self.runner.get("image")

    @property
    def port(self) -> int:
        """Where the engine listens in its pod."""
        ports: Sequence[Mapping[str, Any]] = self.runner.get("ports") or ()
        return next((int(one["containerPort"]) for one in ports), DEFAULT_PORT)

    @property
    def gpu_resource(self) -> str:
        """What Kubernetes calls the kind of GPU that the runtime is for."""
        resources = self._resources()
        return next((name for name in resources if _GPU_RESOURCE.fullmatch(name)), NVIDIA_GPU)

    @property
    def gpus(self) -> int:
        """How many GPUs it asks for by itself."""
        return int(self._resources().get(self.gpu_resource) or 0)

    @property
    def tolerations(self) -> tuple[Mapping[str, Any], ...]:
        """Those of the engine's pods. An InferenceService's take the place of all of them."""
        pod = self.spec if self.is_old else self.engine_config
        return tuple(pod.get("tolerations") or ())

    @property
    def engine(self) -> EngineName | None:
        """The engine that it runs, told by its command, else its image, else its name."""
        command = " ".join((*self.command, *self.args))
        for text, patterns in ((command, _PROGRAMS), (self.image or "", _IMAGES)):
            told = [name for name, pattern in patterns.items() if pattern.search(text)]
            if len(told) == 1:
                return told[0]
        return next((one for one, name in _NAMES.items() if name.fullmatch(self.name)), None)

    @property
    def obstacle(self) -> str | None:
        """Why the autotuner can't tune with this runtime at all, as the end of a sentence that
        begins with the runtime; None where it can."""
        if self.is_disabled:
            return "is disabled"
        if self.engine_config.get("leader") or self.engine_config.get("worker"):
            return "spreads an engine over several nodes, which is not supported"
        if self.spec.get("workers"):
            return "spreads an engine over several nodes, which is not supported"
        if self.spec.get("decoderConfig"):
            return "splits prefill from decoding, which is not supported"
        if not self.runner:
            return "says of no container how the engine is run"
        protocols = [str(one).lower() for one in self.spec.get("protocolVersions") or ()]
        if protocols and _OPENAI not in protocols:
            return f"speaks {', '.join(protocols)} and not the OpenAI API"
        return None

    def _resources(self) -> Mapping[str, Any]:
        resources: Mapping[str, Any] = self.runner.get("resources") or {}
        return {**(resources.get("requests") or {}), **(resources.get("limits") or {})}


def runtime_of(document: Mapping[str, Any]) -> Runtime:
    """The runtime in an object as the API server gives it."""
    kind = RuntimeKind(document["kind"])
    return Runtime(RuntimeReference(document["metadata"]["name"], kind), document.get("spec") or {})


def choose_runtime(
    documents: Iterable[Mapping[str, Any]],
    model_document: Mapping[str, Any] | None,
    engine: Engine,
    wanted_name: str | None,
) -> Runtime:
    """The runtime called `wanted_name`; without a name, the one of the task's engine that OME would
    choose for the model.

    `documents` are the ClusterServingRuntimes and those ServingRuntimes that lie in the task's
    namespace, which come first where names or scores are alike.

    Raises:
        DeploymentError: INVALID_SPEC. There is none, or none that can be used; the message names
            those that exist and says what is the matter with each.
    """
    runtimes = sorted((runtime_of(one) for one in documents), key=_nearest_first)
    if wanted_name is not None:
        return _named(runtimes, wanted_name, engine)
    fitting = [one for one in runtimes if one.engine is engine.name]
    if not fitting:
        raise _refusal(
            f"The cluster has no runtime for {engine.name}.{_those(runtimes, model_document)}"
        )
    model = (model_document or {}).get("spec") or {}
    if not (model.get("modelFormat") or {}).get("name"):
        raise _refusal(
            "Nothing is known of the model's format, so no runtime can be chosen for it. Name one "
            f"in ome.runtime: {_names(fitting)}."
        )
    reasons = {one.name: _unsuitable(one, model) for one in fitting}
    chosen = [one for one in fitting if reasons[one.name] is None]
    if not chosen:
        listed = "; ".join(f"{name} {why}" for name, why in list(reasons.items())[:MOST_NAMES])
        more = f"; and {len(reasons) - MOST_NAMES} more" if len(reasons) > MOST_NAMES else ""
        raise _refusal(
            f"No runtime for {engine.name} is chosen for this model by itself: {listed}{more}. "
            "Name the one to use in ome.runtime."
        )
    return min(chosen, key=lambda one: _rank(one, model))


def _named(runtimes: Sequence[Runtime], wanted: str, engine: Engine) -> Runtime:
    found = next((one for one in runtimes if one.name == wanted), None)
    if found is None:
        raise _refusal(f"The cluster has no runtime `{wanted}`.{_those(runtimes, None, wanted)}")
    if found.obstacle is not None:
        raise _refusal(f"The runtime `{wanted}` {found.obstacle}.")
    if found.engine not in {None, engine.name}:
        raise _refusal(
            f"The runtime `{wanted}` runs {found.engine}, and the task's base_runtime is "
            f"{engine.name}."
        )
    return found


def _unsuitable(runtime: Runtime, model: Mapping[str, Any]) -> str | None:
    """Why OME would not choose it for the model."""
    why = runtime.obstacle or model_matching.mismatch(runtime.spec, model)
    if why is not None:
        return why
    if not model_matching.is_chosen_by_itself(runtime.spec):
        return "has autoSelect off"
    return None if model_matching.score(runtime.spec, model) > 0 else "has autoSelect off for it"


def _rank(runtime: Runtime, model: Mapping[str, Any]) -> tuple[bool, int, float, str]:
    return (
        runtime.reference.kind is RuntimeKind.CLUSTER,
        -model_matching.score(runtime.spec, model),
        model_matching.size_distance(runtime.spec, model),
        runtime.name,
    )


def _nearest_first(runtime: Runtime) -> tuple[bool, str]:
    return runtime.reference.kind is RuntimeKind.CLUSTER, runtime.name


def _those(
    runtimes: Sequence[Runtime], model: Mapping[str, Any] | None, wanted: str | None = None
) -> str:
    if not runtimes:
        return " It has none at all; docs/OME_INSTALLATION.md says how they are made."
    if wanted is not None:
        runtimes = sorted(runtimes, key=lambda one: -_likeness(one.name, wanted))
    return f" It has {_names(runtimes)}."


def _names(runtimes: Sequence[Runtime]) -> str:
    names = list(dict.fromkeys(one.name for one in runtimes))
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _likeness(name: str, wanted: str) -> float:
    return difflib.SequenceMatcher(None, name, wanted).ratio()


def _refusal(message: str) -> DeploymentError:
    return DeploymentError(FailureKind.INVALID_SPEC, message)
