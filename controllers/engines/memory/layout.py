"""Over how many GPUs an engine spreads the parts of a model."""

from __future__ import annotations

from dataclasses import dataclass

from controllers.engines.memory.flags import Flags
from tuning.domain.names import EngineName

_TENSOR = ("tensor-parallel-size", "tp-size", "tp")
_PIPELINE = ("pipeline-parallel-size", "pp-size", "pp")
_DATA = ("data-parallel-size", "dp-size", "dp")


@dataclass(frozen=True)
class Layout:
    """Each number says by how much one GPU's part is smaller than the whole.

    `context` is the split of each request's KV cache by position.
    """

    tensor: int = 1
    pipeline: int = 1
    attention: int = 1
    experts: int = 1
    context: int = 1

    @property
    def gpus(self) -> int:
        """GPUs that work together on each request."""
        return self.tensor * self.pipeline


def layout_of(engine: EngineName, flags: Flags) -> Layout:
    """The layout that `flags` ask for.

    Sources: vLLM, "Data Parallel Deployment" (expert layers form a group of data times tensor
    parallel size, whether or not expert parallelism is on); SGLang, "DP, DPA and SGLang DP Router"
    (with `enable-dp-attention` the data-parallel groups share the GPUs of the tensor-parallel one;
    otherwise each is a whole copy of the model) and "Decode Context Parallelism".
    """
    tensor, data = flags.count(*_TENSOR), flags.count(*_DATA)
    attention, experts = tensor, tensor
    if engine is EngineName.VLLM:
        experts = tensor * data
    elif flags.is_on("enable-dp-attention"):
        attention = max(1, tensor // data)
    return Layout(
        tensor=tensor,
        pipeline=flags.count(*_PIPELINE),
        attention=attention,
        experts=experts,
        context=flags.count("decode-context-parallel-size", "dcp-size")
        * flags.count("prefill-context-parallel-size"),
    )
