"""One module of rules for each language, all of the form that `rules.py` gives."""

from collections.abc import Sequence

from repoloom.stages.order.languages import c_family, csharp, ecmascript, go, java, python, rust
from repoloom.stages.order.languages.rules import Rules

ALL: Sequence[Rules] = (c_family, csharp, ecmascript, go, java, python, rust)
