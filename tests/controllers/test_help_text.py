"""What engines print when they are asked for their flags, and what is made of it."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from controllers.engines.help_text import HelpText, read_help
from tests.fake_engine.engine import SERVER
from tuning.domain.names import FlagValue

VLLM = """
usage: vllm serve [model_tag] [options]

Launch a local OpenAI-compatible API server to serve LLM
completions via HTTP. Defaults to Qwen/Qwen3-0.6B if no model is specified.

positional arguments:
  model_tag             The model tag to serve (optional if specified in config)

options:
  --api-server-count API_SERVER_COUNT, -asc API_SERVER_COUNT
                        How many API server processes to run. (default: 1)
  --config CONFIG       Read CLI options from a config file. (default: None)
  -h, --help            show this help message and exit

Frontend:
  --chat-template-content-format {auto,openai,string}
                        The format to render message content within a chat template.

                        - "string" will render the content as a string.
                        - "openai" will render the content as a list of dictionaries; see
                        --chat-template (default: auto)
  --port PORT           Port number. (default: 8000)
  --tool-call-parser {deepseek_v3,hermes} or name registered in --tool-parser-plugin
                        Select the tool call parser. (default: None)

ModelConfig:
  --dtype {auto,bfloat16,float,float16,float32,half}
                        Data type for model weights and activations:
                        - "auto" will use FP16 precision for FP32 and FP16 models.
                         (default: auto)
  --enable-prompt-embeds, --no-enable-prompt-embeds
                        If `True`, enables passing text embeddings as inputs. (default: False)
  --hf-overrides HF_OVERRIDES
                        If a dictionary, contains arguments to be forwarded. (default: {})
  --max-model-len MAX_MODEL_LEN
                        Model context length. (default: None)
  --quantization QUANTIZATION, -q QUANTIZATION
                        Method used to quantize the weights. (default: None)

CacheConfig:
  --block-size {1,8,16,32,64,128}
                        Size of a contiguous cache block in number of tokens. (default: None)

ParallelConfig:
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
                        Number of tensor parallel groups. (default: 1)
"""

SGLANG = """
usage: launch_server.py [-h] --model-path MODEL_PATH [--tokenizer-path TOKENIZER_PATH]
                        [--dtype {auto,half,float16,bfloat16,float,float32}] [--port PORT]
                        [--cuda-graph-bs CUDA_GRAPH_BS [CUDA_GRAPH_BS ...]]

options:
  -h, --help            show this help message and exit
  --model-path MODEL_PATH, --model MODEL_PATH
                        The path of the model weights.
  --port PORT           The port of the HTTP server.
  --dtype {auto,half,float16,bfloat16,float,float32}
                        Data type for model weights and activations.
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, --tp-size TENSOR_PARALLEL_SIZE
                        The tensor parallelism size.
  --log-requests-level {0,1,2,3}
                        0: Log metadata. 1: Log metadata and sampling parameters.
  --disable-radix-cache
                        Disable RadixAttention for prefix caching.
  --cuda-graph-bs CUDA_GRAPH_BS [CUDA_GRAPH_BS ...]
                        Set the list of batch sizes for cuda graph.
  --lora-target-modules [{q_proj,k_proj,all} ...]
                        The union set of all target modules.
"""

LLAMACPP = """
----- common params -----

-h,    --help, --usage                  print usage and exit
--version                               show version and build info
-t,    --threads N                      number of CPU threads to use during generation (default: -1)
                                        (env: LLAMA_ARG_THREADS)
--cpu-strict <0|1>                      use strict CPU placement (default: 0)
--poll <0...100>                        use polling level to wait for work (0 - no polling, default:
                                        50)
-fa,   --flash-attn [on|off|auto]       set Flash Attention use ('on', 'off', or 'auto', default:
                                        'auto')
-ctk,  --cache-type-k TYPE              KV cache data type for K
                                        allowed values: f32, f16, bf16, q8_0, q4_0
-sm,   --split-mode {none,layer,row,tensor}
                                        how to split the model across multiple GPUs, one of:
                                        - none: use one GPU only
                                        - layer (default): split layers and KV across GPUs
-kvo,  --kv-offload, -nkvo, --no-kv-offload
                                        whether to enable KV cache offloading (default: enabled)
-dev,  --device <dev1,dev2,..>          comma-separated list of devices to use for offloading
-ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers to store in VRAM

----- example-specific params -----

--port PORT                             port to listen (default: 8080)
"""


def test_vllms_flags_and_choices_are_read() -> None:
    found = read_help(VLLM)
    assert found.is_usable
    assert set(found.flags) == {
        *("api-server-count", "config", "help", "chat-template-content-format", "port"),
        *("tool-call-parser", "tool-parser-plugin", "dtype", "enable-prompt-embeds"),
        *("no-enable-prompt-embeds", "hf-overrides", "max-model-len", "quantization"),
        *("block-size", "tensor-parallel-size"),
    }
    assert found.flags["dtype"] == ("auto", "bfloat16", "float", "float16", "float32", "half")
    assert found.flags["block-size"] == ("1", "8", "16", "32", "64", "128")
    for free in ("tool-call-parser", "max-model-len", "quantization", "enable-prompt-embeds"):
        assert found.flags[free] == ()


def test_sglangs_flags_and_choices_are_read() -> None:
    found = read_help(SGLANG)
    assert found.is_usable
    assert found.flags["log-requests-level"] == ("0", "1", "2", "3")
    assert {"tensor-parallel-size", "tp-size", "model", "disable-radix-cache"} <= set(found.flags)
    assert found.flags["cuda-graph-bs"] == ()


def test_llamacpps_flags_and_choices_are_read() -> None:
    found = read_help(LLAMACPP)
    assert found.is_usable
    assert found.flags["flash-attn"] == ("on", "off", "auto")
    assert found.flags["cpu-strict"] == ("0", "1")
    assert found.flags["split-mode"] == ("none", "layer", "row", "tensor")
    assert {"gpu-layers", "n-gpu-layers", "kv-offload", "no-kv-offload"} <= set(found.flags)
    for free in ("poll", "cache-type-k", "threads"):
        assert found.flags[free] == ()


def test_a_real_argparse_is_read_as_it_was_made() -> None:
    done = subprocess.run(
        [sys.executable, str(SERVER), "--help"], capture_output=True, text=True, check=True
    )
    found = read_help(done.stdout)
    assert found.is_usable
    assert {"slots", "token-ms", "never-ready", "served-model-name"} <= set(found.flags)


def test_every_kind_of_argument_is_read_as_argparse_prints_it() -> None:
    parser = argparse.ArgumentParser(prog="engine")
    parser.add_argument("--port", type=int)
    parser.add_argument("--a-very-long-name-of-a-flag-indeed", choices=["one", "two"], help="x")
    parser.add_argument("-q", "--quick", choices=[1, 2, 3], type=int, help="so quick")
    parser.add_argument("--on", action=argparse.BooleanOptionalAction)
    parser.add_argument("--maybe", nargs="?", choices=["x", "y"])
    found = read_help(parser.format_help()).flags
    assert found["a-very-long-name-of-a-flag-indeed"] == ("one", "two")
    assert found["quick"] == ("1", "2", "3")
    assert found["on"] == found["no-on"] == ()
    assert set(found) == {
        *("help", "port", "a-very-long-name-of-a-flag-indeed", "quick", "on", "no-on", "maybe")
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Traceback (most recent call last):\nModuleNotFoundError: No module named 'sglang'",
        "usage: vllm serve [model_tag] [options]\n\nConfig Groups:\n  Frontend   Arguments for "
        "the server\n\nFor full list: vllm serve --help=all\n",
    ],
)
def test_what_is_no_help_says_nothing(text: str) -> None:
    assert not read_help(text).is_usable


def test_an_unanswered_question_is_no_problem() -> None:
    assert HelpText().problems({"any": 1, "port": 2}) == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"max-model-lenn": 8192}, 'did you mean "max-model-len"'),
        ({"async-scheduling": True}, "no flag --async-scheduling"),
        ({"dtype": "fp8"}, "one of auto, bfloat16"),
        ({"block_size": 48}, "not '48'"),
    ],
)
def test_what_an_engine_has_not_is_a_problem(parameters: dict[str, FlagValue], said: str) -> None:
    (problem,) = read_help(VLLM).problems(parameters)
    assert problem.flags == tuple(parameters)
    assert said in problem.message


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_model_len": 8192, "dtype": "half", "block-size": 16},
        {"hf-overrides.rope_theta": 1.0},
        {"tensor-parallel": 2},
        {"not-in-it": False},
        {"no-enable-prompt-embeds": True},
        {"quantization": "anything"},
    ],
)
def test_what_an_engine_has_is_none(parameters: dict[str, FlagValue]) -> None:
    assert read_help(VLLM).problems(parameters) == []
