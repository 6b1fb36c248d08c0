"""The command line and the environment that genai-bench is started with."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from controllers.genai_bench.command import SECRET_VARIABLES, command, environment
from tests.controllers.genai_bench_plans import plan
from tuning.domain.names import EngineName

URL = "http://127.0.0.1:8001"


def values_of(option: str, words: list[str]) -> list[str]:
    return [value for name, value in pairwise(words) if name == option]


def value_of(option: str, words: list[str]) -> str:
    (value,) = values_of(option, words)
    return value


def test_it_runs_under_this_interpreter_and_needs_no_path(tmp_path: Path) -> None:
    words = command(URL, plan(), tmp_path)
    assert words[0] == sys.executable
    assert all(Path(word).is_absolute() for word in (words[0], words[2]))


def test_the_call_tells_of_the_whole_plan(tmp_path: Path) -> None:
    grid = plan(scenarios=["D(16,8)", "N(20,2)/(8,1)"], concurrencies=[1, 4], repeats=2)
    words = command(URL, grid, tmp_path)
    assert values_of("--traffic-scenario", words) == ["D(16,8)", "N(20,2)/(8,1)"]
    assert values_of("--num-concurrency", words) == ["1", "4"]
    assert value_of("--max-time-per-run", words) == "1"
    assert value_of("--max-requests-per-run", words) == "2"


@pytest.mark.parametrize(
    ("engine", "backend"),
    [(EngineName.LLAMACPP, "vllm"), (EngineName.VLLM, "vllm"), (EngineName.SGLANG, "sglang")],
)
def test_every_engine_gets_a_backend_that_sends_ignore_eos(
    engine: EngineName, backend: str, tmp_path: Path
) -> None:
    assert value_of("--api-backend", command(URL, plan(engine=engine), tmp_path)) == backend


def test_additional_params_keep_their_types(tmp_path: Path) -> None:
    params = {"temperature": 0.0, "top_k": 1, "stop": None, "stream_options": {"a": [True]}}
    words = command(URL, plan(additional_params=params), tmp_path)
    text = value_of("--additional-request-params", words)
    assert json.loads(text) == params
    assert '"temperature": 0.0' in text


def test_a_false_ignore_eos_is_left_out_or_genai_bench_would_ask_about_it(tmp_path: Path) -> None:
    words = command(URL, plan(additional_params={"ignore_eos": False}), tmp_path)
    assert value_of("--additional-request-params", words) == "{}"


def test_embeddings_are_measured_by_batch_size(tmp_path: Path) -> None:
    embeddings = plan(task="text-to-embeddings", scenarios=["E(64)"], concurrencies=[1, 8])
    words = command(URL, embeddings, tmp_path)
    assert values_of("--batch-size", words) == ["1", "8"]
    assert not values_of("--num-concurrency", words)


def test_the_key_is_in_the_environment_and_never_among_the_arguments(tmp_path: Path) -> None:
    assert value_of("--api-key", command(URL, plan(), tmp_path)) == "EMPTY"
    assert environment(URL, plan(), "sk-secret", {})["MODEL_API_KEY"] == "sk-secret"
    assert environment(URL, plan(), None, {"MODEL_API_KEY": "other"})["MODEL_API_KEY"] == "EMPTY"


def test_genai_bench_gets_none_of_the_users_credentials() -> None:
    inherited = {"AWS_SECRET_ACCESS_KEY": "s", "GITHUB_TOKEN": "t", "HOME": "/home/me"}
    given = environment(URL, plan(), None, inherited)
    assert given["HOME"] == "/home/me"
    assert not {"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"} & given.keys()


def test_every_variable_that_genai_bench_reads_an_option_from_is_known() -> None:
    """It prints and stores all its options: a new version may read further secrets."""
    package = importlib.util.find_spec("genai_bench")
    assert package
    assert package.origin
    source = Path(package.origin).with_name("cli") / "option_groups.py"
    assert set(re.findall(r'envvar="(\w+)"', source.read_text())) == SECRET_VARIABLES


def test_a_local_tokenizer_is_never_looked_up_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizer").mkdir()
    monkeypatch.chdir(tmp_path)
    local = plan(tokenizer="tokenizer")
    assert value_of("--model-tokenizer", command(URL, local, tmp_path)) == str(
        tmp_path / "tokenizer"
    )
    assert environment(URL, local, None, {})["HF_HUB_OFFLINE"] == "1"


def test_a_tokenizer_of_the_hub_is_left_as_it_is(tmp_path: Path) -> None:
    words = command(URL, plan(), tmp_path)
    assert value_of("--model-tokenizer", words) == "some/tokenizer"
    assert "HF_HUB_OFFLINE" not in environment(URL, plan(), None, {})


def test_no_proxy_stands_between_client_and_engine() -> None:
    inherited = {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "internal"}
    given = environment("http://10.0.0.7:8001", plan(), None, inherited)
    assert given["HTTP_PROXY"] == "http://proxy:3128"
    assert given["no_proxy"] == given["NO_PROXY"] == "internal,10.0.0.7"
