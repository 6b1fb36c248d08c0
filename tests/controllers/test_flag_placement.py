"""How a task's flags get into the command of a serving runtime, and all of them to the engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.base import DeploymentError
from controllers.cluster.flag_placement import FlagPlacement, place_flags
from controllers.cluster.runtimes import runtime_of
from controllers.cluster.shell_script import UnreadableScript, engine_command, simple_commands
from controllers.engines.catalogue import engine
from tests.controllers.cluster_samples import (
    SGLANG_COMMAND,
    VLLM_ARGS,
    VLLM_SCRIPT,
    runtime_document,
)
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue

VLLM = engine(EngineName.VLLM)
NAMED = ("--served-model-name", "llama")


def placed(
    command: Sequence[str] | None,
    args: Sequence[str] | None,
    parameters: Mapping[str, FlagValue],
    *,
    kind: EngineName = EngineName.SGLANG,
) -> FlagPlacement:
    runtime = runtime_of(runtime_document(command=command, args=args))
    return place_flags(runtime, engine(kind), "llama", parameters)


# --- Lists ---


def test_flags_come_after_a_command_that_has_them_all() -> None:
    found = placed(SGLANG_COMMAND, None, {"mem-fraction-static": 0.8, "tp-size": 2})

    assert found.args == (*NAMED, "--mem-fraction-static", "0.8", "--tp-size", "2")
    assert found.command is None
    assert found.shown == (*SGLANG_COMMAND, *(found.args or ()))


def test_flags_take_the_place_of_a_runtimes_args_and_leave_the_others() -> None:
    found = placed(
        ["vllm", "serve"],
        VLLM_ARGS,
        {"max-model-len": 8192, "gpu-memory-utilization": 0.8, "enable-prefix-caching": True},
        kind=EngineName.VLLM,
    )

    assert found.args == (
        *("$(MODEL_PATH)", "--port", "8080", "--tensor-parallel-size", "1", *NAMED),
        *("--max-model-len", "8192", "--gpu-memory-utilization", "0.8", "--enable-prefix-caching"),
    )
    assert found.command is None


@pytest.mark.parametrize(
    "written",
    [
        ["--tp-size", "4"],
        ["--tp-size=4"],
        ["--tp_size", "4"],
        ["--tp_size=4"],
        ["--tp", "4"],
        ["--tensor-parallel-size=4"],
        ["--tensor_parallel_size", "4"],
    ],
)
@pytest.mark.parametrize("mine", ["tp-size", "tp_size", "tensor-parallel-size", "tp"])
def test_every_spelling_of_a_flag_is_replaced(written: list[str], mine: str) -> None:
    args = ["--model-path", "$(MODEL_PATH)", *written, "--enable-metrics"]
    found = placed(["python3", "-m", "sglang.launch_server"], args, {mine: 2})

    assert found.args == (
        *("--model-path", "$(MODEL_PATH)", "--enable-metrics", *NAMED),
        *(f"--{mine}", "2"),
    )


def test_an_abbreviated_flag_is_replaced_and_the_models_path_never() -> None:
    args = ["--model", "$(MODEL_PATH)", "--mem-frac", "0.9", "--port", "8080"]
    found = placed(["python3", "-m", "sglang.launch_server"], args, {"mem-fraction-static": 0.5})

    assert found.args is not None
    assert found.args[:4] == ("--model", "$(MODEL_PATH)", "--port", "8080")


def test_a_flag_with_many_values_goes_with_all_of_them_but_not_with_the_model() -> None:
    args = ["--served-model-name", "a", "b", "$(MODEL_PATH)", "--enforce-eager", "--port", "1"]
    found = placed(["vllm", "serve"], args, {"enforce-eager": True}, kind=EngineName.VLLM)

    assert found.args == ("$(MODEL_PATH)", "--port", "1", *NAMED, "--enforce-eager")


def test_a_flag_that_is_left_out_leaves_a_runtimes_args() -> None:
    args = ["--enable-metrics", "--tp-size", "2", "--model-path", "$(MODEL_PATH)"]
    found = placed(["python3", "-m", "sglang.launch_server"], args, {"enable-metrics": False})

    assert found.args == ("--tp-size", "2", "--model-path", "$(MODEL_PATH)", *NAMED)
    assert found.command is None


def test_a_flag_that_is_left_out_of_a_command_changes_the_command() -> None:
    found = placed(SGLANG_COMMAND, None, {"enable-metrics": False, "tp-size": 2})

    assert found.command is not None
    assert "--enable-metrics" not in found.command
    assert "--tp-size" not in found.command
    assert found.command[:7] == tuple(SGLANG_COMMAND[:7])
    assert found.args == (*NAMED, "--tp-size", "2")


def test_what_kubernetes_would_replace_is_escaped_and_shown_as_it_is() -> None:
    value = "$HOME $(MODEL_PATH) $$ ${x}"
    found = placed(SGLANG_COMMAND, None, {"tool-call-parser": value})

    assert found.args is not None
    assert found.args[-1] == "$$HOME $$(MODEL_PATH) $$$$ $${x}"
    assert found.shown[-1] == value
    # The runtime's own are as it wrote them.
    assert "$(MODEL_PATH)" in found.shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{{ .Name }}", "placeholder"),
        ("a\0b", "null character"),
        ("\ud800", "half of a character"),
        ("x" * 131_072, "131,071 bytes"),
        ("é" * 65_536, "131,071 bytes"),
    ],
)
def test_a_value_that_can_not_reach_the_engine_is_refused_by_its_flag(
    value: str, said: str
) -> None:
    with pytest.raises(DeploymentError, match=said) as caught:
        placed(SGLANG_COMMAND, None, {"tool-call-parser": value})

    assert str(caught.value).startswith("tool-call-parser: ")
    assert caught.value.failure.kind is FailureKind.BAD_FLAG
    assert len(str(caught.value)) < 300


def test_flags_of_the_autotuner_are_refused_as_everywhere() -> None:
    with pytest.raises(DeploymentError, match="sets this flag of sglang itself"):
        placed(SGLANG_COMMAND, None, {"port": 1})


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_kubernetes_makes_of_any_argument_what_was_meant(value: str) -> None:
    parameters: dict[str, FlagValue] = {"text": value}
    runtime = runtime_of(runtime_document(command=["python3", "server.py"]))
    try:
        found = place_flags(runtime, FakeEngineKind(), "llama", parameters)
    except DeploymentError as error:
        assert "{{" in value or value.startswith("-"), error  # noqa: PT017
        return
    assert found.args is not None
    assert expanded(found.args[-1], {"MODEL_PATH": "/m"}) == value


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """As Kubernetes does it: `Expand` of k8s.io/kubernetes/third_party/forked/golang/expansion."""
    made = []
    place = 0
    while place < len(text):
        if text[place] != "$" or place + 1 == len(text):
            made.append(text[place])
            place += 1
            continue
        following = text[place + 1]
        end = text.find(")", place)
        if following == "$":
            made.append("$")
            place += 2
        elif following == "(" and end > 0:
            name = text[place + 2 : end]
            made.append(variables.get(name, f"$({name})"))
            place = end + 1
        else:
            made.append("$" + following)
            place += 2
    return "".join(made)


# --- Shell scripts ---


def run_script(command: Sequence[str], tmp_path: Path) -> list[str]:
    """The arguments that the engine is given when a shell runs the command as Kubernetes would."""
    program = tmp_path / "python3"
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    variables = {"MODEL_PATH": "/models/llama 70b", "HOME": "/home/x"}
    done = subprocess.run(
        [expanded(word, variables) for word in command],
        env={**variables, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        check=True,
        timeout=20,
    )
    return done.stdout.decode().split("\0")[:-1]


NASTY: dict[str, FlagValue] = {
    "tensor-parallel-size": 2,
    "compilation-config": '{"level": 3, "x": ["a b", "it\'s"]}',
    "tool-call-parser": "$HOME `id` $(MODEL_PATH) \\ \n;|& # é",
    "enable-chunked-prefill": False,
    "enforce-eager": True,
}
NASTY_WORDS = [
    *("--tensor-parallel-size", "2"),
    *("--compilation-config", str(NASTY["compilation-config"])),
    *("--tool-call-parser", str(NASTY["tool-call-parser"]), "--enforce-eager"),
]
ENGINE = ["-m", "vllm.entrypoints.openai.api_server"]


@pytest.mark.parametrize("in_args", [True, False])
def test_a_shell_gives_the_engine_every_flag(in_args: bool, tmp_path: Path) -> None:
    shell = ["/bin/bash", "-c", "--"]
    runtime = runtime_of(
        runtime_document(
            command=shell if in_args else [*shell, VLLM_SCRIPT],
            args=[VLLM_SCRIPT] if in_args else None,
        )
    )
    found = place_flags(runtime, VLLM, "llama", NASTY)

    assert (found.command is None) == in_args
    assert (found.args is None) != in_args
    sent = [*(found.command or runtime.command), *(found.args or runtime.args)]
    assert run_script(sent, tmp_path) == [
        *(*ENGINE, "--port=8080", "--model=/models/llama 70b", "--max-model-len=131072"),
        *(*NAMED, *NASTY_WORDS),
    ]


SCRIPTS = {
    "a pipe": ("%s --port 1 | cat", ["--port", "1"]),
    "a redirection": ("%s --port 1 2>/dev/null", ["--port", "1"]),
    "commands before": ("export A=1; cd /tmp && exec %s --port 1", ["--port", "1"]),
    "a comment": ("# python3 -m vllm.x --port 2\n%s --port 1 # the end", ["--port", "1"]),
    "the background": ("%s --port 1 &\nwait", ["--port", "1"]),
    "quotes": ('%s --port "1" \'--x\'y "a\\"b"', ["--port", "1", "--xy", 'a"b']),
    "a substitution": ("%s --port $(echo 1; true) --x ${A:-b}", ["--port", "1", "--x", "b"]),
    "a continued flag": ("%s --max-model-len \\\n 5 \\\n --port 1", ["--port", "1"]),
    "an end without newline": ("  %s   --port 1   ", ["--port", "1"]),
    "a test": ("if true; then %s --port 1; fi", ["--port", "1"]),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_of_many_kinds_can_be_given_flags(name: str, tmp_path: Path) -> None:
    script, kept = SCRIPTS[name]
    runtime = runtime_of(
        runtime_document(
            command=["bash", "-o", "pipefail", "-c"],
            args=[script % "python3 -m vllm.entrypoints.openai.api_server"],
        )
    )
    found = place_flags(runtime, VLLM, "llama", {"max-model-len": 9})

    sent = [*runtime.command, *(found.args or ())]
    assert run_script(sent, tmp_path) == [*ENGINE, *kept, *NAMED, "--max-model-len", "9"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("vllm serve a || vllm serve b", "in more than one place"),
        ("./start.sh; ./wait.sh", "by no command that could be found"),
        ("", "by no command that could be found"),
        ("vllm serve 'a", "not closed"),
        ("vllm serve $(a", "not closed"),
        ("cat <<EOF\nx\nEOF\nvllm serve a", "here-document"),
    ],
)
def test_a_script_that_can_not_be_given_flags_is_refused(script: str, said: str) -> None:
    with pytest.raises(DeploymentError, match=said) as caught:
        placed(["sh", "-c"], [script], {}, kind=EngineName.VLLM)

    assert caught.value.failure.kind is FailureKind.INVALID_SPEC


def test_a_script_with_arguments_of_its_own_is_refused() -> None:
    with pytest.raises(DeploymentError, match="arguments of its own"):
        placed(["sh", "-c", 'vllm serve "$1"', "sh", "model"], None, {}, kind=EngineName.VLLM)


@given(script=st.text(st.sampled_from("ab -=\"'\\$(){}`;|&<>#\n")))
def test_any_text_is_read_as_a_script_or_refused(script: str) -> None:
    try:
        commands = list(simple_commands(script))
    except UnreadableScript:
        return
    for words in commands:
        places = [place for word in words for place in (word.start, word.end)]
        assert places == sorted(places)


def test_the_only_command_of_a_script_is_the_engines() -> None:
    words = engine_command("exec ./serve --port 1", lambda word: False)

    assert [word.text for word in words] == ["exec", "./serve", "--port", "1"]


# --- GPUs ---


@pytest.mark.parametrize(
    ("command", "parameters", "known"),
    [
        (SGLANG_COMMAND, {}, {"tp-size": "4"}),
        (SGLANG_COMMAND, {"tp": 2}, {"tp": 2}),
        (SGLANG_COMMAND, {"dp-size": 2}, {"tp-size": "4", "dp-size": 2}),
        (["python3", "--tp=$(PARALLELISM_SIZE)"], {}, None),
        (["python3", "--tp=$(PARALLELISM_SIZE)"], {"tp-size": 2}, {"tp-size": 2}),
        (["bash", "-c", 'python3 --tp "$GPUS"'], {}, None),
        (["bash", "-c", "python3 --tp_size 8"], {}, {"tp-size": "8"}),
    ],
)
def test_the_flags_that_decide_on_gpus_are_those_of_both(
    command: list[str], parameters: dict[str, FlagValue], known: dict[str, FlagValue] | None
) -> None:
    assert placed(command, None, parameters).gpu_parameters == known
