"""filter: which files are worth reading at all, by StarCoder's rules with the numbers of arXiv 2401.14196, section 2.1.

    files -> filter -> files, dropped

The rules in the order in which they are asked; the first that a file fails is the one it is dropped by:

    binary, not_utf8, empty         `decode`: no text
    language                        `repoloom.corpus.languages`: none of the 87, nor prose
    vendored, generated, minified   somebody else's code, a program's output
    xml, average_line_length, ...   `rules`: what the text measures
    exact_duplicate                 `step`: a copy of another file of the repository
"""

from repoloom.stages.filter.step import Filter

STEPS = (Filter,)
