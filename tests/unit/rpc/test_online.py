import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from repoloom.engine.step import Reader
from repoloom.protos.filter.v1.filter_pb2 import FilterFilesRequest
from repoloom.rpc.online import Job, Outlet, Stream, run
from repoloom.rpc.room import Room


@pytest.mark.parametrize(("size", "taken"), [(2 << 20, 1), (1 << 10, 5)])
def test_of_large_messages_none_is_read_before_the_one_before_it_is_worked_on(size: int, taken: int) -> None:
    over = threading.Event()
    read = 0

    async def requests() -> AsyncIterator[FilterFilesRequest]:
        nonlocal read
        for _ in range(9):
            read += 1
            yield FilterFilesRequest(files=[{"repo": "a", "content": bytes(size)}])

    def work(inputs: Mapping[str, Reader], _: Outlet) -> None:
        assert over.wait(60)
        assert sum(batch.num_rows for batch in inputs["files"].batches()) == 9

    def rows(given: list[FilterFilesRequest]) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict({"repo": [file.repo for request in given for file in request.files]})

    async def main() -> None:
        stream = Stream("files", requests(), rows, Room(everyone=1 << 30, each=1 << 30), lambda batch: batch.nbytes)
        answers = run(Job(work), lambda *_: None, executor, stream)
        answer = asyncio.ensure_future(anext(answers, None))
        for _ in range(100):  # until all who can go on did
            await asyncio.sleep(0)
        assert read == taken
        over.set()
        assert await answer is None
        assert read == 9

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(main())
