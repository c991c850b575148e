"""The client of the tokenizer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from repoloom.client.service import ServiceClient, struct
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
from repoloom.rpc.catalog import Name


class Tokenizer(ServiceClient):
    """Turns text into token ids, and back.

    A tokenizer is named by the address of a dataset or run that holds one, or given as the bytes of its tokenizer.json.
    """

    name = Name.TOKENIZER
    stage = "tokenize"

    def encode(self, texts: Iterable[str], tokenizer: str | bytes) -> Iterator[list[int]]:
        """The ids of each text."""
        encoded = (text.encode() for text in texts)
        rows = self._call(self._stub.Encode, EncodeRequest, "texts", encoded, size=len, tokenizer=_ref(tokenizer))
        return (list(row.ids) for row in rows)

    def decode(self, ids: Iterable[Sequence[int]], tokenizer: str | bytes) -> Iterator[str]:
        """The text of each list of ids."""
        given = (Ids(ids=one) for one in ids)
        rows = self._call(self._stub.Decode, DecodeRequest, "ids", given, tokenizer=_ref(tokenizer))
        return (row.decode() for row in rows)

    def encode_documents(
        self,
        documents: Iterable[Document],
        tokenizer: str | bytes,
        **parameters: Any,  # noqa: ANN401
    ) -> Iterator[Piece]:
        """Training sequences. `parameters` are the recipe's section `tokenize`."""
        method, given = self._stub.EncodeDocuments, struct(parameters)
        return self._call(
            method, EncodeDocumentsRequest, "documents", documents, tokenizer=_ref(tokenizer), parameters=given
        )

    @property
    def _stub(self) -> TokenizerServiceStub:
        return TokenizerServiceStub(self._channel)


def _ref(tokenizer: str | bytes) -> TokenizerRef:
    return TokenizerRef(dataset=tokenizer) if isinstance(tokenizer, str) else TokenizerRef(json=tokenizer)
