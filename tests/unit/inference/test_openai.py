"""What a request over HTTP may hold."""

import json
import tracemalloc
from typing import Any

import pytest

from repoloom.rpc.errors import FieldError
from repoloom_inference.openai import CompletionRequest

LIST = [1] * (1 << 16)
OBJECT = {str(number): "" for number in range(1 << 16)}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"prompt": LIST}, "prompt"),
        ({"stop": LIST}, "stop"),
        ({"logit_bias": OBJECT}, "logit_bias"),
        (OBJECT, "0"),
        ({"stream": True, "stream_options": OBJECT}, "0"),
    ],
    ids=["prompt", "stop", "logit_bias", "unknown", "stream_options"],
)
def test_a_body_of_many_errors_takes_a_few_times_its_size(wrong: dict[str, Any], field: str) -> None:
    body = json.dumps({"prompt": "x", **wrong}).encode()
    tracemalloc.start()
    with pytest.raises(FieldError) as refused:
        CompletionRequest.parse(body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.field == field
    assert most < 20 * len(body)
