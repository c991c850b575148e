"""Messages to rows and back: a message of the protos is a row of the table of its name, field for column."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa
from google.protobuf.message import Message

from repoloom.corpus.languages import LANGUAGES, PROSE
from repoloom.corpus.tables import DOCUMENTS, FILES
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
        _check_language(file.language, f"{file.repo}: {file.path}")
    return raw_files(files)


def documents(given: Sequence[Document]) -> pa.RecordBatch:
    """Documents whose spans lie within their text. Raises InputError."""
    for document in given:
        _check_document(document)
    return pa.RecordBatch.from_pylist([_document_row(document) for document in given], schema=DOCUMENTS)


def single_file_documents(files: Sequence[File]) -> pa.RecordBatch:
    """Each file as a document of its own, without a path comment: for steps that look at the files of documents."""
    batch = text_files(files)
    columns = {
        "document": pa.array(range(len(files)), pa.int32()),
        "text": batch["content"],
        "spans": pa.array([[span] for span in _whole_spans(batch)], DOCUMENTS.field("spans").type),
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


def _whole_spans(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    named = batch.select(["path", "language", "blob", "sha256", "size"]).to_pylist()
    for span, content in zip(named, batch["content"], strict=True):
        yield {**span, "head": 0, "start": 0, "end": len(content.as_buffer())}


def _document_row(document: Document) -> dict[str, Any]:
    row = {field: getattr(document, field) for field in ("repo", "revision", "document", "license", "text")}
    spans = [{name: getattr(span, name) for name in span.DESCRIPTOR.fields_by_name} for span in document.spans]
    return {**row, "domain": document.domain or _DOMAIN, "spans": spans}


def _check_document(document: Document) -> None:
    where = f"{document.repo or '(no repository)'}: document {document.document}"
    if not document.repo or document.document < 0:
        raise InputError(f"{where}: a document needs the name of its repository and a number from 0")
    _check_text(document.text, where)
    before = 0
    for span in document.spans:
        if not before <= span.head <= span.start <= span.end <= len(document.text) or span.size < 0:
            raise InputError(
                f"{where}: the span of {span.path!r} does not hold {before} <= head {span.head} <= "
                f"start {span.start} <= end {span.end} <= {len(document.text)}, the length of the text"
            )
        _check_language(span.language, f"{where}: {span.path}")
        _check_text(document.text[span.start : span.end], f"{where}: {span.path}")
        before = span.end


def _check_text(content: bytes, where: str) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 at byte {error.start}; the filter makes text of files") from None
    if b"\0" in content:
        raise InputError(f"{where} holds a NUL byte; the filter drops such files")


def _check_language(language: str, where: str) -> None:
    if language not in _NAMES:
        raise InputError(f"{where}: there is no language {language!r}; the filter detects it")


_NAMES = frozenset(language.name for language in (*LANGUAGES, *PROSE))


def chunks(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Cuts a batch into pieces of at most `most` bytes, but for single rows that are larger."""
    if batch.num_rows > 1 and batch.nbytes > most:
        half = batch.num_rows // 2
        yield from chunks(batch.slice(0, half), most)
        yield from chunks(batch.slice(half), most)
    elif batch.num_rows:
        yield batch
