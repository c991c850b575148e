"""An address of Redis gives up its secrets to nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.engine.queue.broker import Broker
from repoloom.errors import InputError


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=20).map(lambda text: "pw-" + text))
def test_a_password_is_never_shown_and_reaches_the_client_as_it_is(password: str) -> None:
    environment = {"REPOLOOM_REDIS_URL": "rediss://me@redis.example:7000/3", "REPOLOOM_REDIS_PASSWORD": password}
    broker = Broker.from_environment(environment)
    assert password not in broker.shown + repr(broker) + str(broker) + broker.model_dump_json()
    assert broker.shown == "rediss://redis.example:7000/3"
    assert broker.client().connection_pool.connection_kwargs["password"] == password


def test_a_password_in_the_address_is_taken_out_of_it() -> None:
    broker = Broker.from_environment({"REPOLOOM_REDIS_URL": "redis://me:p%40ss@[::1]"})
    assert broker.shown == "redis://[::1]:6379/0"
    assert broker.client().connection_pool.connection_kwargs["password"] == "p@ss"


@pytest.mark.parametrize(
    "url",
    [
        "http://:secret@host",
        "redis://",
        "redis://:secret@host:port",
        "redis://:secret@host/name",
        "redis://:secret@host/0?ssl_cert_reqs=none",
        "secret",
        "unix:///secret",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(InputError) as refused:
        Broker.from_environment({"REPOLOOM_REDIS_URL": url})
    assert "secret" not in str(refused.value)


def test_what_was_taken_from_the_environment_is_no_longer_there() -> None:
    environment = {"REPOLOOM_REDIS_URL": "redis://host", "REPOLOOM_REDIS_PASSWORD": "secret", "PATH": "/bin"}
    Broker.take_from_environment(environment)
    assert environment == {"PATH": "/bin"}
