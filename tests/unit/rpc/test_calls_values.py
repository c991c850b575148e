import pytest

from repoloom.rpc.calls import values
from repoloom.rpc.errors import FieldError


def test_whole_numbers_are_exact_or_refused() -> None:
    from google.protobuf.struct_pb2 import Struct

    given = Struct()
    given.update({"seed": 2**53, "share": 0.5})
    assert values(given) == {"seed": 2**53, "share": 0.5}
    given.update({"seed": 2**53 + 2})
    with pytest.raises(FieldError, match="no longer exact"):
        values(given)
