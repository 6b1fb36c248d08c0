"""What the GPUs here say of a whole task, before anything is launched: is the model too big?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from controllers.engines.base import Engine
from controllers.engines.memory import MemoryEstimate, Verdict
from controllers.engines.memory.flags import decides_on_memory
from controllers.feasibility import memory_at_hand
from tuning.composition import HostGpus, models_dir_of
from tuning.domain.counting import extent_of
from tuning.domain.names import DeploymentMode, FlagValue
from tuning.domain.parameters import Choices, Fixed
from tuning.domain.spec import Problem, TaskSpec
from tuning.model_memory import ModelMemory
from tuning.orchestrator.gpus import gpus_of_workers, sizes_on_workers

_MOST_COMBINATIONS = 400
"""Of the flags that decide on memory: as many are looked at, spread over all of them. An estimate
takes a tenth of a millisecond, and a preview comes with every keystroke."""


@dataclass(frozen=True)
class Hosts:
    """The GPUs that a task may be given. `most_gpus` is the number on the largest host, 0 where no
    GPU is known of; `sizes` has the MiB of each card of each host that tells."""

    most_gpus: int = 0
    sizes: tuple[tuple[float, ...], ...] = ()

    def largest(
        self, engine: Engine, parameters: Mapping[str, FlagValue], gpus: int
    ) -> tuple[float, ...] | None:
        """The best `gpus` cards of any host for an engine; None where no host has so many."""
        offers = [tuple(sorted(one)[-gpus:]) for one in self.sizes if len(one) >= gpus]

        def at_hand(cards_mib: tuple[float, ...]) -> float:
            return memory_at_hand(engine, parameters, cards_mib)

        return max(offers, key=at_hand, default=None)


NO_HOSTS = Hosts()


def hosts_for(spec: TaskSpec) -> Hosts:
    """This host and those of live workers, as far as their GPUs are for such a task."""
    if spec.deployment_mode is DeploymentMode.OME:
        return NO_HOSTS
    cards = HostGpus().cards()
    if cards.only_for_containers and spec.deployment_mode is not DeploymentMode.DOCKER:
        counts, sizes = [], []
    else:
        counts, sizes = [len(cards.present)], [tuple(cards.memory_mib.values())]
    counts += gpus_of_workers().values()
    sizes += [tuple(one) for one in sizes_on_workers().values()]
    return Hosts(max(counts, default=0), tuple(one for one in sizes if one))


@dataclass(frozen=True)
class GpuFindings:
    """`problems` keep every experiment from being launched, `warnings` tell of some."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def gpu_findings(spec: TaskSpec, engine: Engine, hosts: Hosts) -> GpuFindings:
    """Whether the task's model is too big for any cards here, or nearly so, and with which flags.

    Nothing is said where no card tells its size, or the model is not on this host.
    """
    if not hosts.sizes:
        return GpuFindings()
    look = _Look.at(spec, engine, hosts)
    too_big, tight = look.reasons(Verdict.TOO_BIG), look.reasons(Verdict.TIGHT)
    if look.is_whole and len(too_big) == len(look.estimates):
        whichever = "" if len(too_big) == 1 else ", whatever the values are"
        text = f"does not fit on the GPUs here{whichever}: {too_big[0]}"
        return GpuFindings((Problem(("model", "id_or_path"), text),))
    warnings = []
    if too_big:
        count = look.count_of(too_big)
        warnings.append(f"{count} would be refused for want of GPU memory. {too_big[0]}")
    if tight:
        warnings.append(f"{look.count_of(tight)} may run out of GPU memory. {tight[0]}")
    if look.baseline is not None and look.baseline.verdict is Verdict.TOO_BIG:
        reason = look.baseline.reason
        warnings.append(f"The baseline would be refused for want of GPU memory. {reason}")
    return GpuFindings(warnings=tuple(warnings))


@dataclass(frozen=True)
class _Look:
    """Estimates of combinations of `flags`, the tuned ones that decide on memory.

    `is_whole`: those are all combinations there are. An estimate is None where nothing is known,
    and for a configuration that takes no card, or more than any host has. The same holds for the
    `baseline`, which a task may also do without.
    """

    flags: tuple[str, ...]
    estimates: tuple[MemoryEstimate | None, ...]
    is_whole: bool
    baseline: MemoryEstimate | None

    @classmethod
    def at(cls, spec: TaskSpec, engine: Engine, hosts: Hosts) -> Self:
        memory = ModelMemory(spec.model.id_or_path, engine, models_dir_of(spec.deployment_mode))
        flags = [name for name in spec.parameters if _decides(engine, name)]
        tuned = [name for name in flags if not isinstance(spec.parameters[name], Fixed)]
        extent = extent_of(spec.space(), flags)
        step = math.ceil(len(extent.watched) / _MOST_COMBINATIONS)
        baseline = spec.space().baseline() if spec.optimization.baseline else None
        # Of ranges only the ends are looked at, and between them other values may be right.
        is_listed = all(isinstance(spec.parameters[name], Fixed | Choices) for name in flags)
        return cls(
            flags=tuple(tuned),
            estimates=tuple(
                _estimate(memory, engine, combination, hosts)
                for combination in extent.watched[:: step or 1]
            ),
            is_whole=is_listed and step <= 1,
            baseline=None if baseline is None else _estimate(memory, engine, baseline, hosts),
        )

    def reasons(self, verdict: Verdict) -> list[str]:
        return [one.reason for one in self.estimates if one is not None and one.verdict is verdict]

    def count_of(self, found: Sequence[str]) -> str:
        """The beginning of a sentence about so many of the combinations."""
        if self.is_whole and len(found) == len(self.estimates):
            return "Every configuration"
        of = f"{len(found):,} of {len(self.estimates):,} combinations of {', '.join(self.flags)}"
        return f"{of} that were looked at"


def _decides(engine: Engine, name: str) -> bool:
    return name in engine.gpu_flags or decides_on_memory(name) or name == "revision"


def _estimate(
    memory: ModelMemory, engine: Engine, parameters: Mapping[str, FlagValue], hosts: Hosts
) -> MemoryEstimate | None:
    """On the cards that suit it best."""
    gpus = engine.gpus_needed(parameters)
    cards = hosts.largest(engine, parameters, gpus) if gpus else None
    return None if cards is None else memory.estimate(parameters, cards)
