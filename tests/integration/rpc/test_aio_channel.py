import asyncio

import pytest
from rpc.probe import NAME, SERVICE

from repoloom.errors import InputError, UnavailableError
from repoloom.rpc.channel import open_aio_channel
from repoloom.rpc.errors import raised_as_own
from repoloom.rpc.server import running
from repoloom.rpc.settings import ChannelSettings, ServerSettings


def test_all_four_kinds_of_method_answer_asynchronous_clients() -> None:
    async def main() -> None:
        async with (
            running([SERVICE], ServerSettings(address="127.0.0.1:0")) as server,
            open_aio_channel(ChannelSettings(target=server.address)) as channel,
        ):
            assert await channel.unary_unary(f"/{NAME}/Echo")(b"hello") == b"hello"
            assert [message async for message in channel.unary_stream(f"/{NAME}/Count")(b"2 0")] == [b"0", b"1"]
            assert await channel.stream_unary(f"/{NAME}/Total")(iter([b"abc"])) == b"3"
            chat = channel.stream_stream(f"/{NAME}/Chat")(iter([b"a", b"b"]))
            assert [message async for message in chat] == [b"a", b"b"]
            with pytest.raises(InputError, match=r"^the recipe is no YAML$"), raised_as_own():
                await channel.unary_unary(f"/{NAME}/Fail")(b"input")

    asyncio.run(main())


def test_a_server_that_is_not_there_is_unavailable() -> None:
    async def main() -> None:
        async with running([SERVICE], ServerSettings(address="127.0.0.1:0")) as server:
            pass
        async with open_aio_channel(ChannelSettings(target=server.address)) as channel:
            with pytest.raises(UnavailableError, match="connect"), raised_as_own():
                await channel.unary_unary(f"/{NAME}/Echo")(b"hello")

    asyncio.run(main())
