"""How much of a run the page shows, so that it stays a page whatever the corpus."""

from pydantic import Field

from repoloom.corpus.manifest import Record


class Limits(Record):
    """Bounds on what is gathered."""

    examples: int = Field(default=5, ge=0)  # dropped files shown for a rule
    languages: int = Field(default=8, ge=1)  # columns of the table of drops
    syntax: int = Field(default=10, ge=1)  # languages whose syntax is shown apart
    licenses: int = Field(default=8, ge=1)
    clusters: int = Field(default=10, ge=0)
    members: int = Field(default=6, ge=1)  # removed repositories shown of a cluster
    failures: int = Field(default=50, ge=1)  # quarantined tasks shown
    hits: int = Field(default=20, ge=0)  # of benchmarks
    samples: int = Field(default=6, ge=0)  # of the model's infilling
    lines: int = Field(default=5, ge=1)  # of text before and after a sample's hole
    points: int = Field(default=400, ge=2)  # of a curve
    characters: int = Field(default=2000, ge=80)  # of any text that is not the page's own
