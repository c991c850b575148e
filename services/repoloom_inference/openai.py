"""OpenAI's form of completions: what a request may hold, and what an answer looks like.

What would change the answer and is not known here is refused; what is accepted only in its default is said so.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from repoloom.inference.answer import MAX_STOP_CHARACTERS, MAX_STOPS
from repoloom.inference.generate import Sampling
from repoloom.rpc.errors import FieldError
from repoloom_inference.served import Piece

T = TypeVar("T")
_SEEDS = 1 << 63
_Stop = Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_CHARACTERS)]


class _Part(BaseModel):
    """Keeps what it does not know, to be refused by `parse`: an error for each name is many times the body's size."""

    model_config = ConfigDict(extra="allow", strict=True)


class StreamOptions(_Part):
    """What a stream holds besides its pieces."""

    include_usage: bool = False


class CompletionRequest(_Part):
    """The body of POST /v1/completions (OpenAI's API reference, completions/create)."""

    model: str | None = None
    prompt: str | Annotated[list[str], Field(min_length=1, fail_fast=True)]
    suffix: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=MAX_STOPS)] | None = None
    seed: Annotated[int, Field(ge=-_SEEDS, lt=_SEEDS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = None
    user: str | None = None  # changes nothing
    # Known to OpenAI's, and had in their defaults alone:
    best_of: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    logprobs: None = None

    @classmethod
    def parse(cls, body: bytes) -> "CompletionRequest":
        """Reads a body. Raises FieldError."""
        try:
            request = cls.model_validate_json(body)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            field = str(problem["loc"][0]) if problem["loc"] else "body"
            raise FieldError(field, problem["msg"]) from None
        for part in (request, request.stream_options):
            if part and part.model_extra:
                raise FieldError(next(iter(part.model_extra)), "is not known here")
        if request.echo and request.suffix is not None:
            raise FieldError("echo", "cannot be had with a suffix")
        if request.stream_options and not request.stream:
            raise FieldError("stream_options", "are for streams")
        return request

    @property
    def prompts(self) -> list[str]:
        """The prompts, one or several."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def new_tokens(self) -> int:
        """Tokens to write at most."""
        return _given(self.max_tokens, 16)

    @property
    def stops(self) -> list[str]:
        """Texts before which an answer ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def answers(self) -> int:
        """How many answers each prompt is to have."""
        return _given(self.n, 1)

    def samplings(self) -> list[Sampling]:
        """How each of the n answers to a prompt is sampled: from seeds that follow one another."""
        seed = secrets.randbelow(_SEEDS) if self.seed is None else self.seed % _SEEDS
        temperature, top_p = _given(self.temperature, 1.0), _given(self.top_p, 1.0)
        return [
            Sampling(self.new_tokens, temperature, top_p, (seed + number) % _SEEDS) for number in range(self.answers)
        ]


class Answers:
    """The answers to one request, in the form of OpenAI's."""

    def __init__(
        self, request: CompletionRequest, model: str, fingerprint: str, created: int, tokens: Sequence[int]
    ) -> None:
        """`tokens` are those of each prompt."""
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._prompt_tokens = sum(tokens)
        self._texts = [prompt if request.echo else "" for prompt in request.prompts for _ in range(request.answers)]
        self._finish: list[str | None] = [None] * len(self._texts)
        self._tokens = [0] * len(self._texts)

    def add(self, piece: Piece) -> None:
        """Notes a piece."""
        self._texts[piece.index] += piece.text
        self._tokens[piece.index] = piece.tokens
        self._finish[piece.index] = piece.finish

    def whole(self) -> dict[str, Any]:
        """The answer, when every piece is in."""
        choices = [_choice(*choice) for choice in zip(range(len(self._texts)), self._texts, self._finish, strict=True)]
        return {**self._head, "choices": choices, "usage": self.usage()}

    def first_events(self) -> Iterator[bytes]:
        """What a stream begins with: the prompts, where they are to be echoed."""
        return (self._event(_choice(index, text, None)) for index, text in enumerate(self._texts) if text)

    def event(self, piece: Piece) -> bytes:
        """A piece in a stream."""
        return self._event(_choice(piece.index, piece.text, piece.finish))

    def usage_event(self) -> bytes:
        """The tokens that were read and written, in a stream."""
        return sse({**self._head, "choices": [], "usage": self.usage()})

    def usage(self) -> dict[str, int]:
        """Tokens that were read and written; a prompt counts once, however many answers it has."""
        written = sum(self._tokens)
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self._prompt_tokens + written,
        }

    def _event(self, choice: dict[str, Any]) -> bytes:
        return sse({**self._head, "choices": [choice]})


def sse(content: object) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


DONE = b"data: [DONE]\n\n"


def error_body(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
