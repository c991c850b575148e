import pytest
from pydantic import ValidationError

from repoloom.errors import InputError
from repoloom.rpc.channel import open_channel
from repoloom.rpc.settings import ChannelSettings, ServerSettings, from_environment, is_local


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/run/x", True),
        ("dns:///localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("localhost.example:1", False),
        ("127.0.0.1.example:1", False),
        ("filter:50051", False),
        ("dns:///filter:50051", False),
        ("", False),
    ],
)
def test_local_is_what_only_this_machine_reaches(address: str, local: bool) -> None:
    assert is_local(address) is local


@pytest.mark.parametrize(
    "settings",
    [
        {"address": "0.0.0.0:1"},
        {"address": "0.0.0.0:1", "cert_file": "c", "key_file": "k"},
        {"address": "0.0.0.0:1", "callers_file": "t"},
        {"cert_file": "c"},
        {"client_ca_file": "a", "callers_file": "t"},
        {"client_ca_file": "a", "cert_file": "c", "key_file": "k"},
        {"max_calls": 0},
        {"unknown": 1},
    ],
)
def test_settings_that_are_open_or_contradict_themselves_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ServerSettings.model_validate(settings)


def test_a_server_beyond_loopback_is_guarded_or_open_on_purpose() -> None:
    ServerSettings.model_validate({"address": "0.0.0.0:1", "cert_file": "c", "key_file": "k", "callers_file": "t"})
    ServerSettings(address="0.0.0.0:1", allow_insecure=True)


def test_settings_come_from_the_environment_and_from_who_starts_the_server() -> None:
    environment = {"LOOM_ADDRESS": "127.0.0.1:7", "LOOM_MAX_CALLS": "3", "LOOM_CERT_FILE": "", "OTHER": "x"}
    settings = from_environment(ServerSettings, "LOOM", environment, max_calls=5)
    assert (settings.address, settings.max_calls, settings.cert_file) == ("127.0.0.1:7", 5, None)


def test_a_setting_that_cannot_be_used_is_named_without_its_value() -> None:
    with pytest.raises(InputError, match=r"max_calls: .*variables LOOM_") as caught:
        from_environment(ServerSettings, "LOOM", {"LOOM_MAX_CALLS": "hunter2"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        from_environment(
            ChannelSettings, "LOOM", {"LOOM_TOKEN": "hunter2", "LOOM_TOKEN_FILE": "x", "LOOM_TARGET": "y:1"}
        )
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    ("settings", "secure"),
    [
        ({"target": "localhost:1"}, False),
        ({"target": "localhost:1", "ca_file": "a"}, True),
        ({"target": "filter:1"}, True),
        ({"target": "filter:1", "plaintext": True}, False),
    ],
)
def test_a_channel_beyond_loopback_is_encrypted_unless_told_otherwise(
    settings: dict[str, object], secure: bool
) -> None:
    assert ChannelSettings.model_validate(settings).secure is secure


def test_a_token_is_not_shown() -> None:
    settings = ChannelSettings.model_validate({"target": "x:1", "token": "hunter2"})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_method_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="is neither"):
        open_channel(ChannelSettings(target="localhost:1"), idempotent=["Echo"])
