"""What a preview says is what a run would do."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.domain.task_files import FULL_TASK, OLDER_TASK, minimal_task
from tests.seeding import Seeding
from tuning.composition import build_controller
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import DeploymentMode
from tuning.domain.planning import estimate_experiment_s, plan
from tuning.domain.spec import parse_task
from tuning.estimates import estimated_experiment_s
from tuning.models import Experiment, Task
from tuning.presets import presets
from tuning.preview import MANY_RUNS, Preview, as_document, mode_refusal, preview_task
from tuning.terminal.dry_run import plan_document

pytestmark = pytest.mark.django_db

GPUS = {
    "base_runtime": "vllm",
    "deployment_mode": "docker",
    "model": {"id_or_path": "meta/tiny"},
}
TEN = list(range(1, 11))


@pytest.mark.parametrize("optimization", [
    {},
    {"baseline": False},
    {"max_iterations": 3},
    {"max_parallel": 2},
    {"max_iterations": 3, "baseline": False},
    {"max_iterations": 500},
    {"strategy": "random", "max_iterations": 5, "seed": 3},
    {"strategy": "random", "max_iterations": 50},
])  # fmt: skip
@pytest.mark.parametrize("constraints", [[], ["threads * parallel <= 8", "threads > 1"]])
def test_it_says_what_the_dry_run_says(
    optimization: dict[str, Any], constraints: list[str]
) -> None:
    document = minimal_task(
        parameters={
            "threads": [1, 2, 4],
            "parallel": {"type": "int", "low": 1, "high": 4},
            "ctx-size": 4096,
        },
        optimization=optimization,
        constraints=constraints,
    )
    spec = parse_task(document)
    planned = plan_document(spec, build_controller(DeploymentMode.LOCAL), "test")
    experiments = planned["experiments"]
    assert isinstance(experiments, list)

    preview = preview_task(document)

    assert preview.configurations == len(experiments)
    assert preview.is_complete
    assert preview.estimate_s == pytest.approx(planned["estimated_total_s"], abs=1)
    assert list(preview.first_command or ()) == experiments[0]["command"]
    assert list(preview.last_command or ()) == experiments[-1]["command"]
    assert preview.gpus_needed == 0


@pytest.mark.parametrize(
    "document", [FULL_TASK, OLDER_TASK, *(p.spec.to_document() for p in presets())]
)
def test_every_example_has_a_preview(document: dict[str, Any]) -> None:
    preview = preview_task(document)
    assert not preview.problems
    assert preview.first_command
    assert preview.configurations == len(plan(parse_task(document)).configurations)


def test_all_examples_parse_and_say_what_they_are_for() -> None:
    assert len(presets()) >= 6
    for preset in presets():
        assert preset.title
        assert preset.description
        assert not preview_task(preset.spec.to_document()).has_many_runs
    assert {one.spec.base_runtime.value for one in presets()} == {"vllm", "sglang", "llamacpp"}


def test_a_wrong_document_gives_its_problems_and_nothing_else() -> None:
    assert preview_task('{"task_name": }').problems[0].message.endswith("line 1, column 15")
    preview = preview_task({"task_name": ""})
    assert {problem.path for problem in preview.problems} >= {"task_name", "model", "parameters"}
    assert preview == Preview(problems=preview.problems)


@pytest.mark.parametrize("name", ["port", "served-model-name"])
def test_a_flag_that_the_autotuner_sets_is_a_problem_of_its_row(name: str) -> None:
    (problem,) = preview_task(minimal_task(**GPUS, parameters={name: 1})).problems
    assert problem.path == f"parameters.{name}"
    assert "sets this flag" in problem.message


@pytest.mark.parametrize(
    ("parameters", "constraints", "gpus"),
    [
        ({"max-num-seqs": [1, 2]}, [], 1),
        ({"tensor-parallel-size": [1, 4, 2]}, [], 4),
        ({"tensor-parallel-size": {"type": "int", "low": 1, "high": 8, "log": True},
          "pipeline-parallel-size": 2}, [], 16),
        ({"tensor-parallel-size": [1, 2, 4], "data-parallel-size": [1, 2, 4]},
         ["tensor-parallel-size * data-parallel-size <= 8"], 8),
        ({"tensor-parallel-size": [1, 2, 4], "max-num-seqs": [8, 16]},
         ["tensor-parallel-size * max-num-seqs <= 32"], 4),
    ],
)  # fmt: skip
def test_gpus_are_those_of_the_largest_configuration(
    parameters: dict[str, Any], constraints: list[str], gpus: int
) -> None:
    document = minimal_task(**GPUS, parameters=parameters, constraints=constraints)
    assert preview_task(document).gpus_needed == gpus


def test_a_mode_without_a_controller_shows_the_engines_own_command_and_says_so() -> None:
    refusal = mode_refusal(DeploymentMode.OME)
    assert refusal
    preview = preview_task(
        minimal_task(
            base_runtime="vllm", deployment_mode="ome", model={"id_or_path": "meta/tiny"},
            parameters={"max-num-seqs": [8, 16]},
        )
    )  # fmt: skip
    assert preview.warnings[0].startswith(refusal)
    assert preview.last_command is not None
    assert preview.last_command[:3] == ("vllm", "serve", "meta/tiny")
    assert preview.last_command[-2:] == ("--max-num-seqs", "16")


def test_a_model_that_is_not_there_is_a_warning() -> None:
    preview = preview_task(minimal_task(model={"id_or_path": "nowhere.gguf"}))
    assert any("There is no model file" in warning for warning in preview.warnings)


def test_an_unknown_flag_is_a_warning_with_the_nearest_known_one() -> None:
    preview = preview_task(minimal_task(parameters={"thread": [1, 2], "zzzzzz": 1}))
    assert any('did you mean "threads"' in warning for warning in preview.warnings)
    assert any("zzzzzz" in warning and "spelling" in warning for warning in preview.warnings)


def test_many_runs_are_a_warning() -> None:
    def previewed(count: int) -> Preview:
        return preview_task(
            minimal_task(parameters={"threads": {"type": "int", "low": 1, "high": count}})
        )

    assert not previewed(MANY_RUNS - 1).has_many_runs
    many = previewed(MANY_RUNS)
    assert many.has_many_runs
    assert any("201 experiments are a lot" in warning for warning in many.warnings)


def test_a_task_longer_than_its_time_limit_is_a_warning(settings: Any) -> None:
    settings.AUTOTUNER_TASK_TIME_LIMIT_S = 10
    assert any("longer than 10 s" in one for one in preview_task(minimal_task()).warnings)


def test_ten_thousand_configurations_take_no_time() -> None:
    names = ("threads", "parallel", "batch-size", "ubatch-size")
    for constraints in ([], ["threads <= parallel", "ubatch-size <= batch-size"]):
        document = minimal_task(parameters=dict.fromkeys(names, TEN), constraints=constraints)
        preview_task(document)
        began = time.process_time()
        preview = preview_task(document)
        assert time.process_time() - began < 0.1
        assert preview.configurations == (3026 if constraints else 10_001)
        assert preview.last_command
        assert preview.last_command[-1] == "10"


def test_what_cannot_be_counted_is_a_lower_bound() -> None:
    wide = {"type": "int", "low": 1, "high": 1000}
    preview = preview_task(
        minimal_task(
            parameters={"ubatch-size": wide, "batch-size": wide},
            constraints=["ubatch-size <= batch-size * 2"],
        )
    )
    assert (preview.configurations, preview.is_complete) == (10_001, False)
    assert preview.last_command is None


def test_a_continuous_range_is_as_long_as_its_limit() -> None:
    preview = preview_task(
        minimal_task(
            parameters={"share": {"type": "float", "low": 0.1, "high": 0.9}},
            optimization={"strategy": "random", "max_iterations": 7},
        )
    )
    assert (preview.configurations, preview.is_complete) == (8, True)
    assert preview.last_command


def test_what_a_model_will_choose_last_is_not_foretold() -> None:
    preview = preview_task(
        minimal_task(
            parameters={"threads": [1, 2, 3]},
            optimization={"strategy": "bayesian", "max_iterations": 2},
        )
    )
    assert (preview.configurations, preview.last_command) == (3, None)
    assert preview.first_command


def test_the_estimate_is_the_mean_of_earlier_experiments(seeding: Seeding) -> None:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=4))
    spec = task.parsed_spec()
    measured, basis = estimated_experiment_s(spec)
    done = Experiment.objects.filter(task=task, status="SUCCESS")
    seconds = [(one.finished_at - one.started_at).total_seconds() for one in done]  # type: ignore[operator]

    assert measured == pytest.approx(sum(seconds) / len(seconds))
    assert "earlier experiments" in basis
    other = parse_task({**task.spec, "model": {"id_or_path": "another"}})
    assert estimated_experiment_s(other)[0] == estimate_experiment_s(other)


def test_as_a_document_it_is_json() -> None:
    for document in (FULL_TASK, {"task_name": 1}):
        preview = preview_task(document)
        written = as_document(preview)
        assert json.loads(json.dumps(written)).keys() == {
            *("problems", "warnings", "configurations", "is_complete", "estimate_s"),
            *("gpus_needed", "first_command", "last_command"),
        }
        assert [problem["path"] for problem in written["problems"]] == [
            problem.path for problem in preview.problems
        ]
