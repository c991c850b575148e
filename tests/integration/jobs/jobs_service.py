"""A replica of a service that has the batch face alone: given its settings as JSON, it prints where it listens."""

import json
import sys

from repoloom.jobs.settings import JobSettings
from repoloom.rpc.operations import job_services
from repoloom.rpc.server import serve
from repoloom.rpc.settings import ServerSettings
from repoloom.telemetry.logging import configure


def main() -> None:
    """Serves until it is told to stop."""
    wanted = json.loads(sys.argv[1])
    configure("WARNING")
    services = job_services("probe", wanted["stages"], JobSettings(**wanted["settings"]))
    serve(services, ServerSettings(address=wanted["address"], drain_seconds=2))


if __name__ == "__main__":
    main()
