"""Takes files out of the corpus that hold text of the benchmarks it is to be judged by (arXiv 2401.14196, section 2.4).

The steps, and what each reads and writes:
    decontaminate.benchmarks: nothing -> benchmarks; the texts of the test sets that its parameters name
    decontaminate: documents, benchmarks -> documents, dropped, hits; files that share 10 words in a row with one go
"""

from repoloom.stages.decontaminate.benchmarks import LoadBenchmarks
from repoloom.stages.decontaminate.step import Decontaminate

STEPS = (LoadBenchmarks, Decontaminate)
