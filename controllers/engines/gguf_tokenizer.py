"""A Hugging Face tokenizer directory out of the tokenizer in a GGUF file, offline.

Benchmarks count tokens with the model's tokenizer, and a GGUF file carries one. transformers can
read it too, but only where torch is installed, which this product does not ship.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from controllers.engines.gguf_pretokenizers import PreTokenizer, pre_tokenizer

FORMAT = 1
"""Part of the cache key; raise it when what is written here changes."""
CONTROL_TOKEN = 3
USER_DEFINED_TOKEN = 4
"""Members of llama.cpp's llama_token_type."""


class UnsupportedTokenizer(Exception):
    """No tokenizer can be made from this file; the message is one for users."""

    def __init__(self, gguf: Path, reason: str) -> None:
        super().__init__(
            f"No tokenizer can be made from {gguf.name}: {reason}. "
            "Set benchmark.model_tokenizer to the model's tokenizer (a directory or a hub id)."
        )


@dataclass(frozen=True)
class GgufVocabulary:
    """What a GGUF file says of its tokenizer. Ids are positions in `tokens`."""

    tokens: Sequence[str]
    kinds: Sequence[int]
    merges: Sequence[str]
    rules: PreTokenizer
    add_bos: bool
    bos: str | None
    eos: str | None
    unknown: str | None
    padding: str | None
    chat_template: str | None


def tokenizer_directory(gguf: Path, cache_dir: Path) -> Path:
    """A directory below `cache_dir` that `AutoTokenizer.from_pretrained` loads, offline.

    Made once for each file, in about 2 seconds. Safe when several processes do it at once.

    Raises:
        UnsupportedTokenizer: the file's tokenizer is of a kind not known here.
    """
    target = cache_dir / _cache_key(gguf)
    if target.is_dir():
        return target
    vocabulary = read_vocabulary(gguf)
    cache_dir.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=cache_dir, prefix=".tokenizer-"))
    try:
        write_tokenizer(vocabulary, temporary)
        temporary.rename(target)
    except OSError:
        # A full directory can't be renamed over: another process was faster, with the same result.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read_vocabulary(gguf: Path) -> GgufVocabulary:
    """The tokenizer in `gguf`.

    Raises:
        UnsupportedTokenizer: it is not a byte-level BPE with a known way to split text.
    """
    try:
        fields = GGUFReader(gguf).fields
    except (OSError, ValueError) as error:
        raise UnsupportedTokenizer(gguf, f"it can't be read ({error})") from error

    def field(name: str) -> Any:
        found = fields.get(f"tokenizer.{name}")
        return None if found is None else found.contents()

    kind, split = field("ggml.model"), field("ggml.pre") or "default"
    if kind != "gpt2":
        raise UnsupportedTokenizer(gguf, f"its kind is {kind!r}, and only 'gpt2' is supported")
    rules = pre_tokenizer(split)
    if rules is None:
        raise UnsupportedTokenizer(gguf, f"its way to split text, {split!r}, is not supported")
    tokens: list[str] = field("ggml.tokens")

    def token(name: str) -> str | None:
        number = field(f"ggml.{name}_token_id")
        return None if number is None else tokens[number]

    stated_bos = field("ggml.add_bos_token")
    return GgufVocabulary(
        tokens=tokens,
        kinds=field("ggml.token_type") or [],
        merges=field("ggml.merges") or [],
        rules=rules,
        add_bos=rules.add_bos if stated_bos is None else bool(stated_bos),
        bos=token("bos"),
        eos=token("eos"),
        unknown=token("unknown"),
        padding=token("padding"),
        chat_template=field("chat_template"),
    )


def write_tokenizer(vocabulary: GgufVocabulary, directory: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into `directory`."""
    build_tokenizer(vocabulary).save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "bos_token": vocabulary.bos,
        "eos_token": vocabulary.eos,
        "unk_token": vocabulary.unknown,
        "pad_token": vocabulary.padding or vocabulary.eos,
        "chat_template": vocabulary.chat_template,
    }
    text = json.dumps({key: value for key, value in config.items() if value is not None})
    (directory / "tokenizer_config.json").write_text(text, encoding="utf-8")


def build_tokenizer(vocabulary: GgufVocabulary) -> Tokenizer:
    """The tokenizer that splits text as llama.cpp does with the same file."""
    rules = vocabulary.rules
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(vocabulary.tokens)},
            merges=[_pair(merge) for merge in vocabulary.merges],
            ignore_merges=rules.ignore_merges,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rules.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_added(vocabulary, CONTROL_TOKEN, special=True))
    tokenizer.add_tokens(_added(vocabulary, USER_DEFINED_TOKEN, special=False))
    if vocabulary.add_bos and vocabulary.bos is not None:
        number = vocabulary.tokens.index(vocabulary.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{vocabulary.bos} $A",
            pair=f"{vocabulary.bos} $A $B",
            special_tokens=[(vocabulary.bos, number)],
        )
    return tokenizer


def _pair(merge: str) -> tuple[str, str]:
    """The two halves of one merge; neither contains a space, as bytes are written as letters."""
    left, _, right = merge.partition(" ")
    return left, right


def _added(vocabulary: GgufVocabulary, kind: int, special: bool) -> list[AddedToken]:
    return [
        AddedToken(token, special=special, normalized=False)
        for token, its_kind in zip(vocabulary.tokens, vocabulary.kinds, strict=False)
        if its_kind == kind
    ]


def _cache_key(gguf: Path) -> str:
    facts = gguf.stat()
    text = f"{FORMAT}\0{os.fspath(gguf.resolve())}\0{facts.st_size}\0{facts.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()
