"""How much memory a configuration will take on each GPU, told before it is launched.

`estimate` needs the model's config.json, the engine's flags and the card's size; it reads no file
and asks no network. `model_config` and `weights_size` read what lies in a model's directory, or
in a GGUF file, and never download.
"""

from __future__ import annotations

from controllers.engines.memory.estimate import estimate
from controllers.engines.memory.local_files import model_config, weights_size
from controllers.engines.memory.verdict import MemoryEstimate, Verdict

__all__ = ["MemoryEstimate", "Verdict", "estimate", "model_config", "weights_size"]
