from datetime import UTC, datetime
from typing import Any

from repoloom_operator.actions import Emit, SetStatus
from repoloom_operator.conditions import Condition, Outcome
from repoloom_operator.resources import CorpusBuildSpec, Resource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE, BUILT = Condition("Whole", True, "NothingGivenUp", "all of it"), Condition("Ready", True, "Built")
READY = {"phase": "Ready", "observedGeneration": 1, "conditions": []}


def a_build(status: dict[str, Any]) -> Resource[CorpusBuildSpec]:
    spec = CorpusBuildSpec(recipe={}, store="s")
    return Resource("CorpusBuild", "here", "c", "u", 1, (), False, spec, status, "1")


def written(outcome: Outcome, status: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The status that an outcome leaves of another, and the reasons of its events."""
    actions = list(outcome.write(a_build(status), NOW))
    [after] = [dict(action.status) for action in actions if isinstance(action, SetStatus)]
    return after, [action.reason for action in actions if isinstance(action, Emit)]


def held(status: dict[str, Any]) -> list[str]:
    return [entry["type"] for entry in status["conditions"] if entry["status"] == "True"]


def test_a_condition_that_is_not_set_stays_while_the_work_is_the_same() -> None:
    status, _ = written(Outcome("Ready", (WHOLE, BUILT), {"recipe": "a"}), READY)
    status, _ = written(Outcome("Failed", (Condition("Ready", False, "RunFailed"),), {"recipe": "a"}), status)
    assert held(status) == ["Whole"]


def test_the_conditions_of_other_work_begin_anew_and_are_news() -> None:
    status, events = written(Outcome("Ready", (WHOLE, BUILT), {"recipe": "a"}), READY)
    assert events == ["NothingGivenUp"]
    other = Outcome("Pending", (Condition("Ready", False, "Starting"),), {"recipe": "b"})
    assert held(written(other, status)[0]) == []
    assert written(Outcome("Ready", (WHOLE, BUILT), {"recipe": "b"}), status)[1] == ["NothingGivenUp"]
