"""Python: import statements, resolved to modules of the packages that the repository holds."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from repoloom.stages.order.languages.rules import Import, Lines, Target, text
from repoloom.stages.order.tree import Nearest, Tree, ancestors, folder_of

LANGUAGES = frozenset({"Python"})

_SPACE = rb"(?:[ \t\f]|\\\r?\n)"
_NAME = rb"[\w.\x80-\xff]"
_STATEMENT = (
    rb"%(s)s*+(?:(?P<from{0}>from)%(s)s*+(?P<base{0}>[\w.\x80-\xff]++(?:%(s)s++%(n)s++)?)"
)  # fmt: skip
_TOKEN = re.compile(
    rb"#[^\n]*+"
    rb'|"""(?:[^"\\]++|\\.|"(?!""))*+(?:""")?'
    rb"|'''(?:[^'\\]++|\\.|'(?!''))*+(?:''')?"
    rb'|"(?:[^"\\\n]++|\\.)*+"?'
    rb"|'(?:[^'\\\n]++|\\.)*+'?",
    re.DOTALL,
)
