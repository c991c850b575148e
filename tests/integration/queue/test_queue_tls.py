"""Redis behind TLS: who has no certificate of the right authority is not let in, on either side."""

from pathlib import Path

import pytest
from certificates import Authority, Pair
from fleet import PASSWORD, Fleet
from tls import tls_before

from repoloom.engine.execute import load_step, params_model
from repoloom.engine.plan import Plan
from repoloom.engine.pool import Limits
from repoloom.engine.queue.broker import Broker
from repoloom.engine.queue.pool import CeleryPool
from repoloom.engine.task import Commit
from repoloom.errors import UnavailableError


def test_pool_and_workers_reach_redis_through_tls_with_certificates_and_not_without(
    fleet: Fleet, tmp_path: Path
) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    pool_pair, stranger = ours.issue("pool"), others.issue("stranger")
    with tls_before(fleet.redis.port, ours.issue("server"), ours.file) as port:
        url = {"REPOLOOM_REDIS_URL": f"rediss://127.0.0.1:{port}/0", "REPOLOOM_REDIS_PASSWORD": PASSWORD}

        def way(client: Pair, server: Authority = ours) -> dict[str, str]:
            certificate = {"REPOLOOM_REDIS_CERT": str(client.cert), "REPOLOOM_REDIS_KEY": str(client.key)}
            return {**url, "REPOLOOM_REDIS_CA": str(server.file), **certificate}

        fleet.start(**way(ours.issue("worker")))
        step = load_step("probe.make")
        plan = Plan(step(params_model(step)()), {}, str(fleet.folder / "made"), 1)
        with CeleryPool(Broker.from_environment(way(pool_pair)), Limits(seconds=20), fleet.pace) as pool:
            [outcome] = pool.run(map(plan.task, plan))
        assert isinstance(outcome.result, Commit)

        for wrong in (
            way(stranger),
            way(pool_pair, server=others),
            {**url, "REPOLOOM_REDIS_CA": str(ours.file)},
        ):
            with pytest.raises(UnavailableError, match=r"^rediss://127\.0\.0\.1:\d+/0 does not answer"):
                Broker.from_environment(wrong).check()
