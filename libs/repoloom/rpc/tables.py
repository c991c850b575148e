"""Messages to rows and back: a message of the protos is a row of the table of its name, field for column."""

import hashlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message

from repoloom.corpus.languages import LANGUAGES, PROSE
from repoloom.corpus.tables import DOCUMENTS, FILES, SPAN
from repoloom.errors import InputError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File

M = TypeVar("M", bound=Message)

Where: TypeAlias = Callable[[int], str]
"""Says in words where the row of a number lies."""

_DOMAIN = "code"


def rows(messages: Sequence[Message], schema: pa.Schema) -> pa.RecordBatch:
    """The messages as rows; columns that the message has no field for must be added by the caller."""
    columns = [_column(messages, field) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(messages: Sequence[Message], field: pa.Field) -> pa.Array:
    return pa.array(list(map(operator.attrgetter(field.name), messages)), field.type)


def messages(batch: pa.RecordBatch, kind: type[M]) -> Iterator[M]:
    """The rows as messages. A null is an absent field; columns that the message has no field for are left out."""
    names = [name for name in batch.schema.names if name in kind.DESCRIPTOR.fields_by_name]
    for values in zip(*(batch[name].to_pylist() for name in names), strict=True):
        yield kind(**dict(zip(names, values, strict=True)))


def raw_files(files: Sequence[File]) -> pa.RecordBatch:
    """Files as the crawl finds them: any bytes. Raises InputError."""
    return pa.RecordBatch.from_arrays(_file_columns(files), schema=FILES)


def text_files(files: Sequence[File]) -> pa.RecordBatch:
    """Files as the filter leaves them: UTF-8 without NUL, of a known language. Raises InputError."""

    def where(at: int) -> str:
        return f"{files[at].repo}: {files[at].path}"

    batch = raw_files(files)
    _check_text(batch["content"], where)
    _check_languages(batch["language"], where)
    return batch


def documents(given: Sequence[Document]) -> pa.RecordBatch:
    """Documents whose spans lie within their text. Raises InputError."""
    counts = [len(document.spans) for document in given]
    spans = rows([span for document in given for span in document.spans], pa.schema(SPAN))
    columns = {
        "domain": pa.array([document.domain or _DOMAIN for document in given], pa.string()),
        "spans": _lists(counts, spans.columns),
    }
    arrays = [columns[field.name] if field.name in columns else _column(given, field) for field in DOCUMENTS]
    batch = pa.RecordBatch.from_arrays(arrays, schema=DOCUMENTS)
    _check_documents(batch, np.repeat(np.arange(len(given)), counts), spans)
    return batch


def single_file_documents(files: Sequence[File]) -> pa.RecordBatch:
    """Each file as a document of its own, without a path comment: for steps that look at the files of documents."""
    batch = text_files(files)
    nothing = pa.array(np.zeros(len(files), np.int64))
    ends = pc.binary_length(batch["content"]).cast(pa.int64())
    bounds = {"head": nothing, "start": nothing, "end": ends}
    spans = [bounds[field.name] if field.name in bounds else batch[field.name] for field in SPAN]
    columns = {
        "document": pa.array(range(len(files)), pa.int32()),
        "text": batch["content"],
        "spans": _lists([1] * len(files), spans),
    }
    arrays = [columns.get(name, batch[name] if name in FILES.names else None) for name in DOCUMENTS.names]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENTS)


def _file_columns(files: Sequence[File]) -> list[pa.Array]:
    contents = [file.content for file in files]
    for file in files:
        if not file.repo or not file.path:
            raise InputError(
                f"a file needs the name of its repository and a path: repo {file.repo!r}, path {file.path!r}"
            )
        if file.size < 0:
            raise InputError(f"{file.repo}: {file.path}: size {file.size} is below 0")
    filled = {
        "domain": [file.domain or _DOMAIN for file in files],
        "blob": [file.blob or _blob(content) for file, content in zip(files, contents, strict=True)],
        "sha256": [
            file.sha256 or hashlib.sha256(content).hexdigest() for file, content in zip(files, contents, strict=True)
        ],
        "size": [file.size or len(content) for file, content in zip(files, contents, strict=True)],
        "content": contents,
    }
    return [
        pa.array(filled[field.name], field.type) if field.name in filled else _column(files, field) for field in FILES
    ]


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def _lists(counts: Sequence[int], columns: Sequence[pa.Array]) -> pa.ListArray:
    """The spans of documents: so many for each, one after another."""
    offsets = pa.array(np.cumsum([0, *counts]), pa.int32())
    spans = pa.StructArray.from_arrays(columns, fields=list(SPAN))
    return pa.ListArray.from_arrays(offsets, spans, type=DOCUMENTS.field("spans").type)


def _check_documents(batch: pa.RecordBatch, document: npt.NDArray[np.int64], spans: pa.RecordBatch) -> None:
    """`document` is the row of the batch that each of the spans belongs to."""
    repos, numbers = batch["repo"].to_pylist(), batch["document"].to_pylist()

    def where(at: int) -> str:
        return f"{repos[at] or '(no repository)'}: document {numbers[at]}"

    def place(at: int) -> str:
        return f"{where(document[at])}: the span of {spans['path'][at].as_py()!r}"

    for at, (repo, number) in enumerate(zip(repos, numbers, strict=True)):
        if not repo or number < 0:
            raise InputError(f"{where(at)}: a document needs the name of its repository and a number from 0")
    _check_text(batch["text"], where)
    _check_bounds(batch["text"], document, spans, place)
    _check_languages(spans["language"], place)


def _check_bounds(texts: pa.BinaryArray, document: npt.NDArray[np.int64], spans: pa.RecordBatch, place: Where) -> None:
    head, start, end, size = (spans[name].to_numpy() for name in ("head", "start", "end", "size"))
    before = np.zeros(len(spans), np.int64)
    before[1:] = np.where(document[1:] == document[:-1], end[:-1], 0)
    lengths = pc.binary_length(texts).to_numpy().astype(np.int64)
    length = lengths[document]
    for at in np.flatnonzero((before > head) | (head > start) | (start > end) | (end > length) | (size < 0))[:1]:
        raise InputError(
            f"{place(at)} does not hold {before[at]} <= head {head[at]} <= start {start[at]} <= end {end[at]} <= "
            f"{length[at]}, the length of the text, and 0 <= size {size[at]}"
        )
    content = _bytes(texts)
    origin = (np.cumsum(lengths) - lengths)[document]
    for bound in (head, start, end):
        inside = np.flatnonzero(bound < length)
        for at in inside[content[(origin + bound)[inside]] & 0xC0 == 0x80][:1]:  # a continuation byte
            raise InputError(f"{place(at)} begins or ends within a character of UTF-8")


def _check_text(texts: pa.BinaryArray, where: Where) -> None:
    try:
        texts.cast(pa.string())
        if _bytes(texts).min(initial=1):
            return
    except pa.ArrowInvalid:
        pass
    for at, text in enumerate(texts.to_pylist()):  # which of them it is
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{where(at)} is not UTF-8 at byte {error.start}; the filter makes text of files"
            ) from None
        if b"\0" in text:
            raise InputError(f"{where(at)} holds a NUL byte; the filter drops such files")


def _bytes(texts: pa.BinaryArray) -> npt.NDArray[np.uint8]:
    """Those of all texts, one after another; the array is no slice of another."""
    return np.frombuffer(texts.buffers()[2] or b"", np.uint8)


def _check_languages(languages: pa.StringArray, where: Where) -> None:
    for at in np.flatnonzero(pc.invert(pc.is_in(languages, _NAMES)).to_numpy(zero_copy_only=False))[:1]:
        raise InputError(f"{where(int(at))}: there is no language {languages[at].as_py()!r}; the filter detects it")


_NAMES = pa.array([language.name for language in (*LANGUAGES, *PROSE)], pa.string())


def chunks(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Cuts a batch into pieces of at most `most` bytes, but for single rows that are larger."""
    if batch.num_rows > 1 and batch.nbytes > most:
        half = batch.num_rows // 2
        yield from chunks(batch.slice(0, half), most)
        yield from chunks(batch.slice(half), most)
    elif batch.num_rows:
        yield batch
