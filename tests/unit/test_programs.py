import pytest

from repoloom.programs import environment


def test_a_program_is_told_of_the_machine_and_of_what_it_heeds(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "LC_TIME": "C",
        "https_proxy": "http://proxy",
        "npm_config_//host/:_authToken": "of npm",
        "NPM_TOKEN": "too",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert told.items() <= environment("npm_config_*", "NPM_TOKEN").items()


@pytest.mark.parametrize(
    "secret", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "REPOLOOM_REDIS_PASSWORD", "REPOLOOM_REDIS_URL", "A_TOKEN"]
)
def test_nothing_else_is_told(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(secret, "secret")
    assert secret not in environment()
