"""A model that is served: texts in, pieces of answers out, for HTTP and gRPC alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from repoloom.errors import InputError
from repoloom.inference.answer import Answer
from repoloom.inference.complete import Completer
from repoloom.inference.engine import Completion, Engine, Finish, QueueFullError
from repoloom.inference.generate import Sampling
from repoloom.inference.model_files import fetched
from repoloom.prompts import fim
from repoloom.rpc.errors import FieldError, OverloadedError
from repoloom_inference.lineage import Lineage, lineage
from repoloom_inference.settings import InferenceSettings


@dataclass(frozen=True)
class Piece:
    """Some more of an answer; of the last one `finish` says why."""

    index: int  # of the answer, among those that were asked for together
    text: str
    finish: Finish | None
    tokens: int  # of the answer so far


class Served:
    """A model, ready to answer."""

    def __init__(self, completer: Completer, settings: InferenceSettings, digest: str, record: Lineage | None) -> None:
        """Raises InputError where the settings ask more of the model than it has."""
        reads = completer.model.architecture.max_position_embeddings
        if settings.context is not None and settings.context > reads:
            raise InputError(f"REPOLOOM_INFERENCE_CONTEXT is {settings.context}, and the model reads {reads} tokens")
        self.name = settings.name
        self.digest = digest
        self.lineage = record
        self.context = settings.context or reads
        self.order = completer.order
        self.created = int(time.time())
        self._most = settings.choices
        self._codec = completer.codec
        self._spelled = completer.codec.spelled()
        self._ends = frozenset(completer.codec.ids.values())
        self._longest = max(map(len, self._spelled.values()))
        self.engine = Engine(completer.model, self._codec.size, settings.slots, self.context, settings.queue)

    @classmethod
    def load(cls, uri: str, digest: str | None, settings: InferenceSettings) -> Self:
        """The model at an address. Raises InputError, CorruptDataError."""
        with fetched(uri, digest) as files:
            completer = Completer.load(files.folder)
            return cls(completer, settings, files.digest, lineage(uri, files.digest))

    async def warm(self) -> None:
        """Has the model answer once. Raises UnavailableError where it does not."""
        with self.ask([self.tokens("def ", "\n", 2)], [Sampling(2)]) as asked:
            async for _ in asked:
                pass

    def tokens(self, prefix: str, suffix: str | None, new_tokens: int) -> list[int]:
        """What the model reads of a text, or of what stands around a hole. Raises FieldError where it is too long."""
        size = len(prefix.encode("utf-8", "surrogatepass")) + len((suffix or "").encode("utf-8", "surrogatepass"))
        least = size // self._longest
        if least <= self.context:  # else there is no need to look
            try:
                whole = suffix is None
                tokens = self._codec.encode(
                    fim.without_hole(prefix, ends=False) if whole else fim.prompt(prefix, suffix or "", self.order)
                )
            except UnicodeEncodeError:
                raise FieldError("prompt", "holds half of a surrogate pair, which is no text") from None
            least = len(tokens)
            if least + new_tokens <= self.context:
                return tokens
        raise FieldError(
            "prompt",
            f"this model's maximum context length is {self.context} tokens; the prompt has "
            f"{'at least ' if size // self._longest > self.context else ''}{least}, and {new_tokens} are to be written",
        )

    def allow(self, prompts: int, answers: int) -> None:
        """Raises FieldError where one request may not ask for so many answers to each of so many prompts."""
        if prompts * answers > self._most:
            raise FieldError("n", f"a request may ask for {self._most} completions, prompts times n")

    def ask(
        self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], stops: Sequence[str] = ()
    ) -> "Asked":
        """Has every prompt answered once for each of the samplings, in this order.

        Raises OverloadedError, UnavailableError.
        """
        return Asked(
            self.engine,
            [(prompt, sampling) for prompt in prompts for sampling in samplings],
            lambda: Answer(self._spelled, self._ends, stops),
        )


class Asked:
    """Answers on their way, in a `with` block; those that are not done when it ends are cancelled."""

    def __init__(
        self, engine: Engine, wanted: Sequence[tuple[Sequence[int], Sampling]], answer: Callable[[], Answer]
    ) -> None:
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._completions = [
            Completion(prompt, sampling, _Listener(index, answer(), self._push))
            for index, (prompt, sampling) in enumerate(wanted)
        ]
        try:
            engine.submit(self._completions)
        except QueueFullError as error:
            raise OverloadedError(str(error), error.seconds) from error

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """The pieces of all answers as they come. Raises UnavailableError where the engine gives them up."""
        open_answers = len(self._completions)
        while open_answers:
            piece = await self._pieces.get()
            if isinstance(piece, Exception):
                raise piece
            open_answers -= piece.finish is not None
            yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for completion in self._completions:
            completion.cancelled = True

    def _push(self, piece: Piece | Exception) -> None:
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)


class _Listener:
    """Turns the tokens of one answer into pieces, in the engine's thread."""

    def __init__(self, index: int, answer: Answer, push: Callable[[Piece | Exception], None]) -> None:
        self._index = index
        self._answer = answer
        self._push = push

    def take(self, token: int) -> bool:
        text = self._answer.take(token)
        if text:
            self._push(Piece(self._index, text, None, self._answer.tokens))
        return not self._answer.stopped

    def end(self, finish: Finish) -> None:
        rest = "" if self._answer.stopped else self._answer.rest()
        finish = Finish.STOP if self._answer.stopped else finish
        self._push(Piece(self._index, rest, finish, self._answer.tokens))

    def fail(self, error: Exception) -> None:
        self._push(error)
