"""What is launched again once everything was tried: contenders, and then winner and baseline.

Each is an experiment of its own, with a number, a lease and an outcome, so that a cancel, a dead
worker or a time limit is nothing special. What comes next is read off those that there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from tuning.domain.contenders import worth_repeating
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus
from tuning.domain.objectives import Objective, gain
from tuning.domain.spec import TaskSpec
from tuning.domain.spec_repeats import AUTO
from tuning.domain.verdict import Finding, GainVerdict, Reference, Round, judge_rounds
from tuning.models import Experiment
from tuning.orchestrator.choosing import best_experiment, candidates, failed_by_itself


@dataclass(frozen=True)
class Relaunch:
    """A further launch of `original`. With `only_on`, on that host alone."""

    original: Experiment
    purpose: ExperimentPurpose
    round: int
    only_on: str = ""


@dataclass(frozen=True)
class Pair:
    """What verification compares."""

    winner: Experiment
    reference: Experiment

    @property
    def against(self) -> Reference:
        return Reference.BASELINE if self.reference.is_baseline else Reference.RUNNER_UP


def next_relaunches(
    spec: TaskSpec, experiments: Collection[Experiment], parallel: int
) -> list[Relaunch]:
    """What to launch again, now that nothing of the task runs or waits; empty when all is done.

    Contenders side by side as in the search; winner and baseline one after the other, so that
    neither disturbs the other.
    """
    repeats = _next_repeats(spec, experiments)[:parallel]
    return repeats or _next_of_verification(spec, experiments)


def pair_of(spec: TaskSpec, experiments: Collection[Experiment]) -> Pair | None:
    """The winner with the baseline; with the runner-up where no baseline was measured.

    None when the winner is the baseline itself, or all that there is.
    """
    winner = best_experiment(spec, experiments)
    if winner is None or winner.is_baseline:
        return None
    baseline = next((one for one in experiments if one.is_baseline), None)
    if baseline is not None and baseline.objective_value is not None:
        return Pair(winner, baseline)
    others = [one for one in experiments if winner.pk not in (one.pk, one.original_id)]
    runner_up = best_experiment(spec, others)
    return None if runner_up is None else Pair(winner, runner_up)


def verdicts_of(spec: TaskSpec, experiments: Collection[Experiment]) -> list[GainVerdict]:
    """What the rounds of verification say of the winner, for each objective."""
    pair = pair_of(spec, experiments)
    if pair is None:
        return []
    if not spec.optimization.verification:
        return unverified(spec, experiments, "verification was left out")
    winners = _verifying(experiments, pair.winner)
    references = _verifying(experiments, pair.reference)
    numbers = sorted({one.round or 0 for one in (*winners, *references)})
    faults = [_fault(one) for one in winners if failed_by_itself(one)]
    return [
        _labelled(
            judge_rounds(
                objective.metric,
                objective.direction,
                [
                    Round(
                        _value_in(winners, number, objective),
                        _value_in(references, number, objective),
                    )
                    for number in numbers
                ],
                faults,
            ),
            pair,
            experiments,
        )
        for objective in spec.objectives
    ]


def unverified(
    spec: TaskSpec, experiments: Collection[Experiment], reason: str
) -> list[GainVerdict]:
    """The gain as the search has measured it, for each objective, with nothing to support it."""
    pair = pair_of(spec, experiments)
    if pair is None:
        return []
    return [
        _labelled(
            GainVerdict(
                objective.metric,
                Finding.NOT_VERIFIED,
                gain=gain(
                    pair.winner.value_of(objective.metric),
                    pair.reference.value_of(objective.metric),
                    objective,
                ),
                reason=reason,
            ),
            pair,
            experiments,
        )
        for objective in spec.objectives
    ]


def _next_repeats(spec: TaskSpec, experiments: Collection[Experiment]) -> list[Relaunch]:
    purposes = [one.why for one in experiments]
    if spec.benchmark.repeats != AUTO or ExperimentPurpose.VERIFICATION in purposes:
        return []
    spent = purposes.count(ExperimentPurpose.REPEAT)
    rivals = worth_repeating(candidates(experiments), spec.objective.direction, spent)
    by_number = {one.number: one for one in experiments}
    originals = [by_number[rival.number] for rival in rivals]
    return [
        Relaunch(one, ExperimentPurpose.REPEAT, _last_round(experiments, one) + 1)
        for one in originals
    ]


def _last_round(experiments: Collection[Experiment], original: Experiment) -> int:
    return max(
        (
            one.round or 0
            for one in experiments
            if one.original_id == original.pk and one.why is ExperimentPurpose.REPEAT
        ),
        default=0,
    )


def _next_of_verification(spec: TaskSpec, experiments: Collection[Experiment]) -> list[Relaunch]:
    pair = pair_of(spec, experiments)
    if pair is None or any(map(failed_by_itself, _verifying(experiments, pair.winner))):
        return []
    done = {
        (one.original_id, one.round)
        for one in experiments
        if one.why is ExperimentPurpose.VERIFICATION
    }
    for relaunch in _in_turn(pair, spec.optimization.verification):
        if (relaunch.original.pk, relaunch.round) not in done:
            return [replace(relaunch, only_on=_host_of_verification(experiments))]
    return []


def _in_turn(pair: Pair, rounds: int) -> Iterator[Relaunch]:
    """A B, B A, A B …: what gets slower with time hurts both alike."""
    for number in range(1, rounds + 1):
        order = (pair.winner, pair.reference) if number % 2 else (pair.reference, pair.winner)
        for original in order:
            yield Relaunch(original, ExperimentPurpose.VERIFICATION, number)


def _host_of_verification(experiments: Collection[Experiment]) -> str:
    """Where the first one ran: other hardware would be another comparison."""
    ran = [one for one in experiments if one.why is ExperimentPurpose.VERIFICATION and one.host]
    return min(ran, key=lambda one: one.number).host if ran else ""


def _verifying(experiments: Collection[Experiment], original: Experiment) -> list[Experiment]:
    found = [
        one
        for one in experiments
        if one.original_id == original.pk and one.why is ExperimentPurpose.VERIFICATION
    ]
    return sorted(found, key=lambda one: one.number)


def _value_in(launches: Sequence[Experiment], number: int, objective: Objective) -> float | None:
    """The value of one round. Also of one that broke an SLO: it was measured to the end."""
    launch = next((one for one in launches if one.round == number), None)
    if launch is None or launch.state is ExperimentStatus.CANCELLED:
        return None
    return launch.value_of(objective.metric)


def _fault(experiment: Experiment) -> str:
    failure = experiment.failure
    kind = "failed" if failure is None else failure.kind.value.replace("_", " ")
    return f"launched again in round {experiment.round} it ended with {kind}"


def _labelled(verdict: GainVerdict, pair: Pair, experiments: Collection[Experiment]) -> GainVerdict:
    launches = [one for one in experiments if pair.winner.pk in (one.pk, one.original_id)]
    return replace(
        verdict,
        number=pair.winner.number,
        against=pair.against,
        against_number=pair.reference.number,
        failed_requests=sum(one.num_failed_requests for one in launches),
        reason=_with_hosts(verdict.reason, pair, experiments),
    )


def _with_hosts(reason: str, pair: Pair, experiments: Collection[Experiment]) -> str:
    launches = [*_verifying(experiments, pair.winner), *_verifying(experiments, pair.reference)]
    hosts = {one.host for one in launches if one.host}
    if len(hosts) < 2:
        return reason
    note = f"measured on {len(hosts)} hosts, whose hardware may differ"
    return f"{reason}; {note}" if reason else note
