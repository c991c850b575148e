import pytest

from repoloom.rpc.calls import checked, values
from repoloom.rpc.errors import FieldError


def test_whole_numbers_are_exact_or_refused() -> None:
    from google.protobuf.struct_pb2 import Struct

    given = Struct()
    given.update({"seed": 2**53, "share": 0.5})
    assert values(given) == {"seed": 2**53, "share": 0.5}
    given.update({"seed": 2**53 + 2})
    with pytest.raises(FieldError, match="no longer exact"):
        values(given)


def test_a_wrong_parameter_is_told_as_a_recipes_is() -> None:
    from google.protobuf.struct_pb2 import Struct

    given = Struct()
    given.update({"max_line_lenght": 100})
    with pytest.raises(FieldError) as raised:
        checked("filter", given)
    assert raised.value.field == "parameters.max_line_lenght"
    assert raised.value.problem.startswith("there is no such key; did you mean 'max_line_length'? Allowed here: ")
    assert raised.value.problem.endswith("see `repoloom filter --parameters`")
