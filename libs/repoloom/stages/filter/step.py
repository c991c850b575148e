"""The filter step: each file becomes text of a known language, or a drop record."""

import hashlib
from collections.abc import Mapping

import pyarrow as pa

from repoloom.corpus.languages import PROSE, detect
from repoloom.corpus.tables import DROPPED, FILES, Drops
from repoloom.engine.step import Accounts, Reader, Sink, Step
from repoloom.stages.filter.decode import NotText, decode
from repoloom.stages.filter.rules import Failed, File, FilterParams, first_failed

_LANGUAGE, _SHA256, _CONTENT = (FILES.get_field_index(name) for name in ("language", "sha256", "content"))


class Filter(Step[FilterParams]):
    """Drops files that fail a rule; what stays is UTF-8 with its language and digest set."""

    name = "filter"
    reads = ("files",)
    writes = {"files": FILES, "dropped": DROPPED}
    accounts = Accounts("files", kept=("files",))

    def run(self, inputs: Mapping[str, Reader], out: Sink) -> None:
        drops = Drops()
        originals = Originals()
        for batch in inputs["files"].batches():
            out.write("files", self._kept(batch, originals, drops))
            out.write("dropped", drops.take())

    def _kept(self, batch: pa.RecordBatch, originals: "Originals", drops: Drops) -> pa.RecordBatch:
        rows: list[int] = []
        languages: list[str] = []
        digests: list[str] = []
        texts: list[bytes] = []
        columns = (batch[name].to_pylist() for name in ("repo", "path", "size", "domain"))
        for row, (repo, path, size, domain) in enumerate(zip(*columns, strict=True)):
            content = batch["content"][row].as_py()
            language, text = _read(path, domain, content)
            ...
