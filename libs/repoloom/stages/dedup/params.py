"""The parameters that all steps of deduplication share."""

from pydantic import Field

from repoloom.engine.step import Params


class DedupParams(Params):
    """What counts as a near-duplicate, and how much is spent on finding out.

    The paper gives no figures. Threshold and slots are those of The Stack (arXiv 2211.15533), which finds
    near-duplicates among the files of GitHub with 256 MinHash permutations at a Jaccard similarity of 0.85.
    """

    threshold: float = Field(
        default=0.85, ge=0.5, lt=1, description="Jaccard similarity from which one is a duplicate."
    )
    slots: int = Field(
        default=256, ge=16, le=4096, description="Slots of the MinHash signature that bands are cut from."
    )
    sketch: int = Field(default=1024, ge=64, le=65536, description="Hashes kept to verify: 1024 are good to 0.011.")
