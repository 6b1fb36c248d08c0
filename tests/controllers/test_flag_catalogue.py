"""The flag catalogues: their data, the rules, what is refused, and that nothing good is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controllers.base import DeploymentError
from controllers.engines.catalogue import engine, engines
from controllers.engines.flag_catalogue import FlagCatalogue, read_catalogue
from controllers.engines.flag_reference import reference
from controllers.engines.known_flag import NOT_SET, FlagType
from tests.controllers.flag_configurations import GOOD, RULES
from tuning.domain.constraint_text import ConstraintError
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue
from tuning.domain.planning import plan
from tuning.domain.spec import parse_task

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((PROJECT / "examples").glob("*.json"))
NUMBERS = {FlagType.INT, FlagType.FLOAT}


def catalogue(name: EngineName) -> FlagCatalogue:
    return engine(name).catalogue


@pytest.mark.parametrize("name", list(EngineName))
def test_the_data_are_whole(name: EngineName) -> None:
    found = catalogue(name)
    assert found.engine == name
    assert found.versions
    assert found.sources
    assert len(found.flags) >= 25
    for key, flag in found.flags.items():
        assert key == flag.name
        assert flag.meaning
        assert flag.default
        assert not flag.meaning.endswith(".")
        if flag.type is FlagType.CHOICE:
            assert len(flag.values) == len(set(flag.values)) > 1
            words = {*flag.values, NOT_SET}
            assert flag.default in words or flag.default.startswith(("by ", "as "))
        else:
            assert not flag.values
        if flag.type in NUMBERS:
            assert flag.unit or "seed" in key or flag.type is FlagType.INT
            default = flag.definite_default
            assert default is None or flag.refusal(default) is None
        if flag.type is FlagType.SWITCH:
            assert flag.default in {"on", "off"} or " " in flag.default
        if ("dtype" in key and "kv" in key) or key == "quantization":
            assert flag.is_lossy


@pytest.mark.parametrize("name", [EngineName.VLLM, EngineName.SGLANG])
def test_every_number_has_a_unit_and_a_bound(name: EngineName) -> None:
    for flag in catalogue(name).flags.values():
        if flag.type in NUMBERS and "seed" not in flag.name:
            assert flag.unit, flag.name
            assert str(flag.bounds), flag.name


@pytest.mark.parametrize("name", list(EngineName))
def test_no_flag_has_two_descriptions(name: EngineName) -> None:
    flags = catalogue(name).flags
    spellings = [one for flag in flags.values() for one in (flag.name, *flag.aliases)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("name", list(EngineName))
def test_what_is_known_is_not_refused(name: EngineName) -> None:
    one = engine(name)
    for flag in one.known_flags:
        assert one.flag_refusal(flag, True) is None


@pytest.mark.parametrize("name", list(EngineName))
def test_the_flags_marked_for_gpus_are_those_that_the_engine_counts(name: EngineName) -> None:
    flags = catalogue(name).flags.values()
    marked = {one for flag in flags if flag.changes_gpus for one in (flag.name, *flag.aliases)}
    assert marked == engine(name).gpu_flags


@pytest.mark.parametrize(
    "parameters",
    [
        {"tp-size": 4, "dp-size": 4},
        {"tp-size": 4, "dp-size": 4, "enable-dp-attention": True},
        {"tp": 8, "pp": 2},
        {"tensor-parallel-size": 4, "pipeline-parallel-size": 2},
        {"tensor-parallel-size": 2, "data-parallel-size": 4},
    ],
)
@pytest.mark.parametrize("name", [EngineName.VLLM, EngineName.SGLANG])
def test_the_rule_on_gpus_counts_as_the_engine_does(
    name: EngineName, parameters: dict[str, FlagValue]
) -> None:
    one = engine(name)
    needed = one.gpus_needed(parameters)
    known = any(one.catalogue.find(flag) for flag in parameters)
    assert not one.catalogue.problems(parameters, gpus=needed)
    assert bool(one.catalogue.problems(parameters, gpus=needed - 1)) is (known and needed > 1)
    assert not one.catalogue.problems(parameters)


def test_every_rule_has_an_example() -> None:
    told = [(name, text) for name, text, *_ in RULES]
    there = [(name, rule.text) for name in EngineName for rule in catalogue(name).rules]
    assert sorted(told) == sorted(there)


@pytest.mark.parametrize(("name", "rule", "good", "bad", "gpus"), RULES)
def test_a_rule_refuses_what_breaks_it_and_nothing_else(
    name: EngineName,
    rule: str,
    good: dict[str, FlagValue],
    bad: dict[str, FlagValue],
    gpus: int | None,
) -> None:
    assert catalogue(name).problems(good, gpus) == []
    (problem,) = catalogue(name).problems(bad, gpus)
    assert problem.rule == rule
    assert set(problem.flags) <= set(bad)
    assert rule in problem.message
    if gpus is None:
        with pytest.raises(DeploymentError) as refused:
            engine(name).flags(bad)
        assert refused.value.failure.kind is FailureKind.BAD_FLAG
        assert rule in refused.value.failure.message


@pytest.mark.parametrize(("name", "source", "parameters"), GOOD)
def test_configurations_that_work_elsewhere_are_not_refused(
    name: EngineName, source: str, parameters: dict[str, FlagValue]
) -> None:
    one = engine(name)
    assert one.catalogue.problems(parameters, gpus=8) == [], source
    assert one.flags(parameters)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_have_no_problems(path: Path) -> None:
    spec = parse_task(path.read_bytes())
    one = engine(spec.base_runtime)
    assert not one.catalogue.unknown(spec.parameters)
    for configuration in plan(spec).configurations:
        assert one.catalogue.problems(configuration, gpus=8) == []


V, S, L = EngineName.VLLM, EngineName.SGLANG, EngineName.LLAMACPP


@pytest.mark.parametrize(
    ("name", "flag", "value", "said"),
    [
        (V, "gpu-memory-utilization", 0, "above 0 and at most 1"),
        (V, "gpu-memory-utilization", 1.01, "above 0 and at most 1"),
        (V, "gpu_memory_utilization", "much", "a number"),
        (V, "max-num-seqs", 0, "at least 1"),
        (V, "max-num-seqs", 8.0, "a whole number"),
        (V, "max-num-seqs", "8k", "a whole number"),
        (V, "max-num-seqs", True, "a whole number"),
        (V, "max-model-len", "8.5K", "or auto"),
        (V, "dtype", "fp8", "one of auto, half"),
        (V, "dtype", True, "one of auto"),
        (V, "enforce-eager", "true", "true or false"),
        (V, "enforce-eager", 1, "true or false"),
        (V, "no-enforce-eager", "yes", "true or false"),
        (V, "distributed-executor-backend", "my.module.Executor", "one of ray"),
        (S, "mem-fraction-static", 1.0, "below 1"),
        (S, "mem-fraction-static", 0, "above 0"),
        (S, "chunked-prefill-size", -2, "at least -1"),
        (S, "tp", 0, "at least 1"),
        (S, "schedule-policy", "lifo", "one of lpm"),
        (S, "schedule-conservativeness", -0.1, "at least 0"),
        (L, "parallel", 300, "at most 256"),
        (L, "threads", 0, "or -1"),
        (L, "cache-type-k", "q3_0", "one of f32"),
        (L, "flash-attn", "yes", "one of on"),
        (S, "lora-paths", "--trust-remote-code", "begins with a dash"),
        (V, "some-new-flag", "-O3", "begins with a dash"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_what_is_right(
    name: EngineName, flag: str, value: FlagValue, said: str
) -> None:
    (problem,) = catalogue(name).problems({flag: value})
    assert problem.flags == (flag,)
    assert problem.value == value
    assert problem.rule is None
    assert problem.message.startswith(flag)
    assert said in problem.message
    with pytest.raises(DeploymentError, match="takes"):
        engine(name).flags({flag: value})


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        (V, "gpu-memory-utilization", 1),
        (V, "gpu-memory-utilization", "0.95"),
        (V, "max-model-len", "auto"),
        (V, "max-model-len", -1),
        (V, "max-model-len", "8K"),
        (V, "max-num-batched-tokens", "25.6k"),
        (V, "kv-cache-memory-bytes", "40G"),
        (V, "enforce-eager", False),
        (V, "no-enable-prefix-caching", True),
        (V, "enable-chunked-prefill", "False"),
        (V, "kv-cache-dtype", "of_a_later_version"),
        (V, "never-heard-of", "anything"),
        (V, "never-heard-of", -3),
        (V, "compilation-config.level", 3),
        (S, "chunked-prefill-size", -1),
        (S, "dtype", False),
        (L, "flash-attn", True),
        (L, "flash-attn", "on"),
        (L, "threads", -1),
        (L, "n-gpu-layers", "all"),
        (L, "cpu-strict", 1),
    ],
)
def test_a_right_value_is_let_through(name: EngineName, flag: str, value: FlagValue) -> None:
    assert catalogue(name).problems({flag: value}) == []
    engine(name).flags({flag: value})


def test_a_rule_is_not_applied_to_what_is_not_known() -> None:
    found = catalogue(V)
    off: dict[str, FlagValue] = {"no-enable-chunked-prefill": True}
    assert found.problems(off | {"max-num-batched-tokens": 2048}) == []
    assert found.problems(off | {"max-num-batched-tokens": 2048, "max-model-len": "auto"}) == []
    assert found.problems(off | {"max-num-batched-tokens": "2k", "max-model-len": "8k"})
    # A value that is wrong by itself is the only thing to be said of.
    (only,) = found.problems(off | {"max-num-batched-tokens": 0, "max-model-len": 8192})
    assert only.rule is None


def test_a_flag_set_to_false_counts_with_its_default() -> None:
    found = catalogue(V)
    batches: dict[str, FlagValue] = {"max-num-batched-tokens": 2048, "max-model-len": 8192}
    assert found.problems(batches | {"enable-chunked-prefill": False}) == []
    (doubt,) = found.doubts({"enable-chunked-prefill": False})
    assert "no-enable-chunked-prefill true switches it off" in doubt.message
    (doubt,) = catalogue(L).doubts({"warmup": False})
    assert "no-warmup true" in doubt.message
    assert not found.doubts({"enforce-eager": False, "enable-prefix-caching": True})


def test_a_word_that_a_later_version_may_know_is_only_doubted() -> None:
    (doubt,) = catalogue(S).doubts({"kv-cache-dtype": "fp8_e4m4"})
    assert 'did you mean "fp8_e4m3"?' in doubt.message
    assert not catalogue(S).doubts({"kv-cache-dtype": "fp8_e4m3", "dtype": "half"})


def test_unknown_flags_come_with_the_nearest_known_one() -> None:
    found = catalogue(V).unknown(
        ["max_num_seq", "zzz", "max-num-seqs", "no-enforce-eager", "compilation-config.level"]
    )
    assert [(one.name, one.nearest) for one in found] == [
        ("max_num_seq", "max-num-seqs"),
        ("zzz", None),
    ]
    assert [one.name for one in catalogue(S).unknown(["tp", "tensor-parallel-size", "tpsize"])] == [
        "tpsize"
    ]
    # SGLang's switches are switched off by leaving them out.
    assert [one.name for one in catalogue(S).unknown(["no-enable-metrics"])] == [
        "no-enable-metrics"
    ]


DANGEROUS = [
    *((name, flag) for name in (V, S) for flag in (
        "trust-remote-code", "trust_remote_code", "trust-remote", "tool-server", "config",
        "api-key", "ssl-keyfile", "ssl-certfile", "otlp-traces-endpoint",
    )),
    *((V, flag) for flag in (
        "middleware", "worker-extension-cls", "worker-cls", "logits-processors", "root-path",
        "tool-parser-plugin", "kv-transfer-config", "kv-transfer-config.kv_connector",
        "allowed-local-media-path", "log-config-file",
    )),
    *((S, flag) for flag in (
        "admin-api-key", "custom-weight-loader", "enable-custom-logit-processor", "forward-hooks",
        "debug-tensor-dump-inject", "fastapi-root-path", "base-gpu-id",
    )),
    *((L, flag) for flag in ("api-key", "ssl-key-file", "path", "rpc", "slot-save-path", "tools")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "flag"), DANGEROUS)
def test_a_dangerous_flag_is_refused_with_the_setting_that_allows_it(
    name: EngineName, flag: str
) -> None:
    with pytest.raises(DeploymentError) as refused:
        engine(name).flags({flag: True})
    assert refused.value.failure.kind is FailureKind.BAD_FLAG
    assert "AUTOTUNER_ALLOWED_FLAGS" in refused.value.failure.message
    assert f"`{flag}`" in refused.value.failure.message
    engine(name).flags({flag: False})


@pytest.mark.parametrize("name", list(EngineName))
def test_the_autotuners_own_flags_can_never_be_set(name: EngineName) -> None:
    own = sorted(engine(name).reserved_flags)
    generous = engines(allowed_flags=own)[name]
    for flag in [*own, "hos", "por", "--served" if name is not L else "ali"]:
        with pytest.raises(DeploymentError, match="sets this flag"):
            generous.flags({flag: 1})


@pytest.mark.parametrize("spelling", ["trust-remote-code", "--trust_remote_code", "ssl-keyfile"])
def test_an_administrator_allows_flags_one_by_one(spelling: str) -> None:
    allowing = engine(V, allowed_flags=[spelling])
    flag = spelling.lstrip("-")
    assert allowing.flags({flag: True}) == [f"--{flag}"]
    with pytest.raises(DeploymentError, match="middleware"):
        allowing.flags({"middleware": "my.code"})
    assert engine(S).flag_refusal("ssl-keyfile") is not None


def test_what_is_only_shown_is_not_checked() -> None:
    flags: dict[str, FlagValue] = {"trust-remote-code": True, "dtype": "of_old"}
    lenient = engine(V, checks_flags=False)
    assert lenient.flags(flags) == ["--trust-remote-code", "--dtype", "of_old"]
    with pytest.raises(DeploymentError, match="sets this flag"):
        lenient.flags({"port": 1})


@pytest.mark.parametrize(
    "flag", ["model-impl", "tokenizer", "seed", "webui", "hosts", "lora", "reasoning-parser"]
)
def test_a_harmless_flag_is_not_taken_for_a_dangerous_one(flag: str) -> None:
    for one in engines().values():
        assert one.flag_refusal(flag, "x") is None


def test_the_document_is_made_from_the_data() -> None:
    written = (PROJECT / "docs" / "ENGINE_FLAGS.md").read_text(encoding="utf-8")
    assert written == reference(), "run `python -m controllers.engines.flag_reference`"


DATA = """
[catalogue]
engine = "e"
versions = "1"
sources = ["s"]

[flags.slots]
type = "int"
default = "1"
meaning = "slots"
"""


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ('[[rules]]\nrule = "slot > 1"\nwhy = "w"\nsource = "s"\n', ConstraintError),
        ('[[rules]]\nrule = "slots +"\nwhy = "w"\nsource = "s"\n', ConstraintError),
        ('[flags.x]\ntype = "number"\ndefault = "1"\nmeaning = "m"\n', ValueError),
        ('[flags.x]\ntype = "int"\ndefault = "1"\nmeaning = "m"\nmin_ = 1\n', TypeError),
        ('[traits.x]\nunit = "s"\n', KeyError),
    ],
)
def test_a_mistake_in_the_data_is_found_when_they_are_read(
    more: str, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "e.toml"
    path.write_text(DATA)
    assert read_catalogue(path).problems({"slots": "x"})
    path.write_text(DATA + more)
    with pytest.raises(error):
        read_catalogue(path)


def test_data_may_add_to_a_description_but_not_repeat_it(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(DATA)
    described: dict[str, Any] = dict(read_catalogue(path).flags)
    with pytest.raises(ValueError, match="slots is described twice"):
        read_catalogue(path, described)
    path.write_text(DATA.partition("[flags")[0] + '[traits.slots]\nunit = "requests"\n')
    assert read_catalogue(path, described).flags["slots"].unit == "requests"
