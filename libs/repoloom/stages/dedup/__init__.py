"""Near-duplicates at the level of repositories: a repository's code is one sample (arXiv 2401.14196, section 2.3).

The steps, and what each reads and writes:
    dedup.signatures: documents -> signatures, bands; a sketch of each repository, and the buckets it falls into
    dedup.bands: bands -> candidates; the pairs that share a bucket, a task for each band
    dedup.components: candidates, signatures -> clusters, alarms; who is removed, for whom, on what evidence
    dedup.survivors: documents, clusters -> documents, dropped
"""

from repoloom.stages.dedup.bands import Bands
from repoloom.stages.dedup.components import Components
from repoloom.stages.dedup.signatures import Signatures
from repoloom.stages.dedup.survivors import Survivors

STEPS = (Signatures, Bands, Components, Survivors)
