"""What the operator hears of the API server."""

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from repoloom_operator.api import Cluster


def test_a_definition_that_drops_a_field_of_a_status_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    answer = SimpleNamespace(data=json.dumps({"status": {"phase": "Running"}}))
    cluster = Cluster(Mock(call_api=Mock(return_value=answer)), ("here",))
    head = {"kind": "TrainingRun", "metadata": {"namespace": "here", "name": "t"}}
    cluster.replace_status({**head, "status": {"phase": "Running"}})
    assert not caplog.messages
    for _ in range(2):
        cluster.replace_status({**head, "status": {"phase": "Running", "contamination": {}}})
    [said] = caplog.messages
    assert "trainingruns.repoloom.dev is of an older release and drops contamination of the status" in said


@pytest.mark.parametrize("items", [[], [{"metadata": {"name": "j"}}]])
def test_an_object_of_a_kind_that_may_only_be_listed_is_found_by_its_name(items: list[dict[str, Any]]) -> None:
    call = Mock(return_value=SimpleNamespace(data=json.dumps({"items": items})))
    found = Cluster(Mock(call_api=call), ("here",)).named("Job", "here", "j")
    assert found == (items[0] if items else None)
    assert call.call_args.args == ("/apis/batch/v1/namespaces/here/jobs", "GET")
    assert call.call_args.kwargs["query_params"] == [("fieldSelector", "metadata.name=j")]
