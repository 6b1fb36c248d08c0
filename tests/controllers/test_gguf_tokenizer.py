"""The tokenizer taken from a GGUF file agrees with the engine that loads the same file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest
import tokenizers

from controllers.base import DeploymentIdentity, DeploymentRequest, EngineState
from controllers.engines.gguf_pretokenizers import pre_tokenizer
from controllers.engines.gguf_tokenizer import (
    UnsupportedTokenizer,
    build_tokenizer,
    read_vocabulary,
    tokenizer_directory,
)
from controllers.local import LocalController
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_while_starting
from tuning.domain.names import EngineName

TEXTS = [
    "",
    "a",
    "   ",
    "Hello world 1234 foo",
    "  leading and   many    spaces  \n\n\ttabs\r\n end \n",
    "I'm HE'LL we've DON'T o'clock",
    "emoji 🎉👩‍👩‍👧‍👦 and ünïcödé — “quotes” …",
    "def f(x):\n    return x**2 + 3.14159  # comment\n\n\nclass A: pass",
    "日本語のテキスト 한국어 中文 العربية हिन्दी ภาษาไทย",
    "12345678901234567890 1,234.56 $99.99 ½ ² ٣",
    "CamelCaseHTTPServer XMLParser iOS",
    "http://a.b/c?d=e&f=g#h //// ///\n",
    "x\u00a0y\u2003z\u200bw e\u0301 nai\u0308ve",
    "====>>>>~~~~````||||$$$",
    "<|im_start|>user\nhi<|im_end|>\n",
]


@pytest.fixture(scope="module")
def directory(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenizer_directory(sample_model, tmp_path_factory.mktemp("tokenizers"))


@pytest.fixture(params=["smollm", "llama-bpe", "qwen2"])
def relabelled(request: pytest.FixtureRequest, sample_model: Path, tmp_path: Path) -> Path:
    """The sample model, claiming another way to split text: the engine follows that claim."""
    if request.param == "smollm":
        return sample_model
    target = tmp_path / f"{request.param}.gguf"
    command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--force"]
    command += ["--pre-tokenizer", request.param, str(sample_model), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture
def engine_url(relabelled: Path, tmp_path: Path) -> Iterator[str]:
    controller = LocalController(tmp_path / "run", relabelled.parent, PORT_RANGE)
    request = DeploymentRequest(
        identity=DeploymentIdentity(INSTANCE, 7, 7, 1),
        engine=EngineName.LLAMACPP,
        model=str(relabelled),
        served_model_name="small",
        parameters={"ctx-size": 256, "no-warmup": True},
    )
    deployment = controller.deploy(request, Lines())
    try:
        assert wait_while_starting(controller, deployment).state is EngineState.READY
        yield deployment.base_url
    finally:
        controller.delete(deployment)


@pytest.mark.slow
def test_ids_agree_with_the_engines_own(relabelled: Path, engine_url: str) -> None:
    tokenizer = build_tokenizer(read_vocabulary(relabelled))
    for text in TEXTS:
        for special in (False, True):
            answer = httpx.post(
                f"{engine_url}/tokenize",
                json={"content": text, "parse_special": True, "add_special": special},
                trust_env=False,
            )
            ours = tokenizer.encode(text, add_special_tokens=special)
            assert ours.ids == answer.json()["tokens"], (text, special)


def test_text_survives_the_way_there_and_back(directory: Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))

    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_transformers_loads_it_offline_and_applies_the_chat_template(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(directory))
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )

    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.eos_token == "<|im_end|>"
    assert len(tokenizer.encode(chat)) < 40
    assert tokenizer.decode(tokenizer.encode("Hello world 12"), skip_special_tokens=True) == (
        "Hello world 12"
    )


def test_it_is_made_once_and_also_when_two_ask_at_once(sample_model: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: tokenizer_directory(sample_model, tmp_path), range(2)))
    written = (made[0] / "tokenizer.json").stat().st_mtime_ns

    assert made[0] == made[1] == tokenizer_directory(sample_model, tmp_path)
    assert (made[0] / "tokenizer.json").stat().st_mtime_ns == written
    assert list(tmp_path.iterdir()) == [made[0]]


@pytest.mark.parametrize(
    ("kind", "split", "said"),
    [("llama", "default", "'llama'"), ("gpt2", "no-such-split", "'no-such-split'")],
)
def test_an_unknown_tokenizer_says_what_to_set_instead(
    tmp_path: Path, kind: str, split: str, said: str
) -> None:
    path = tmp_path / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(split)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    with pytest.raises(UnsupportedTokenizer, match=said) as caught:
        tokenizer_directory(path, tmp_path / "cache")
    assert "benchmark.model_tokenizer" in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_no_gguf_is_unsupported_as_well(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"not a model at all")

    with pytest.raises(UnsupportedTokenizer, match="can't be read"):
        tokenizer_directory(path, tmp_path / "cache")


@pytest.mark.parametrize("name", ["default", "gpt-2", "llama-bpe", "qwen2", "qwen35", "tekken"])
def test_every_pattern_is_one_that_the_tokenizers_library_takes(name: str) -> None:
    rules = pre_tokenizer(name)

    assert rules is not None
    for pattern in rules.patterns:
        tokenizers.Regex(pattern)
