"""The part of a model's weights that one GPU holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controllers.engines.memory.facts import Facts, MissingFact
from controllers.engines.memory.flags import Flags
from controllers.engines.memory.layout import Layout
from controllers.engines.memory.parameters import Parameters, count_parameters
from controllers.engines.memory.precision import Precision, precision_of
from controllers.engines.memory.verdict import Bounds

COUNTING_ERROR = 0.03
"""Parameters are counted to within 2 %; a lower bound allows for a little more."""
UNPROVEN_SHARE = 0.5
"""How much of an unfamiliar model's files is surely loaded: they may hold parts for speech, images
or multi-token prediction that an engine leaves out, or 32-bit numbers that it loads as 16-bit."""

_WHOLE = Layout()


def weights_on_gpu(
    config: Mapping[str, Any],
    facts: Facts,
    flags: Flags,
    layout: Layout,
    weights_bytes: int | None,
) -> Bounds | None:
    """Bytes of weights on one GPU, or None where neither the files nor the sizes are known.

    The size of the files is preferred, as they say what a count can't: what is left unquantized
    and what a vision tower takes. It says nothing where the engine converts while loading.
    """
    precision = precision_of(config, facts, flags)
    parameters = _counted(facts)
    if parameters is not None and precision is not None:
        bounds = _counted_weights(parameters, precision, layout, weights_bytes)
    elif weights_bytes and not flags.text("quantization", "q") and not flags.sets("torchao-config"):
        part = weights_bytes / (layout.pipeline * layout.experts)
        likely = weights_bytes / (layout.pipeline * layout.tensor)
        bounds = Bounds(part * UNPROVEN_SHARE, likely)
    else:
        return None
    return _without_offloaded(bounds, flags)


def _counted(facts: Facts) -> Parameters | None:
    try:
        return count_parameters(facts) if facts.is_known else None
    except MissingFact:
        return None


def _counted_weights(
    parameters: Parameters, precision: Precision, layout: Layout, weights_bytes: int | None
) -> Bounds:
    counted = stored_on_gpu(parameters, precision, layout)
    least, expected = counted, counted
    if weights_bytes and not precision.converted:
        loaded = parameters.total / (parameters.total + parameters.drafting)
        whole = stored_on_gpu(parameters, precision, _WHOLE)
        expected = weights_bytes * loaded * counted / whole
        least = min(counted, expected)
    return Bounds(least * (1 - COUNTING_ERROR), expected)


def stored_on_gpu(parameters: Parameters, precision: Precision, layout: Layout) -> float:
    """Bytes of weights on one GPU, on average over the stages of a pipeline.

    No stage can do with less than the average on all GPUs, so it is a lower bound for the fullest.
    """
    embeddings = (parameters.embedding + parameters.output) * precision.plain / layout.attention
    attention = parameters.attention * precision.linear / layout.attention
    replicated = parameters.replicated * precision.linear
    dense = parameters.dense * precision.linear / layout.tensor
    shared = parameters.shared_experts * precision.linear / layout.experts
    experts = parameters.experts * precision.experts / layout.experts
    return (embeddings + attention + replicated + dense + shared + experts) / layout.pipeline


def _without_offloaded(bounds: Bounds, flags: Flags) -> Bounds:
    """Weights may lie in the host's memory: then nothing is certain to be on the GPU."""
    if not flags.any_on("offload"):
        return bounds
    gib = flags.whole("cpu-offload-gb") or 0
    return Bounds(0, max(0.0, bounds.expected - gib * 2**30))
