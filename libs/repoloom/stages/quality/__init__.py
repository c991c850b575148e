"""quality: files with syntax errors or hardly any readable code leave their documents (arXiv 2401.14196, section 2.4).

    documents -> quality -> documents, scores, dropped

`syntax` measures how much of a file its grammar cannot read, `isolated` does so out of harm's way, `style` scores how
it is written. Both verdicts on each file go to the table `scores`, whether the file stays or not.
"""

from repoloom.stages.quality.step import Quality

STEPS = (Quality,)
