"""How many parameters a model has, by the parts that engines split in different ways.

Sources: the model pages of "Transformers documentation", whose configuration classes define the
sizes; for latent attention and shared experts also the papers "DeepSeek-V2" and "DeepSeek-V3
Technical Report".
"""

from __future__ import annotations

from dataclasses import dataclass

from controllers.engines.memory.facts import Facts


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters of the whole model.

    `replicated` is what tensor parallelism leaves whole on each GPU. `drafting` are the layers
    for multi-token prediction, which lie in the files but are loaded for speculation only.
    """

    embedding: int
    output: int
    attention: int
    replicated: int
    dense: int
    shared_experts: int
    experts: int
    drafting: int

    @property
    def total(self) -> int:
        """All that is loaded without speculation."""
        return (
            self.embedding
            + self.output
            + self.attention
            + self.replicated
            + self.dense
            + self.shared_experts
            + self.experts
        )


@dataclass(frozen=True)
class _Layer:
    """Parameters of the kinds of layers, each once; `norms` holds what surrounds them."""

    attention: int
    replicated: int
    dense: int
    shared: int
    experts: int
    router: int
    norms: int


def count_parameters(facts: Facts) -> Parameters:
    """The parameters of a model of a known family.

    Raises:
        MissingFact: the configuration lacks a size.
    """
    layers, hidden = facts.whole("num_hidden_layers"), facts.whole("hidden_size")
    vocabulary = facts.whole("vocab_size") * hidden
    sparse = sum(_is_sparse(facts, index) for index in range(layers))
    layer = _layer(facts, hidden)
    drafting = facts.whole_or(0, "num_nextn_predict_layers")
    one_draft = sum((layer.attention, layer.replicated, layer.shared, layer.experts))
    return Parameters(
        embedding=vocabulary,
        output=0 if facts.holds("tie_word_embeddings") else vocabulary,
        attention=layers * layer.attention,
        replicated=layers * (layer.replicated + layer.norms) + sparse * layer.router,
        dense=(layers - sparse) * layer.dense,
        shared_experts=sparse * layer.shared,
        experts=sparse * layer.experts,
        drafting=drafting * (one_draft + 2 * hidden * hidden + 2 * vocabulary),
    )


def widest_step(facts: Facts) -> int:
    """The widest row that the layers compute for a token, in values: the MLP's, all parts of it.

    Raises:
        MissingFact: the configuration lacks a size.
    """
    if not _experts(facts):
        return facts.whole("intermediate_size")
    active = facts.whole_or(1, "num_experts_per_tok", "moe_topk", "num_experts_per_token")
    return active * _expert_width(facts) + _shared_width(facts)


def head_size(facts: Facts) -> int:
    """Values in one attention head's key.

    Raises:
        MissingFact: the configuration lacks a size.
    """
    return facts.whole_or(0, "head_dim") or facts.whole("hidden_size") // facts.whole(
        "num_attention_heads"
    )


def _layer(facts: Facts, hidden: int) -> _Layer:
    attention, replicated = _attention(facts, hidden)
    experts = _experts(facts)
    matrices = 3 if facts.holds("gated_mlp", default=True) else 2
    return _Layer(
        attention=attention,
        replicated=replicated,
        dense=matrices * hidden * facts.whole_or(0, "intermediate_size_mlp", "intermediate_size"),
        shared=matrices * hidden * _shared_width(facts) if experts else 0,
        experts=experts * matrices * hidden * _expert_width(facts) if experts else 0,
        router=experts * hidden,
        norms=2 * hidden,
    )


def _attention(facts: Facts, hidden: int) -> tuple[int, int]:
    """One layer's attention: what tensor parallelism splits, and what it does not."""
    heads = facts.whole("num_attention_heads")
    if facts.whole_or(0, "kv_lora_rank"):
        return _latent_attention(facts, hidden, heads)
    head = head_size(facts)
    queries, keys = heads * head, facts.whole_or(heads, "num_key_value_heads") * head
    biased = facts.holds("attention_bias") or facts.holds("qkv_bias")
    bias = queries + 2 * keys if biased else 0
    return 2 * hidden * queries + 2 * hidden * keys + bias, 0


def _latent_attention(facts: Facts, hidden: int, heads: int) -> tuple[int, int]:
    """Multi-head latent attention: the projections down to the latent are small and not split."""
    latent, rope = facts.whole("kv_lora_rank"), facts.whole("qk_rope_head_dim")
    plain, value = facts.whole("qk_nope_head_dim"), facts.whole("v_head_dim")
    query_latent = facts.whole_or(0, "q_lora_rank")
    query = (query_latent or hidden) * heads * (plain + rope)
    split = query + latent * heads * (plain + value) + heads * value * hidden
    return split, hidden * query_latent + hidden * (latent + rope)


def _experts(facts: Facts) -> int:
    """Routed experts in each sparse layer; 0 for a dense model."""
    return facts.whole_or(0, "n_routed_experts", "num_local_experts", "num_experts")


def _expert_width(facts: Facts) -> int:
    return facts.whole("moe_intermediate_size", "intermediate_size")


def _shared_width(facts: Facts) -> int:
    """Width of all experts together that every token goes through."""
    stated = facts.whole_or(0, "shared_expert_intermediate_size")
    return stated or facts.whole_or(0, "n_shared_experts") * _expert_width(facts)


def _is_sparse(facts: Facts, index: int) -> bool:
    """Whether the layer at `index` has experts, by whichever rule its family has."""
    every = facts.whole_or(1, "decoder_sparse_step", "interleave_moe_layer_step")
    return (
        _experts(facts) > 0
        and index >= facts.whole_or(0, "first_k_dense_replace")
        and index % facts.whole_or(1, "moe_layer_freq") == 0
        and (index + 1) % every == 0
        and index not in facts.items("mlp_only_layers")
    )
