"""Each machine walks the paths that it was drawn for, and every part of it is on some path."""

import pytest

from tests.lint_asl import load_all, states, targets
from tests.machines import (
    batch_paths,
    deploy_paths,
    follow_paths,
    monitor_paths,
    onboard_paths,
    respond_paths,
    staging_paths,
    train_paths,
)
from tests.machines.engine import VISITED, Throw, machine
from tests.machines.scenario import Scenario

SCENARIOS: list[Scenario] = [
    scenario
    for module in (
        onboard_paths,
        train_paths,
        deploy_paths,
        staging_paths,
        batch_paths,
        monitor_paths,
        respond_paths,
        follow_paths,
    )
    for scenario in module.SCENARIOS
]
ODD = Throw("ProgramError", "something that nobody thought of")
# After these, a failure takes nothing back and hides nothing: the execution goes on to its red end.
ON_THE_WAY_TO_FAIL = {
    "DeleteFailedEndpoint", "DeleteAlarms", "RecordRefusal", "CloseRun", "RecordFailure",
    "RecordBatchFailure", "FindFailedTraining", "FindOutputs",
}  # fmt: skip
# The Task after it makes a call of the same kind, which fails in its turn where more than the usual is wrong.
SHOWN_BY_THE_NEXT = {("onboard", "CreateSchedule")}


def tasks() -> list[tuple[Scenario, str]]:
    """Each Task of each machine, with the first scenario that runs it well."""
    found: dict[tuple[str, str], Scenario] = {}
    for scenario in SCENARIOS:
        for state in scenario.result.arguments:
            if not isinstance(scenario.mocks.get(state), Throw):
                found.setdefault((scenario.machine, state), scenario)
    return [(scenario, state) for (_, state), scenario in found.items()]


def state_of(scenario: Scenario, name: str) -> dict:
    return next(state for _, known, state in states(machine(scenario.machine).definition) if known == name)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_path(scenario: Scenario) -> None:
    result = scenario.result
    assert result.states == scenario.states
    end = state_of(scenario, result.end)
    assert result.status == {"Succeed": "SUCCEEDED", "Fail": "FAILED"}[end["Type"]]
    if result.status == "FAILED":
        assert result.error == result.end
        assert result.cause


@pytest.mark.parametrize(("scenario", "state"), tasks(), ids=str)
def test_a_failure_of_any_kind_ends_red(scenario: Scenario, state: str) -> None:
    result = scenario.run(**{state: ODD})
    if (scenario.machine, state) in SHOWN_BY_THE_NEXT:
        assert result.status == "SUCCEEDED"
        return
    assert result.status == "FAILED"
    assert ODD.cause in result.cause or state in ON_THE_WAY_TO_FAIL


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("an alarm rolls the canary back", "AnnounceRollback"),
        ("a person refuses a staged version", "AnnounceRefusal"),
    ],
)
def test_an_end_that_nobody_was_told_of_says_so_beside_its_reason(name: str, state: str) -> None:
    """Where another account has the registry, it still takes the version for approved."""
    each = next(each for each in SCENARIOS if each.name == name)
    result = each.run(**{state: Throw("EventBridge.InternalException", "the bus is down")})
    assert result.end == each.result.end
    assert result.cause == f"{each.result.cause}; nobody was told: the bus is down"


def transient() -> list[tuple[Scenario, str, str]]:
    return [
        (scenario, state, error)
        for scenario, state in tasks()
        for rule in state_of(scenario, state)["Retry"]
        for error in rule["ErrorEquals"]
    ]


@pytest.mark.parametrize(("scenario", "state", "error"), transient(), ids=str)
def test_a_passing_error_is_tried_again(scenario: Scenario, state: str, error: str) -> None:
    usual = {**scenario.usual, **scenario.mocks}[state]
    answers = usual if isinstance(usual, list) else [usual]
    result = scenario.run(**{state: [Throw(error), *answers]})
    assert result.end == scenario.result.end
    assert len(result.arguments[state]) == len(scenario.result.arguments[state]) + 1
    # The second call is the first again: names and tokens derive from the run, not from the attempt.
    assert result.arguments[state][0] == result.arguments[state][1]


def test_every_state_rule_and_transition_is_on_some_path() -> None:
    for scenario in SCENARIOS:
        scenario.run()
    for scenario, state in tasks():
        scenario.run(**{state: ODD})
    for scenario, state, error in transient():
        scenario.run(**{state: Throw(error)})
    missed = []
    for each in load_all():
        wanted = set()
        for _, name, state in states(each.definition):
            wanted |= {(name, target) for target in targets(state)}
            wanted |= {(name, "")} if state.get("End") else set()
            for kind in ("Retry", "Catch"):
                wanted |= {(name, f"{kind} {place}") for place in range(len(state.get(kind, [])))}
        missed += [f"{each.name}: {name} > {what}" for name, what in sorted(wanted - VISITED[each.name])]
    assert not missed
