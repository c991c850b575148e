"""Where Redis is and how to be let in: from the environment, its secrets never shown."""

import ssl
from collections.abc import Mapping, MutableMapping
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import redis
from pydantic import Field, SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from repoloom.corpus.manifest import Record
from repoloom.engine.queue import REDIS_URL
from repoloom.errors import InputError, UnavailableError, UnsetError

_PASSWORD = "REPOLOOM_REDIS_PASSWORD"  # noqa: S105 - the name of it
_CA = "REPOLOOM_REDIS_CA"
_CERTIFICATE = "REPOLOOM_REDIS_CERT"
_KEY = "REPOLOOM_REDIS_KEY"
_SECRET = (REDIS_URL, _PASSWORD)
AWAY = (redis.RedisError,)
"""That Redis is of no help now: it is restarted, fails over to a replica, is full, or holds what others put there."""


class Broker(Record):
    """A Redis server."""

    host: str
    port: int = Field(default=6379, ge=1, le=65535)
    database: int = Field(default=0, ge=0)
    user: str = ""
    password: SecretStr = SecretStr("")
    tls: bool = False
    ca: str | None = None  # path of the authorities' certificates, PEM; None: the system's
    certificate: str | None = None  # path of the client's own certificate
    key: str | None = None  # path of its key
    answer: float = Field(default=10.0, gt=0)  # seconds it may take for an answer, and for a connection

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The server that REPOLOOM_REDIS_URL names: `redis[s]://[user[:password]@]host[:port][/database]`.

        REPOLOOM_REDIS_PASSWORD takes the password apart from the address; _CA, _CERT and _KEY are paths of PEM files
        for rediss://. Raises InputError, which quotes nothing of the address.
        """
        try:
            url = urlsplit(environment[REDIS_URL])
            database = url.path.strip("/") or "0"
            if url.scheme not in ("redis", "rediss") or not url.hostname or url.query or url.fragment:
                raise ValueError
            return cls(
                host=url.hostname,
                port=url.port or 6379,
                database=int(database),
                user=unquote(url.username or ""),
                password=SecretStr(environment.get(_PASSWORD) or unquote(url.password or "")),
                tls=url.scheme == "rediss",
                ca=environment.get(_CA) or None,
                certificate=environment.get(_CERTIFICATE) or None,
                key=environment.get(_KEY) or None,
            )
        except KeyError:
            raise UnsetError(f"{REDIS_URL} is not set; give redis://host:6379/0, or rediss:// for TLS") from None
        except ValueError:  # its text might quote the password
            raise InputError(
                f"{REDIS_URL} is not of the form redis[s]://[user[:password]@]host[:port][/database]"
            ) from None

    @classmethod
    def take_from_environment(cls, environment: MutableMapping[str, str]) -> Self:
        """The same, and no process started from here on inherits the secrets: stages read what anybody wrote."""
        broker = cls.from_environment(environment)
        for name in _SECRET:
            environment.pop(name, None)
        return broker

    @property
    def shown(self) -> str:
        """The address without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{host}:{self.port}/{self.database}"

    def client(self) -> redis.Redis:
        """A client whose calls end within seconds, whatever becomes of the server."""
        return redis.Redis(
            host=self.host,
            port=self.port,
            db=self.database,
            username=self.user or None,
            password=self.password.get_secret_value() or None,
            ssl=self.tls,
            socket_timeout=self.answer,
            socket_connect_timeout=self.answer,
            socket_keepalive=True,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 1),  # the one for a connection that the server closed meanwhile
            **(self._tls() if self.tls else {}),
        )

    def celery(self) -> dict[str, Any]:
        """The settings by which Celery finds it."""
        password = self.password.get_secret_value()
        login = f"{quote(self.user, safe='')}:{quote(password, safe='')}@" if self.user or password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {
            "broker_url": f"redis://{login}{host}:{self.port}/{self.database}",
            "broker_use_ssl": self._tls() if self.tls else None,
        }

    def check(self) -> None:
        """Talks to the server once. Raises InputError or UnavailableError saying in one line why it cannot be used."""
        client = self.client()
        try:
            client.ping()
        except redis.AuthenticationError:
            raise InputError(f"{self.shown} refuses the password; set {_PASSWORD}") from None
        except redis.exceptions.ResponseError as error:
            raise InputError(f"{self.shown} refuses: {error}") from None
        except AWAY as error:
            raise UnavailableError(f"{self.shown} does not answer: {error}; is {REDIS_URL} right?") from None
        finally:
            client.close()

    def _tls(self) -> dict[str, Any]:
        return {
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
            "ssl_check_hostname": True,
            "ssl_ca_certs": self.ca,
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.key,
        }
