"""Near-duplicates at the level of repositories: a repository's code is one sample (arXiv 2401.14196, section 2.3).

Repositories are cut into partitions, each a run of the signatures' parts, as many as the data needs. Rows travel
between partitions as parts named by their destination, so no task holds more than a partition; only dedup.resolve sees
the whole graph, as numbers: a byte for each repository.

The steps, and what each reads and writes:
    dedup.numbers: nothing -> numbers; what a plan tells its tasks by
    dedup.signatures: documents -> signatures; a sketch of each repository, and the buckets it falls into
    dedup.bands: signatures -> banded, ...; each repository's buckets, sent to where all that share one meet
    dedup.candidates: banded -> candidates, requests; the pairs to compare, and whose sketches must travel for it
    dedup.fetch: requests, signatures -> shipped; the sketches, sent to those they are compared with
    dedup.verify: candidates, shipped, signatures -> similar, evidence; the pairs that are similar enough
    dedup.resolve: similar -> verdicts; who is removed for whom
    dedup.clusters: verdicts, evidence -> clusters, removals, losses; on what evidence
    dedup.alarms: losses, signed -> alarms; the sources of which nothing is left
    dedup.survivors: documents, removals -> documents, dropped
"""

from repoloom.stages.dedup.alarms import Alarms
from repoloom.stages.dedup.bands import Bands
from repoloom.stages.dedup.candidates import Candidates
from repoloom.stages.dedup.clusters import Clusters
from repoloom.stages.dedup.fetch import Fetch
from repoloom.stages.dedup.numbers import Numbers
from repoloom.stages.dedup.resolve import Resolve
from repoloom.stages.dedup.signatures import Signatures
from repoloom.stages.dedup.survivors import Survivors
from repoloom.stages.dedup.verify import Verify

STEPS = (Numbers, Signatures, Bands, Candidates, Fetch, Verify, Resolve, Clusters, Alarms, Survivors)
