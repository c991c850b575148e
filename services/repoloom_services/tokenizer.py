"""tokenizer: texts in, ids out, and back; documents in, training sequences out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import pyarrow as pa

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
from repoloom.protos.tokenizer.v1.tokenizer_pb2_grpc import (
    TokenizerServiceServicer,
    add_TokenizerServiceServicer_to_server,
)
from repoloom.recipe.run import tables_at
from repoloom.rpc.calls import Job, OnlineCall, configured
from repoloom.rpc.errors import FieldError
from repoloom.rpc.service import Service, generated
from repoloom.rpc.stream import MemoryReader
from repoloom.rpc.tables import documents
from repoloom.stages.tokenize.encode import Encode
from repoloom.stages.tokenize.encoder import Encoder, encoder_of
from repoloom.stages.tokenize.vocabulary import TOKENIZER
from repoloom_services.resources import Resources

T = TypeVar("T")

_JSON_BYTES = 16 << 20
_IDS = 1 << 21  # of a message; while they are decoded each takes some 100 bytes


def service(resources: Resources) -> Service:
    """The service over gRPC."""
    return generated(
        add_TokenizerServiceServicer_to_server,
        Tokenizer(resources),
        {"Encode": "tokenizer:online", "Decode": "tokenizer:online", "EncodeDocuments": "tokenizer:online"},
    )


class Tokenizer(TokenizerServiceServicer):
    """See proto/repoloom/tokenizer/v1/tokenizer.proto."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._encode_documents = OnlineCall(
            table="documents",
            rows=lambda request: documents(request.documents),
            begin=self._begin,
            settings=("parameters", "tokenizer"),
            response=EncodeDocumentsResponse,
        )

    async def Encode(  # noqa: N802
        self,
        request_iterator: AsyncIterator[EncodeRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[EncodeResponse]:
        encoder: Encoder | None = None
        async for request in request_iterator:
            encoder = await self._of_stream(encoder, request)
            yield await self._in_thread(_encode, encoder, request.texts)

    async def Decode(  # noqa: N802
        self,
        request_iterator: AsyncIterator[DecodeRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[DecodeResponse]:
        encoder: Encoder | None = None
        async for request in request_iterator:
            encoder = await self._of_stream(encoder, request)
            yield await self._in_thread(_decode, encoder, request.ids)

    async def EncodeDocuments(  # noqa: N802
        self,
        request_iterator: AsyncIterator[EncodeDocumentsRequest],
        context: object,  # noqa: ARG002
    ) -> AsyncIterator[EncodeDocumentsResponse]:
        async with aclosing(self._encode_documents.answer(request_iterator, self._resources.executor)) as responses:
            async for response in responses:
                yield response

    def _begin(self, first: EncodeDocumentsRequest) -> Job:
        step = configured(Encode, first.parameters)
        row = {"json": self._json(first.tokenizer), "vocab_size": 0, "sample_bytes": 0, "sample_documents": 0}
        return Job(step.run, {"tokenizer": MemoryReader(pa.Table.from_pylist([row], TOKENIZER))})

    async def _of_stream(self, encoder: Encoder | None, request: EncodeRequest | DecodeRequest) -> Encoder:
        """The tokenizer that the first message names."""
        if encoder is not None and request.HasField("tokenizer"):
            raise FieldError("tokenizer", "is for the first message of a stream only")
        if encoder is None:
            encoder = await self._in_thread(self._encoder, request.tokenizer)
        return encoder

    def _encoder(self, ref: TokenizerRef) -> Encoder:
        return encoder_of(self._json(ref))

    def _json(self, ref: TokenizerRef) -> bytes:
        match ref.WhichOneof("tokenizer"):
            case "json":
                if len(ref.json) > _JSON_BYTES:
                    raise InputError(f"tokenizer.json has {len(ref.json)} bytes, at most {_JSON_BYTES} are taken")
                return ref.json
            case "dataset":
                table = tables_at([within(self._resources.root, ref.dataset, "tokenizer.dataset")]).get("tokenizer")
                if table is None:
                    raise InputError(f"{ref.dataset} has no table 'tokenizer'; run the stage tokenize there")
                content: bytes = table.dataset.reader("tokenizer").table()["json"][0].as_py()
                return content
            case _:
                raise InputError("the first message names no tokenizer: give `dataset` or `json`")

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._resources.executor, work, *arguments)


def _encode(encoder: Encoder, texts: Sequence[bytes]) -> EncodeResponse:
    try:
        return EncodeResponse(ids=[Ids(ids=encoder.encode(text.decode())) for text in texts])
    except UnicodeDecodeError as error:
        raise InputError(f"a text is not UTF-8 at byte {error.start}") from None


def _decode(encoder: Encoder, ids: Sequence[Ids]) -> DecodeResponse:
    if sum(len(some.ids) for some in ids) > _IDS:
        raise TooLargeError(f"a message has more than {_IDS} ids; send them in several")
    return DecodeResponse(texts=[encoder.decode(some.ids).encode() for some in ids])
