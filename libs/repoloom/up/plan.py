"""What the stack consists of: which parts, at which addresses, each with what it must know and no more."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repoloom.engine.queue import REDIS_URL
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.build import NAME as BUILD
from repoloom.errors import InputError
from repoloom.rpc.catalog import Name
from repoloom.store import open_store
from repoloom.text import none_of
from repoloom.up.answers import redis_answers, s3_answers, service_answers, worker_answers
from repoloom.up.folder import Folder, Secrets
from repoloom.up.part import Part
from repoloom.up.ports import choose
from repoloom.up.programs import redis_server, s3_server
from repoloom.up.surroundings import SERVICES, UP, without_stack

BUCKET = "repoloom"
_REDIS, _S3, _WORKER = "redis", "s3", "worker"
_REDIS_BYTES = 512 << 20
_CRAWL = "REPOLOOM_CRAWL_ALLOW"
_CRAWL_AT_HOME = "local-files,ssh,git-protocol,named-hosts"  # what a crawl may do that somebody starts at a keyboard
_OTHERS = ("REPOLOOM_SERVER_", "REPOLOOM_CLIENT_", "REPOLOOM_WORKER_")  # meant for other processes than ours
_DRAIN_SECONDS = 5


@dataclass(frozen=True)
class Wishes:
    """What the person at the keyboard wants."""

    workers: int
    services: tuple[str, ...] = tuple(Name)
    store: str | None = None  # None: an S3 server of the stack's own
    port: int = 7000  # addresses follow it; 0: any free ones


@dataclass(frozen=True)
class Plan:
    """A stack to be."""

    servers: tuple[Part, ...]  # that the others need
    users: tuple[Part, ...]
    services: tuple[str, ...]
    store: str
    broker: Broker
    exports: Mapping[str, str] = field(repr=False)  # for the file `env`
    own_store: bool

    @property
    def tiers(self) -> tuple[tuple[Part, ...], ...]:
        """The parts in order of need."""
        return (self.servers, self.users)


def make_plan(folder: Folder, wishes: Wishes, environment: Mapping[str, str]) -> Plan:
    """The stack of a folder, whose lock is held. Raises InputError, UnavailableError."""
    return _Planner(folder, wishes, without_stack(environment)).plan()


class _Planner:
    def __init__(self, folder: Folder, wishes: Wishes, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._wishes = wishes
        self._given = environment
        self._secrets: Secrets = folder.secrets()
        self._own_redis = not environment.get(REDIS_URL)
        self._own_s3 = wishes.store is None
        self._at = choose(self._names(), wishes.port)

    def plan(self) -> Plan:
        """All of it."""
        redis, s3 = self._redis_variables(), self._s3_variables()
        broker = Broker.from_environment({**self._given, **redis})
        servers = []
        if self._own_redis:
            servers.append(self._redis(broker))
        else:
            broker.check()
        if self._own_s3:
            servers.append(self._s3())
        store = self._store()
        base = {**self._base(), **redis, **s3}
        users = [self._service(name, store, base) for name in self._wishes.services]
        if self._wishes.workers:
            users.append(self._worker(store, broker, base))
        services = ",".join(f"{name}={self._at[name]}" for name in self._wishes.services)
        exports = {**redis, **s3, "REPOLOOM_STORE_ROOTS": store, UP: str(self._folder.path)}
        if name := self._given.get(BUILD):
            exports[BUILD] = name
        if services:
            exports |= {SERVICES: services, "REPOLOOM_CLIENT_TOKEN_FILE": str(self._folder.token)}
        return Plan(tuple(servers), tuple(users), self._wishes.services, store, broker, exports, self._own_s3)

    def _names(self) -> list[str]:
        """All that is given a port. A service that is not wanted leaves its port free, so the others keep theirs."""
        metrics = [f"metrics of {name}" for name in (*Name, _WORKER)]
        return [*Name, _S3, _REDIS, "console of s3", *metrics]

    def _store(self) -> str:
        """The root of all. Raises InputError and StoreError where a given one cannot be used."""
        if self._wishes.store is None:
            return f"s3://{BUCKET}"
        uri = open_store(self._wishes.store).uri
        if uri.startswith("s3://"):
            from repoloom.store.s3 import S3Store

            S3Store(uri, patience=_DRAIN_SECONDS).exists("anything")
        return uri

    def _redis_variables(self) -> dict[str, str]:
        if not self._own_redis:
            return {}
        return {REDIS_URL: f"redis://{self._at[_REDIS]}/0", "REPOLOOM_REDIS_PASSWORD": self._secrets.redis_password}

    def _s3_variables(self) -> dict[str, str]:
        if not self._own_s3:
            return {}
        return {
            "AWS_ENDPOINT_URL_S3": f"http://{self._at[_S3]}",
            "AWS_ACCESS_KEY_ID": self._secrets.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self._secrets.s3_secret_key,
            "AWS_SESSION_TOKEN": "",  # one that a shell holds is of another server
            "AWS_REGION": "us-east-1",
        }

    def _base(self) -> dict[str, str]:
        """What every process of ours inherits."""
        kept = {name: value for name, value in self._given.items() if not name.startswith(_OTHERS)}
        safe = {"PYTHONSAFEPATH": "1"}  # a module that lies where `repoloom up` was typed is none of ours
        return {_CRAWL: _CRAWL_AT_HOME, **kept, **safe, "PYTHONFAULTHANDLER": "1"}

    def _plain(self) -> dict[str, str]:
        """What a server that is not ours inherits: no secret of the others."""
        return {name: value for name in ("PATH", "HOME", "TMPDIR", "LANG", "TZ") if (value := self._given.get(name))}

    def _redis(self, broker: Broker) -> Part:
        """It keeps nothing on disk: all that it holds are hints, which the runs make again within seconds."""
        host, port = self._at[_REDIS].split(":")
        settings = {
            "bind": host,
            "port": port,
            "requirepass": self._secrets.redis_password,
            "save": '""',
            "appendonly": "no",
            "maxmemory": _REDIS_BYTES,
            "maxmemory-policy": "noeviction",
            "dir": f'"{self._folder.data}"',
        }
        return Part(
            name=_REDIS,
            address=self._at[_REDIS],
            command=(redis_server(), "-"),
            environment=self._plain(),
            log=self._log(_REDIS),
            answers=redis_answers(broker),
            grace=5,
            feed="".join(f"{name} {value}\n" for name, value in settings.items()).encode(),
        )

    def _s3(self) -> Part:
        data = self._folder.data
        kind, program = s3_server(data)
        folder = data / kind
        folder.mkdir(mode=0o700, exist_ok=True)
        key, secret, address = self._secrets.s3_access_key, self._secrets.s3_secret_key, self._at[_S3]
        if kind == "minio":
            command = [program, "server", "--quiet", "--address", address]
            command += ["--console-address", self._at["console of s3"], str(folder)]
            own = {"MINIO_ROOT_USER": key, "MINIO_ROOT_PASSWORD": secret, "MINIO_UPDATE": "off", "MINIO_BROWSER": "off"}
        else:
            command = [program, "serve", "s3", "--addr", address, str(folder)]
            own = {"RCLONE_AUTH_KEY": f'"{key},{secret}"', "RCLONE_CONFIG": os.devnull}
        return Part(
            name=_S3,
            address=address,
            command=tuple(command),
            environment={**self._plain(), **own},
            log=self._log(_S3),
            answers=s3_answers(address),
            grace=5,
        )

    def _service(self, name: str, store: str, base: Mapping[str, str]) -> Part:
        metrics = self._at[f"metrics of {name}"]
        return Part(
            name=name,
            address=self._at[name],
            command=(sys.executable, "-c", "from repoloom_services.main import main; main()", name),
            environment={
                **base,
                "REPOLOOM_STORE": store,
                "REPOLOOM_SERVER_ADDRESS": self._at[name],
                "REPOLOOM_SERVER_CALLERS_FILE": str(self._folder.callers),
                "REPOLOOM_SERVER_METRICS_ADDRESS": metrics,
                "REPOLOOM_SERVER_DRAIN_SECONDS": str(_DRAIN_SECONDS),
            },
            log=self._log(name),
            answers=service_answers(self._at[name]),
            grace=2 * _DRAIN_SECONDS + 5,  # its calls, then its jobs
            metrics=metrics,
        )

    def _worker(self, store: str, broker: Broker, base: Mapping[str, str]) -> Part:
        many, metrics = self._wishes.workers, self._at[f"metrics of {_WORKER}"]
        code = "from repoloom.cli import main; main()"
        options = ("--store", store, "--concurrency", str(many))
        return Part(
            name=_WORKER,
            address=f"{many} tasks at a time" if many > 1 else "1 task at a time",
            command=(sys.executable, "-c", code, "worker", *options),
            environment={**base, "REPOLOOM_WORKER_METRICS_ADDRESS": metrics},
            log=self._log(_WORKER),
            answers=worker_answers(broker),
            grace=10,  # a task that takes longer is done again by the next worker
            metrics=metrics,
        )

    def _log(self, name: str) -> Path:
        return self._folder.logs / f"{name}.log"


def services_of(text: str) -> tuple[str, ...]:
    """The services that `all`, `none` or names with commas between stand for. Raises InputError."""
    if text in ("all", "none"):
        return tuple(Name) if text == "all" else ()
    wanted = {name.strip() for name in text.split(",")}
    if unknown := wanted.difference(Name):
        raise InputError(f"--services: {none_of(sorted(unknown)[0], Name)}")
    return tuple(name for name in Name if name in wanted)
