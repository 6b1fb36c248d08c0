"""What a config.json says, with the defaults of its model family for what it leaves out.

Source: the model pages of "Transformers documentation" (LlamaConfig, Gemma2Config,
DeepseekV3Config, ...), whose signatures name each key and its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
"""Where multimodal models keep the configuration of their language model."""

_QWEN2 = {"qkv_bias": True}
_GEMMA = {"tie_word_embeddings": True, "head_dim": 256}
_GEMMA3 = {
    **_GEMMA,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}

KNOWN_FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "deepseek_v2": {},
    "deepseek_v3": {},
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA, "sliding_window": 4096, "sliding_window_pattern": 2},
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "glm4_moe": {},
    "gpt_oss": {"attention_bias": True, "head_dim": 64, "sliding_window_pattern": 2},
    "granite": {},
    "kimi_k2": {},
    "llama": {},
    "llama4_text": {
        "head_dim": 128,
        "n_shared_experts": 1,
        "attention_chunk_size": 8192,
        "no_rope_layer_interval": 4,
    },
    "mistral": {"num_key_value_heads": 8},
    "mixtral": {"num_key_value_heads": 8},
    "olmo2": {},
    "olmoe": {},
    "phi3": {},
    "qwen2": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen2_moe": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen3": {"head_dim": 128},
    "qwen3_moe": {},
    "qwen3_vl_moe_text": {"head_dim": 128},
    "qwen3_vl_text": {"head_dim": 128},
    "seed_oss": {"attention_bias": True, "head_dim": 128},
    "smollm3": {"tie_word_embeddings": True},
    "starcoder2": {"tie_word_embeddings": True, "qkv_bias": True, "gated_mlp": False},
}
"""Families whose parameters are counted here to within 2 %, with their classes' defaults.

`qkv_bias`, `gated_mlp` and `sliding_window_pattern` stand for what is fixed in a family's code.
"""


class MissingFact(Exception):
    """The configuration does not say what is needed; the message is the key's name."""


class Facts:
    """The values of one language model, read by name; a null counts as absent."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {key: value for key, value in values.items() if value is not None}

    def whole(self, *names: str) -> int:
        """The first of `names` that holds a positive whole number.

        Raises:
            MissingFact: none does.
        """
        for name in names:
            value = self._values.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        raise MissingFact(names[0])

    def whole_or(self, default: int, *names: str) -> int:
        try:
            return self.whole(*names)
        except MissingFact:
            return default

    def holds(self, name: str, default: bool = False) -> bool:
        value = self._values.get(name)
        return value if isinstance(value, bool) else default

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) else ""

    def items(self, name: str) -> Sequence[Any]:
        value = self._values.get(name)
        return value if isinstance(value, list | tuple) else ()

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._values.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def family(self) -> str:
        return self.text("model_type")

    @property
    def is_known(self) -> bool:
        return self.family in KNOWN_FAMILIES


def language_facts(config: Mapping[str, Any]) -> Facts:
    """The facts of the language model in `config`, also where that is only one part of it."""
    shared = {key: config[key] for key in ("model_type", "tie_word_embeddings") if key in config}
    values = config
    while part := next((values[key] for key in _TEXT_PARTS if _is_filled(values.get(key))), None):
        values = {**shared, **part}
    family = values.get("model_type")
    return Facts({**KNOWN_FAMILIES.get(str(family), {}), **values})


def _is_filled(part: object) -> bool:
    return isinstance(part, Mapping) and bool(part)
