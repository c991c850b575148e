"""The board in Redis: who does which task, which messages were taken, how tasks ended. Losing it costs only time.

All times are Redis' own, as spans: no clock of any machine matters. Each change is one script, hence atomic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from repoloom.engine.queue import names
from repoloom.engine.queue.message import Envelope, Hint
from repoloom.engine.queue.pace import Pace
from repoloom.engine.task import Task

_FREE = "-"  # before the token of a claim that was taken away: whoever comes may have it, but for who had it
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_TAKE = f"""
{_NOW}
local number, published = tonumber(ARGV[3]), tonumber(redis.call('GET', KEYS[5]) or 0)
if number <= published and number > tonumber(redis.call('GET', KEYS[4]) or 0) then
    redis.call('SET', KEYS[4], number)
end
if redis.call('EXISTS', KEYS[2]) == 1 then return 'over' end
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, 1) ~= '{_FREE}' then return 'others' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[2], KEYS[1])
return 'mine'
"""
_RENEW = f"""
{_NOW}
if redis.call('EXISTS', KEYS[2]) == 1 then return 'over' end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 'others' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[2], KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
return 'mine'
"""
_RELEASE = """
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[3], KEYS[1])
end
"""
_REVOKE = f"""
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], '{_FREE}' .. ARGV[1], 'PX', ARGV[2])
    redis.call('ZREM', KEYS[2], KEYS[1])
end
"""
_REPORT = f"""
local holder = redis.call('GET', KEYS[1])
if ARGV[3] == 'failure' and holder and holder ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('RPUSH', KEYS[4], ARGV[2])
    redis.call('LTRIM', KEYS[4], -tonumber(ARGV[4]), -1)
    redis.call('PEXPIRE', KEYS[4], ARGV[5])
end
{_RELEASE}
return 1
"""
_KEEP = f"""
{_NOW}
redis.call('SADD', KEYS[1], ARGV[2])
for number = 2, #KEYS do redis.call('PEXPIRE', KEYS[number], ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[#KEYS], '-inf', now)
"""
_QUEUES = """
local queues = redis.call('SMEMBERS', KEYS[1])
for _, queue in ipairs(queues) do
    if redis.call('EXISTS', queue, queue .. '.running', queue .. '.workers') == 0 then
        redis.call('SREM', KEYS[1], queue)
    end
end
return redis.call('SMEMBERS', KEYS[1])
"""
_ANNOUNCE = f"""
{_NOW}
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[2], ARGV[1])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
end
"""
_COUNT = f"""
{_NOW}
return {{redis.call('ZCOUNT', KEYS[1], now, '+inf'), redis.call('ZCOUNT', KEYS[2], now, '+inf')}}
"""


class Holder(StrEnum):
    """Whose a task is."""

    MINE = "mine"
    OTHERS = "others"
    OVER = "over"  # nobody's: its run has ended


@dataclass(frozen=True)
class Claim:
    """A worker's word that it is doing a task."""

    token: str  # one for each attempt
    envelope: Envelope

    @property
    def keys(self) -> list[str]:
        """The claim, the end of its run, and the claims of its queue."""
        queue = names.queue_name(self.envelope.queue)
        return [names.claim(self.envelope.task), names.over(self.envelope.run), names.running(queue)]


@dataclass(frozen=True)
class Sight:
    """What the board says of a queue."""

    waiting: int  # messages in the list
    running: int
    workers: int
    published: int
    taken: int


class Board:
    """Raises the errors of redis; all of it may be called again."""

    def __init__(self, client: redis.Redis, pace: Pace) -> None:
        self._client: Any = client  # its types allow for an asynchronous twin everywhere
        self._pace = pace
        register = self._client.register_script
        self._take, self._renew, self._release, self._revoke = map(register, (_TAKE, _RENEW, _RELEASE, _REVOKE))
        self._report, self._announce, self._count = map(register, (_REPORT, _ANNOUNCE, _COUNT))
        self._keep, self._queues = map(register, (_KEEP, _QUEUES))

    def take(self, claim: Claim) -> Holder:
        """Notes that a message was taken from its queue, and claims its task unless a live worker does it."""
        queue = names.queue_name(claim.envelope.queue)
        keys = [*claim.keys, names.taken(queue), names.published(queue)]
        holder = _holder(self._take(keys, [claim.token, _ms(self._pace.claim), claim.envelope.number]))
        self.keep(queue)
        return holder

    def renew(self, claim: Claim) -> Holder:
        """Keeps a claim, also where Redis has forgotten it."""
        return _holder(self._renew(claim.keys, [claim.token, _ms(self._pace.claim)]))

    def release(self, claim: Claim) -> None:
        """Gives a task up without a word of how it ended."""
        self._release(claim.keys, [claim.token])

    def revoke(self, task: Task, queue: str, token: str) -> None:
        """Takes a claim away from its holder, who learns of it when it renews; another's claim stays."""
        self._revoke([names.claim(task), names.running(queue)], [token, _ms(self._pace.claim)])

    def report(self, claim: Claim, hint: Hint) -> None:
        """Says how a task ended and gives its claim up. A failure is not believed of a worker that lost its claim."""
        self._report(
            [*claim.keys, names.hints(claim.envelope.run)],
            [
                claim.token,
                hint.model_dump_json(),
                "success" if hint.committed else "failure",
                10 * self._pace.window,
                _ms(self._pace.leftover),
            ],
        )

    def announce(self, worker: str, queues: Sequence[str]) -> None:
        """Says that a worker lives and what it serves."""
        self._announce([names.workers(queue) for queue in queues], [worker, _ms(self._pace.claim)])

    def keep(self, queue: str) -> None:
        """Has Redis keep a queue of this build for a while yet: those of builds that nobody runs are forgotten.

        So are claims whose time is over, since who brings workers counts them all (KEDA: ZCARD).
        """
        kinds = (names.published, names.taken, names.workers, names.running)
        keys = [names.QUEUES, names.unacked(), names.unacked_index(), queue, *(kind(queue) for kind in kinds)]
        self._keep(keys, [_ms(self._pace.leftover), queue])

    def next_number(self, queue: str) -> int:
        """The number of the message to be published next."""
        key = names.published(queue)
        number, _ = self._client.pipeline().incr(key).pexpire(key, _ms(self._pace.leftover)).execute()
        return int(number)

    def end(self, run: str) -> None:
        """Ends a run: its messages are dropped when they are met, its tasks stopped."""
        self._client.set(names.over(run), "1", px=_ms(self._pace.leftover))
        self._client.delete(names.hints(run))

    def hints(self, run: str, wait: float) -> list[bytes]:
        """What has arrived since, waiting for a first one so many seconds."""
        key = names.hints(run)
        first = self._client.blpop([key], timeout=wait) if wait > 0 else None
        return ([first[1]] if first else []) + (self._client.lpop(key, 1000) or [])

    def holders(self, tasks: Sequence[Task]) -> list[str | None]:
        """The tokens of those who say that they are doing the tasks; None where nobody does."""
        said = self._client.mget([names.claim(task) for task in tasks])
        tokens = (token.decode("utf-8", "replace") if token else _FREE for token in said)
        return [None if token.startswith(_FREE) else token for token in tokens]

    def sight(self, queue: str) -> Sight:
        """How a queue stands."""
        published, taken = self._client.mget([names.published(queue), names.taken(queue)])
        running, workers = self._count([names.running(queue), names.workers(queue)])
        waiting = self._client.llen(queue)
        return Sight(waiting, running, workers, int(published or 0), int(taken or 0))

    def queues(self) -> list[str]:
        """The queues of all builds that are served or hold work."""
        return sorted(name.decode("utf-8", "replace") for name in self._queues([names.QUEUES]))


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _holder(answer: bytes | str) -> Holder:
    return Holder(answer.decode() if isinstance(answer, bytes) else answer)
