"""tokenizer: texts in, ids out, and back; documents in, training sequences out."""

import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa

from repoloom.engine.step import Reader
from repoloom.errors import InputError, TooLargeError
from repoloom.jobs.addresses import within
from repoloom.protos.tokenizer.v1.tokenizer_pb2 import (
    DecodeRequest,
    DecodeResponse,
    EncodeDocumentsRequest,
    EncodeDocumentsResponse,
    EncodeRequest,
    EncodeResponse,
    Ids,
    TokenizerRef,
)
from repoloom.protos.tokenizer.v1.tokenizer_pb2_grpc import add_TokenizerServiceServicer_to_server
from repoloom.recipe.run import tables_at
from repoloom.rpc.call import in_thread
from repoloom.rpc.calls import OnlineCall, configured, online
from repoloom.rpc.catalog import Name
from repoloom.rpc.errors import FieldError
from repoloom.rpc.online import Job, Outlet
from repoloom.rpc.service import Service
from repoloom.rpc.settings import MESSAGE_BYTES
from repoloom.rpc.stream import MemoryReader
from repoloom.rpc.tables import documents
from repoloom.stages.tokenize.encode import Encode
from repoloom.stages.tokenize.encoder import Encoder, blocks, encoder_of
from repoloom.stages.tokenize.vocabulary import TOKENIZER
from repoloom_services.resources import Resources

Request = TypeVar("Request", EncodeRequest, DecodeRequest)
Response = TypeVar("Response", EncodeResponse, DecodeResponse)

_JSON_BYTES = 16 << 20
_TOKENIZER_BYTES = 200 << 20  # the most that one takes with what it remembers, however many calls use it
_IDS = 1 << 21  # of a message
_BLOCK_COST = 30  # bytes for a character of what the encoder cuts at once
_ID_COST, _TEXT_COST = 100, 4  # bytes for an id that is decoded, and for each byte of its text


def service(resources: Resources) -> Service:
    """See proto/repoloom/tokenizer/v1/tokenizer.proto."""
    tokenizers = _Tokenizers(resources)
    encode = _ByMessage[EncodeRequest, EncodeResponse](_encode, _bytes_to_encode, tokenizers, resources)
    decode = _ByMessage[DecodeRequest, DecodeResponse](_decode, _bytes_to_decode, tokenizers, resources)
    encode_documents = OnlineCall[EncodeDocumentsRequest, EncodeDocumentsResponse](
        field="documents",
        table="documents",
        rows=documents,
        begin=tokenizers.begin,
        response=EncodeDocumentsResponse,
        executor=resources.executor,
        room=resources.room,
        weigh=_bytes_to_encode_documents,
    )
    return online(
        add_TokenizerServiceServicer_to_server,
        Name.TOKENIZER,
        Encode=encode.answer,
        Decode=decode.answer,
        EncodeDocuments=encode_documents.answer,
    )


class _Tokenizers:
    """The tokenizers that callers name: datasets below an address, or a tokenizer.json of their own."""

    def __init__(self, resources: Resources) -> None:
        self._root = resources.root
        self._room = resources.room
        self._used: dict[bytes, tuple[int, ExitStack]] = {}  # how many calls use each, and the room that it has
        self._lock = threading.Lock()

    def begin(self, first: EncodeDocumentsRequest) -> Job:
        """Encodes with the tokenizer that a first message names. Raises InputError."""
        step = configured(Encode, first.parameters)
        content = self.find(first.tokenizer)
        row = {"json": content, "vocab_size": 0, "sample_bytes": 0, "sample_documents": 0}

        def work(inputs: Mapping[str, Reader], out: Outlet) -> None:
            with self.used(content):
                step.run(inputs, out)

        return Job(work, {"tokenizer": MemoryReader(pa.Table.from_pylist([row], TOKENIZER))})

    @contextmanager
    def used(self, content: bytes) -> Iterator[None]:
        """Has a tokenizer take room while the block runs, unless another call uses it. Raises OverloadedError."""
        with self._lock:
            calls, room = self._used.get(content) or (0, ExitStack())
            if not calls:
                room.enter_context(self._room.share()).take(_TOKENIZER_BYTES)
            self._used[content] = calls + 1, room
        try:
            yield
        finally:
            with self._lock:
                calls, _ = self._used.pop(content)
                if calls > 1:
                    self._used[content] = calls - 1, room
                else:
                    room.close()

    def find(self, ref: TokenizerRef) -> bytes:
        """The tokenizer.json that a caller names. Raises InputError."""
        match ref.WhichOneof("tokenizer"):
            case "json":
                if len(ref.json) > _JSON_BYTES:
                    raise InputError(f"tokenizer.json has {len(ref.json)} bytes, at most {_JSON_BYTES} are taken")
                return ref.json
            case "dataset":
                table = tables_at([within(self._root, ref.dataset, "tokenizer.dataset")]).get("tokenizer")
                if table is None:
                    raise InputError(f"{ref.dataset} has no table 'tokenizer'; run the stage tokenize there")
                content: bytes = table.dataset.reader("tokenizer").table()["json"][0].as_py()
                return content
            case _:
                raise InputError("the first message names no tokenizer: give `dataset` or `json`")


@dataclass(frozen=True)
class _ByMessage(Generic[Request, Response]):
    """A call that answers each message by itself, with the tokenizer that the first one names."""

    work: Callable[[Encoder, Request], Response]
    weigh: Callable[[Encoder, Request], int]  # the bytes that the work takes meanwhile
    tokenizers: _Tokenizers
    resources: Resources

    async def answer(self, requests: AsyncIterator[Request], context: object) -> AsyncIterator[Response]:  # noqa: ARG002
        """The answers to a stream of requests. Raises InputError."""
        executor = self.resources.executor
        first = await anext(aiter(requests), None)
        if first is None:
            return
        content = await in_thread(executor, self.tokenizers.find, first.tokenizer)
        with self.tokenizers.used(content):
            encoder = await in_thread(executor, encoder_of, content)
            yield await in_thread(executor, self._one, encoder, first)
            async for request in requests:
                if request.HasField("tokenizer"):
                    raise FieldError("tokenizer", "is for the first message of a stream only")
                yield await in_thread(executor, self._one, encoder, request)

    def _one(self, encoder: Encoder, request: Request) -> Response:
        with self.resources.room.share() as share:
            share.take(self.weigh(encoder, request))
            return self.work(encoder, request)


def _encode(encoder: Encoder, request: EncodeRequest) -> EncodeResponse:
    try:
        return EncodeResponse(ids=[Ids(ids=encoder.encode(text.decode())) for text in request.texts])
    except UnicodeDecodeError as error:
        raise InputError(f"a text is not UTF-8 at byte {error.start}") from None


def _bytes_to_encode(encoder: Encoder, request: EncodeRequest) -> int:  # noqa: ARG001
    return _cost(request.texts)


def _bytes_to_encode_documents(rows: pa.RecordBatch) -> int:
    return int(rows.nbytes) + _cost(rows["text"].to_pylist())


def _cost(texts: Iterable[bytes]) -> int:
    """The most that the encoder takes meanwhile: it encodes block by block, and a long line is one."""
    sizes = (len(block) for text in texts for block in blocks(text.decode("utf-8", "replace")))
    return _BLOCK_COST * max(sizes, default=0)


def _decode(encoder: Encoder, request: DecodeRequest) -> DecodeResponse:
    return DecodeResponse(texts=[encoder.decode(some.ids).encode() for some in request.ids])


def _bytes_to_decode(encoder: Encoder, request: DecodeRequest) -> int:
    """Asked first: how long a token's text is, a caller's own tokenizer says."""
    count = sum(len(some.ids) for some in request.ids)
    if count > _IDS:
        raise TooLargeError(f"a message has more than {_IDS} ids; send them in several")
    size = sum(encoder.size_of(some.ids) for some in request.ids)
    if size > MESSAGE_BYTES:
        raise TooLargeError(f"the texts of a message have {size} bytes, at most {MESSAGE_BYTES} are sent in one")
    return _ID_COST * count + _TEXT_COST * size
