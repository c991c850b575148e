"""What one repository may take of the machine that crawls it."""

from pydantic import Field

from repoloom.engine.step import Params
from repoloom.stages.crawl.errors import RepositoryTooLargeError

RATIO_COUNTS_FROM = 8 << 20  # bytes: below it a high ratio is a file of zeros in somebody's test data, and harmless


class Limits(Params):
    """The limits of one repository. A file past a file's limit is dropped; a repository past its own is given up."""

    max_file_bytes: int = Field(default=1 << 20, ge=1, description="Of one file (arXiv 2305.06161 section 3.1).")
    max_repository_bytes: int = Field(default=256 << 20, ge=1, description="Of one repository, unpacked.")
    max_files: int = Field(default=100_000, ge=1, description="Of one repository.")
    max_depth: int = Field(default=64, ge=1, description="Components of a path.")
    max_path_bytes: int = Field(default=1024, ge=1, description="Length of a path.")
    max_ratio: float = Field(default=250, gt=1, description="Unpacked to packed: sources come to 3-20, bombs to 1032.")
    timeout: float = Field(default=600, gt=0, description="Seconds that one client or download may take.")


class Budget:
    """Counts what one repository takes. Every source spends through here, and here alone is it stopped."""

    def __init__(self, subject: str, limits: Limits) -> None:
        self.subject = subject  # what its errors are about
        self.limits = limits
        self.files = 0
        self.bytes = 0

    def spend(self, size: int) -> None:
        """Counts one file of `size` bytes. Raises RepositoryTooLargeError."""
        self.files += 1
        self.bytes += size
        self.check_files(self.files)
        self.check_bytes(self.bytes)

    def check_files(self, files: int) -> None:
        """Raises RepositoryTooLargeError where there are too many files."""
        if files > self.limits.max_files:
            raise self._exceeded("max_files", f"{self.limits.max_files} files")

    def check_bytes(self, size: int) -> None:
        """Raises RepositoryTooLargeError where there are too many bytes."""
        if size > self.limits.max_repository_bytes:
            raise self._exceeded("max_repository_bytes", f"{self.limits.max_repository_bytes} bytes")

    def check_unpacked(self, size: int, packed: int) -> None:
        """Raises RepositoryTooLargeError where an archive unpacks to too much, or to too much for its size."""
        self.check_bytes(size)
        self.check_ratio(size, packed)

    def check_ratio(self, size: int, packed: int) -> None:
        """Raises RepositoryTooLargeError where what has `packed` bytes unpacks to too much for that."""
        if size > RATIO_COUNTS_FROM and size > packed * self.limits.max_ratio:
            raise self._exceeded("max_ratio", f"{self.limits.max_ratio:g} times its packed size")

    def _exceeded(self, limit: str, most: str) -> RepositoryTooLargeError:
        return RepositoryTooLargeError(f"{self.subject} has more than {most}; {limit} sets this limit")
