"""How far the server is: whether it lives, and whether it answers."""

from repoloom.errors import UnavailableError
from repoloom_inference.served import Served


class State:
    """What probes ask for, and what answers where there is something."""

    def __init__(self) -> None:
        self._served: Served | None = None
        self.draining = False

    def serve(self, served: Served) -> None:
        """Has a model answer that has answered before."""
        self._served = served

    def stop(self) -> None:
        """Ends what still runs."""
        if self._served is not None:
            self._served.engine.stop()

    @property
    def alive(self) -> bool:
        """Whether it may still become, or is, of use; else it is to be started anew."""
        return self._served is None or self.draining or self._served.engine.alive

    @property
    def ready(self) -> bool:
        """Whether it is to be sent requests."""
        return self._served is not None and not self.draining and self._served.engine.alive

    @property
    def served(self) -> Served:
        """The model. Raises UnavailableError while there is none."""
        if self._served is None:
            raise UnavailableError("the model is being loaded")
        return self._served
