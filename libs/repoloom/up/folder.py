"""The folder of a stack: its data, logs and secrets, open to its owner alone, and one stack at a time in it."""

import contextlib
import fcntl
import os
import secrets
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repoloom.corpus.manifest import Record
from repoloom.errors import InputError
from repoloom.rpc.callers import new_caller

_CALLER = "up"
_FLOCK = struct.Struct("hhqqi4x")  # struct flock (fcntl(2)): type, whence, start, length, process


class Secrets(Record):
    """What the parts let themselves be known by. They stay over restarts, so that shells which hold them go on."""

    redis_password: str
    s3_access_key: str
    s3_secret_key: str


class AlreadyRunningError(InputError):
    """A stack runs in the folder."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"the stack in {path} is running already, as process {pid}")
        self.pid = pid


class Folder:
    """What lies where."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.data = self.path / "data"
        self.token = self.path / "token"  # of the owner, for all services
        self.callers = self.path / "callers.yaml"
        self.env = self.path / "env"
        self.record = self.path / "up.json"
        self.own_log = self.logs / "up.log"  # of `repoloom up` itself, where it has no terminal
        self._lock = self.path / "lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder, and holds it while the block runs. Raises AlreadyRunningError, InputError."""
        try:
            file = self._locked()
        except BlockingIOError:
            raise AlreadyRunningError(self.path, self.holder() or 0) from None
        except OSError as error:
            raise InputError(f"cannot use {self.path}: {error.strerror}; choose another --folder") from error
        try:
            yield
        finally:
            os.close(file)

    @contextlib.contextmanager
    def unless_unused(self) -> Iterator[None]:
        """A folder that was made in the block is gone again where it fails before any part was started."""
        new = not self.path.exists()
        try:
            yield
        except BaseException:
            if new and self.logs.exists() and not set(self.logs.iterdir()) - {self.own_log}:
                with (
                    contextlib.suppress(AlreadyRunningError),
                    self.held(),
                    tempfile.TemporaryDirectory(prefix=".repoloom-", dir=self.path.parent) as away,
                ):
                    self.path.rename(Path(away, "up"))  # at once: who comes meanwhile makes a whole one
            raise

    def holder(self) -> int | None:
        """The process whose stack runs here; None where none does. To ask takes no lock, so it is in nobody's way."""
        try:
            with self._lock.open("rb") as file:
                kind, _, _, length, _ = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, _first_bytes(1)))
        except OSError:
            return None
        return None if kind == fcntl.F_UNLCK else length

    def secrets(self) -> Secrets:
        """The secrets of the folder, made at the first time, as are the token and the callers file."""
        path = self.path / "secrets.json"
        if not (self.token.exists() and self.callers.exists()):
            token, entry = new_caller(_CALLER, ["*"])
            write_private(self.callers, entry)
            write_private(self.token, token + "\n")
        if not path.exists():
            made = Secrets(
                redis_password=secrets.token_urlsafe(32),
                s3_access_key=f"up{secrets.token_hex(8)}",
                s3_secret_key=secrets.token_urlsafe(30),
            )
            write_private(path, made.model_dump_json())
        return Secrets.model_validate_json(path.read_bytes())

    def _locked(self) -> int:
        """The lock of the folder, taken, once it is that of the folder which is here. Raises BlockingIOError, OSError.

        Who made the folder for nothing may remove it after its lock is opened here, and before that is taken.
        """
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.logs, self.data):
                folder.mkdir(mode=0o700, exist_ok=True)
                folder.chmod(0o700)
            file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, _first_bytes(os.getpid()))
            except OSError:
                os.close(file)
                raise
            if _is_at(self._lock, file):
                return file
            os.close(file)


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _first_bytes(number: int) -> bytes:
    """A lock on so many bytes of a file. Who holds a folder locks as many as its process's id says: so it is known."""
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, number, 0)


def write_private(path: Path, text: str) -> None:
    """Writes a file, whole or not at all, that nobody else may read at any moment."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)
