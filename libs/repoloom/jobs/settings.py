"""What a service lets its jobs do, and where."""

from pydantic import ConfigDict, Field, model_validator

from repoloom.cores import cores
from repoloom.corpus.manifest import Record


class JobSettings(Record):
    """Each replica of a service has the same, but for what is said of a replica.

    The command line of a service gives the first three; the rest comes from variables REPOLOOM_JOBS_*.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    root: str  # address below which all datasets of the service's callers lie, and the records of its jobs
    benchmarks: str | None = None  # folder of benchmark files, which parameters may name
    local_files: bool = False  # whether parameters may name any file of the machines that tasks run on
    runners: int = Field(default=2, ge=1, le=1000)  # jobs that a replica runs at once; more wait
    workers: int = Field(default_factory=cores, ge=1, le=1000)  # processes of a runner that has no queue
    open_jobs: int = Field(default=1000, ge=1, le=100_000)  # that have not ended; more are refused
    task_seconds: float = Field(default=5 * 3600, gt=0)  # the most that a request may allow one attempt of a task
    task_memory_bytes: int = Field(default=64 << 30, gt=0)  # likewise
    retention_days: float = Field(default=30, ge=0, le=36_500)  # of the record of a job that ended; 0: for ever
    beat_seconds: float = Field(default=1, gt=0)  # how often a runner says that it lives, and its keeper looks at it
    silence_seconds: float = Field(default=15, gt=0)  # after which a runner is taken for dead

    @model_validator(mode="after")
    def _patient(self) -> "JobSettings":
        if self.silence_seconds < 3 * self.beat_seconds:
            raise ValueError("silence_seconds is below three times beat_seconds: runners that live would be replaced")
        return self
