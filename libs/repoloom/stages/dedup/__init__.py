"""Near-duplicates at the level of repositories: all the code of a repository is one sample (arXiv 2401.14196, section 2.3).

    documents -> dedup.signatures -> signatures, bands     a sketch of each repository, and the buckets it falls into
    bands -> dedup.bands -> candidates                     pairs that share a bucket, one task a band
    candidates, signatures -> dedup.components -> clusters, alarms      who is removed, for whom, on what evidence
    documents, clusters -> dedup.survivors -> documents, dropped
"""

from repoloom.stages.dedup.bands import Bands
from repoloom.stages.dedup.components import Components
from repoloom.stages.dedup.signatures import Signatures
from repoloom.stages.dedup.survivors import Survivors

STEPS = (Signatures, Bands, Components, Survivors)
