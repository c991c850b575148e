"""What the doctor found of one thing."""

from enum import StrEnum

from repoloom.corpus.manifest import Record


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # it works, or only something that few need does not
    FAIL = "fail"


class Finding(Record):
    """One line of the doctor."""

    subject: str
    verdict: Verdict
    said: str
    way_out: str = ""  # what to do about it

    @classmethod
    def ok(cls, subject: str, said: str) -> "Finding":
        """Nothing is wrong."""
        return cls(subject=subject, verdict=Verdict.OK, said=said)

    @classmethod
    def warn(cls, subject: str, said: str, way_out: str) -> "Finding":
        """Something may come to be wrong."""
        return cls(subject=subject, verdict=Verdict.WARN, said=said, way_out=way_out)

    @classmethod
    def fail(cls, subject: str, said: str, way_out: str) -> "Finding":
        """Something is wrong."""
        return cls(subject=subject, verdict=Verdict.FAIL, said=said, way_out=way_out)
