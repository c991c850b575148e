"""Where resources may have data written: below the roots of the operator's settings, as workers check it."""

from collections.abc import Sequence

from repoloom.engine.queue.roots import Roots
from repoloom.errors import InputError
from repoloom_operator.conditions import Condition


def outside(field: str, uri: str, roots: Sequence[str]) -> Condition | None:
    """That an address is refused since it lies below none of the roots; None where it does, or there are none."""
    try:
        if not roots or Roots(addresses=tuple(roots)).hold(uri):
            return None
        said = f"{uri} lies below none of the stores that the chart's store.address names: {', '.join(roots)}"
    except InputError as error:
        said = str(error)
    return Condition("Accepted", False, "OutsideRoots", f"{field}: {said}", alarming=True)
