import errno

import pytest
import typer

from repoloom.cli.entry import enter
from repoloom.errors import InputError, StoreError


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("no model is at s3://models/none"), 2, "error: no model is at s3://models/none"),
        (StoreError("the disk is full"), 1, "error: the disk is full"),
        (ModuleNotFoundError(name="uvicorn"), 1, "repoloom[inference]"),
        (PermissionError(errno.EACCES, "Permission denied", "/models"), 1, "error: /models: Permission denied"),
    ],
)
def test_the_exit_code_of_a_server_tells_whose_fault_it_is(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        enter(_fails_with(error, monkeypatch))
    assert ended.value.code == code
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("error", [ModuleNotFoundError("no typo", name="typo"), OSError(errno.EBADF, "no typo")])
def test_a_mistake_of_ours_is_told_with_where_it_was_made(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error), match="no typo"):
        enter(_fails_with(error, monkeypatch))


def _fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    monkeypatch.setattr("sys.argv", ["server"])
    monkeypatch.setattr("repoloom.cli.entry.conceal", lambda: None)  # the tests are to be looked at

    @app.command()
    def serve() -> None:
        raise error

    return app
