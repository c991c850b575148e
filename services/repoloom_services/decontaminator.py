"""decontaminator: files in, what they share with benchmarks out."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from repoloom.errors import InputError
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import FindHitsRequest, FindHitsResponse
from repoloom.protos.decontaminator.v1.decontaminator_pb2_grpc import add_DecontaminatorServiceServicer_to_server
from repoloom.rpc.calls import OnlineCall, online
from repoloom.rpc.catalog import Name
from repoloom.rpc.online import Job
from repoloom.rpc.service import Service
from repoloom.rpc.stream import MemoryReader
from repoloom.rpc.tables import rows, single_file_documents
from repoloom.stages.decontaminate.formats import read_texts
from repoloom.stages.decontaminate.step import Decontaminate, DecontaminateParams
from repoloom.stages.decontaminate.tables import BENCHMARKS
from repoloom_services.resources import Resources

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
_REMEMBERED = 8  # benchmarks


def service(resources: Resources) -> Service:
    """See proto/repoloom/decontaminator/v1/decontaminator.proto."""
    find_hits = OnlineCall[FindHitsRequest, FindHitsResponse](
        field="files",
        table="documents",
        rows=single_file_documents,
        begin=_Benchmarks(resources.benchmarks).begin,
        response=FindHitsResponse,
        executor=resources.executor,
        room=resources.room,
    )
    return online(add_DecontaminatorServiceServicer_to_server, Name.DECONTAMINATOR, FindHits=find_hits.answer)


@dataclass(frozen=True)
class _Benchmarks:
    """The benchmark files of a folder, which callers name, and texts of the callers' own."""

    folder: Path | None

    def begin(self, first: FindHitsRequest) -> Job:
        """Looks for the texts that a first message names. Raises InputError."""
        batches = [rows(first.texts, BENCHMARKS), *map(self._benchmark, dict.fromkeys(first.benchmarks))]
        benchmarks = pa.Table.from_batches(batches).combine_chunks()
        if not len(benchmarks):
            raise InputError(f"the first message names neither texts nor benchmarks; there are: {self._names()}")
        return Job(Decontaminate(DecontaminateParams()).run, {"benchmarks": MemoryReader(benchmarks)})

    def _benchmark(self, name: str) -> pa.RecordBatch:
        path = self._files().get(name)
        if path is None:
            raise InputError(f"there is no benchmark {name[:100]!r} here; there are: {self._names()}")
        stat = path.stat()
        return _texts(path, name, stat.st_mtime_ns, stat.st_size)

    def _files(self) -> dict[str, Path]:
        """The benchmark files by name, which is what stands before the first dot."""
        files = sorted(self.folder.iterdir()) if self.folder else []
        return {path.name.partition(".")[0]: path for path in files if path.is_file() and _NAME.fullmatch(path.name)}

    def _names(self) -> str:
        return ", ".join(self._files()) or "none"


@functools.lru_cache(maxsize=_REMEMBERED)
def _texts(path: Path, name: str, *version: int) -> pa.RecordBatch:  # noqa: ARG001 - what is remembered is of a version
    """The texts of a benchmark file, as BENCHMARKS has them. Raises InputError."""
    texts = [
        {"benchmark": name, "item": item, "field": field, "text": text.encode("utf-8", "replace")}
        for item, field, text in read_texts(path.read_bytes(), name)
    ]
    return pa.RecordBatch.from_pylist(texts, BENCHMARKS)
