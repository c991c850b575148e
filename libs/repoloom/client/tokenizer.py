"""The client of the tokenizer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from repoloom.client.service import ServiceClient, struct
from repoloom.client.streaming import chunks, stream, with_settings
from repoloom.protos.corpus.v1.corpus_pb2 import Document
from repoloom.protos.tokenizer.v1.tokenizer_pb2 import (
    DecodeRequest,
    EncodeDocumentsRequest,
    EncodeRequest,
    Ids,
    Piece,
    TokenizerRef,
)
from repoloom.protos.tokenizer.v1.tokenizer_pb2_grpc import TokenizerServiceStub


class Tokenizer(ServiceClient):
    """Turns text into token ids, and back.

    A tokenizer is named by the address of a dataset or run that holds one, or given as the bytes of its tokenizer.json.
    """

    name = "tokenizer"
    stages = ("tokenize", "split", "mix", "pack")

    def encode(self, texts: Iterable[str], tokenizer: str | bytes) -> Iterator[list[int]]:
        """The ids of each text."""
        requests = (EncodeRequest(texts=some) for some in chunks((text.encode() for text in texts), len))
        rows = stream(self._stub.Encode, with_settings(requests, tokenizer=_ref(tokenizer)), self._seconds)
        return (list(row.ids) for row in rows)

    def decode(self, ids: Iterable[Sequence[int]], tokenizer: str | bytes) -> Iterator[str]:
        """The text of each list of ids."""
        requests = (DecodeRequest(ids=some) for some in chunks(Ids(ids=one) for one in ids))
        rows = stream(self._stub.Decode, with_settings(requests, tokenizer=_ref(tokenizer)), self._seconds)
        return (row.decode() for row in rows)

    def encode_documents(
        self,
        documents: Iterable[Document],
        tokenizer: str | bytes,
        **parameters: Any,  # noqa: ANN401
    ) -> Iterator[Piece]:
        """Training sequences. `parameters` are the recipe's section `tokenize`."""
        requests = (EncodeDocumentsRequest(documents=some) for some in chunks(documents))
        given = with_settings(requests, tokenizer=_ref(tokenizer), parameters=struct(parameters))
        return stream(self._stub.EncodeDocuments, given, self._seconds)

    @property
    def _stub(self) -> TokenizerServiceStub:
        return TokenizerServiceStub(self._channel)


def _ref(tokenizer: str | bytes) -> TokenizerRef:
    return TokenizerRef(dataset=tokenizer) if isinstance(tokenizer, str) else TokenizerRef(json=tokenizer)
