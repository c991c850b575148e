"""Messages to rows and back: a message of the protos is a row of the table of its name, field for column."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message

from repoloom.corpus.languages import LANGUAGES, PROSE
from repoloom.corpus.tables import DOCUMENTS, FILES, SPAN
from repoloom.errors import InputError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, File

M = TypeVar("M", bound=Message)

_DOMAIN = "code"


def rows(messages: Sequence[Message], schema: pa.Schema) -> pa.RecordBatch:
    """The messages as rows; columns that the message has no field for must be added by the caller."""
    columns = [pa.array([getattr(message, field.name) for message in messages], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


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
    for file in files:
        _check_text(file.content, f"{file.repo}: {file.path}")
        if file.language not in _NAMES:
            raise _unknown(file.language, f"{file.repo}: {file.path}")
    return raw_files(files)


def documents(given: Sequence[Document]) -> pa.RecordBatch:
    """Documents whose spans lie within their text. Raises InputError."""
    for document in given:
        _check_document(document)
    counts = [len(document.spans) for document in given]
    spans = rows([span for document in given for span in document.spans], pa.schema(SPAN))
    columns = {
        "domain": pa.array([document.domain or _DOMAIN for document in given], pa.string()),
        "spans": _lists(counts, spans.columns),
    }
    arrays = [
        columns[field.name]
        if field.name in columns
        else pa.array([getattr(document, field.name) for document in given], field.type)
        for field in DOCUMENTS
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENTS)


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
        pa.array(filled.get(field.name) or [getattr(file, field.name) for file in files], field.type) for field in FILES
    ]


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def _lists(counts: Sequence[int], columns: Sequence[pa.Array]) -> pa.ListArray:
    """The spans of documents: so many for each, one after another."""
    offsets = pa.array(np.cumsum([0, *counts]), pa.int32())
    spans = pa.StructArray.from_arrays(columns, fields=list(SPAN))
    return pa.ListArray.from_arrays(offsets, spans, type=DOCUMENTS.field("spans").type)


def _check_document(document: Document) -> None:
    where = f"{document.repo or '(no repository)'}: document {document.document}"
    if not document.repo or document.document < 0:
        raise InputError(f"{where}: a document needs the name of its repository and a number from 0")
    text = document.text
    _check_text(text, where)
    before = 0
    for span in document.spans:
        if not before <= span.head <= span.start <= span.end <= len(text) or span.size < 0:
            raise InputError(
                f"{where}: the span of {span.path!r} does not hold {before} <= head {span.head} <= "
                f"start {span.start} <= end {span.end} <= {len(text)}, the length of the text"
            )
        if span.language not in _NAMES:
            raise _unknown(span.language, f"{where}: {span.path}")
        if any(_is_within_character(text, at) for at in (span.head, span.start, span.end)):
            raise InputError(f"{where}: the span of {span.path!r} begins or ends within a character of UTF-8")
        before = span.end


def _is_within_character(text: bytes, at: int) -> bool:
    return at < len(text) and text[at] & 0xC0 == 0x80  # a continuation byte


def _check_text(content: bytes, where: str) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 at byte {error.start}; the filter makes text of files") from None
    if b"\0" in content:
        raise InputError(f"{where} holds a NUL byte; the filter drops such files")


def _unknown(language: str, where: str) -> InputError:
    return InputError(f"{where}: there is no language {language!r}; the filter detects it")


_NAMES = frozenset(language.name for language in (*LANGUAGES, *PROSE))


def chunks(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Cuts a batch into pieces of at most `most` bytes, but for single rows that are larger."""
    if batch.num_rows > 1 and batch.nbytes > most:
        half = batch.num_rows // 2
        yield from chunks(batch.slice(0, half), most)
        yield from chunks(batch.slice(half), most)
    elif batch.num_rows:
        yield batch
