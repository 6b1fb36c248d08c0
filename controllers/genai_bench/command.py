"""genai-bench's command line and environment for a plan.

Flags are those of genai-bench 0.0.5: `genai_bench/cli/option_groups.py`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from controllers.base import BenchmarkPlan
from tuning.domain.names import EngineName

NO_API_KEY = "EMPTY"
"""Given where the engine needs no key: genai-bench refuses to start without one."""

EXPERIMENT_FOLDER = "experiment"
"""Where genai-bench writes its files, inside the scratch directory that it is given."""

SECRET_VARIABLES = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AZURE_AD_TOKEN",
        "AZURE_OPENAI_API_VERSION",
        "AZURE_OPENAI_DEPLOYMENT",
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_SAS_TOKEN",
        "GCP_LOCATION",
        "GCP_PROJECT_ID",
        "GITHUB_OWNER",
        "GITHUB_REPO",
        "GITHUB_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "MODEL_API_KEY",
    }
)
"""Every variable that genai-bench takes an option from.

It prints all options, secret or not, and writes them into its metadata, so it is given none of the
user's cloud credentials: it talks to nothing but the engine.
"""

BATCH_SIZE_TASKS = frozenset({"text-to-embeddings", "text-to-rerank"})
"""Tasks that genai-bench measures by batch size, with one client at a time."""

# The plain `openai` backend drops `ignore_eos`, so that answers would end wherever the model likes.
# llama.cpp's server understands it as vLLM's does.
API_BACKENDS = {
    EngineName.LLAMACPP: "vllm",
    EngineName.VLLM: "vllm",
    EngineName.SGLANG: "sglang",
}
_SERVER_ENGINES = {
    EngineName.LLAMACPP: "LlamaCPP",
    EngineName.VLLM: "vLLM",
    EngineName.SGLANG: "SGLang",
}

_LAUNCHER = Path(__file__).with_name("launcher.py")


def command(base_url: str, plan: BenchmarkPlan, scratch: Path) -> list[str]:
    """The command that measures points of the plan one by one, as it is told them.

    It runs under this interpreter, because a virtual environment's scripts need not be on the
    PATH, and is started by file name, because the project need not be importable from the child's
    directory; `-P` keeps this directory's modules out of its way. Scenarios and concurrencies are
    what genai-bench checks and notes down at its start; `launcher.py` has it ask for each point.

    No key is among the arguments, where any user of the host could read it; see `environment`.
    """
    level_option = "--batch-size" if plan.task in BATCH_SIZE_TASKS else "--num-concurrency"
    return [
        *(sys.executable, "-P", str(_LAUNCHER), "benchmark"),
        *("--api-backend", API_BACKENDS[plan.engine]),
        *("--api-base", base_url.rstrip("/")),
        *("--api-key", NO_API_KEY),
        *("--api-model-name", plan.model_name),
        *("--model", plan.model_name),
        *("--model-tokenizer", _tokenizer(plan)),
        *("--server-engine", _SERVER_ENGINES[plan.engine]),
        *("--task", plan.task),
        *_repeated("--traffic-scenario", plan.scenarios),
        *_repeated(level_option, plan.concurrencies),
        *("--max-time-per-run", str(plan.max_time_per_point_min)),
        *("--max-requests-per-run", str(plan.max_requests_per_point)),
        *("--additional-request-params", _additional_params(plan)),
        *("--experiment-base-dir", str(scratch.absolute())),
        *("--experiment-folder-name", EXPERIMENT_FOLDER),
        *("--log-dir", str(scratch.absolute())),
    ]


def environment(
    base_url: str,
    plan: BenchmarkPlan,
    api_key: str | None = None,
    inherited: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The child's whole environment: what is inherited, less secrets, plus what genai-bench needs.

    The key goes in here: genai-bench prefers `MODEL_API_KEY` to `--api-key`.
    """
    kept = {name: value for name, value in inherited.items() if name not in SECRET_VARIABLES}
    settings = {
        "MODEL_API_KEY": api_key or NO_API_KEY,
        "ENABLE_UI": "false",
        "GENAI_BENCH_LOGGING_LEVEL": "INFO",
        "MPLBACKEND": "Agg",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",  # its log lines hold emoji, which a C locale could not print
        **_without_proxy(base_url, kept),
    }
    if _is_directory(plan.tokenizer):
        settings["HF_HUB_OFFLINE"] = "1"
    return kept | settings


def _repeated(option: str, values: Iterable[object]) -> list[str]:
    return [word for value in values for word in (option, str(value))]


def _tokenizer(plan: BenchmarkPlan) -> str:
    """A directory as an absolute path, for the child runs elsewhere; a hub id as it is."""
    return str(Path(plan.tokenizer).absolute()) if _is_directory(plan.tokenizer) else plan.tokenizer


def _is_directory(tokenizer: str) -> bool:
    """An absolute path is never looked up on the hub, even when nothing is there."""
    path = Path(tokenizer)
    return path.is_absolute() or path.is_dir()


def _additional_params(plan: BenchmarkPlan) -> str:
    """As JSON, which keeps types: 0.0 stays a float.

    `"ignore_eos": false` is left out: genai-bench would ask on its standard input whether that is
    meant, and then sends true for every traffic scenario anyway (`sampling/text.py`).
    """
    return json.dumps(
        {
            name: value
            for name, value in plan.additional_params.items()
            if name != "ignore_eos" or value
        }
    )


def _without_proxy(base_url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """A proxy that the host uses for the internet must not stand between client and engine."""
    host = urlsplit(base_url).hostname or ""
    listed = inherited.get("no_proxy") or inherited.get("NO_PROXY") or ""
    exempt = ",".join(part for part in (listed, host) if part)
    return {"no_proxy": exempt, "NO_PROXY": exempt}
