import pytest
from hypothesis import given
from hypothesis import strategies as st

from repoloom.telemetry.redaction import redact

_word = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-.~%!$", min_size=8, max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot fetch https://user:pass@host/x?y=1", "cannot fetch https://***@host/x?y=1"),
        ("redis://:secret@localhost:6379/0", "redis://***@localhost:6379/0"),
        ("a https://x:y@h and s3://k:s@b/p", "a https://***@h and s3://***@b/p"),
        (
            "https://h/o?X-Amz-Credential=AK/x&X-Amz-Signature=abc&n=1",
            "https://h/o?X-Amz-Credential=***&X-Amz-Signature=***&n=1",
        ),
        ("Authorization: Bearer eyJhbGciOi.x.y", "Authorization: Bearer ***"),
        ("token loom_AbCdEfGh12345678 was", "token *** was"),
    ],
)
def test_credentials_are_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "mail a@b.c",
        "https://host/@scope/package",
        "git@github.com:a/b",
        "bearer of news",
        "s3://bucket/a?b=c",
        "",
        "://",
    ],
)
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(user=_word, password=_word, before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_password_of_an_address_remains(user: str, password: str, before: str, after: str) -> None:
    assert f"{user}:{password}@" not in redact(f"{before} https://{user}:{password}@host/ {after}")


@given(st.text())
def test_what_was_redacted_stays_as_it_is(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_secrets_of_the_environment_are_known_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("PROBE_TOKEN_FILE", "/run/secrets/token")
    monkeypatch.setenv("PROBE_PASSWORD", "short")
    assert (
        redact("it was wJalrXUtnFEMI, of /run/secrets/token, too short")
        == "it was ***, of /run/secrets/token, too short"
    )
