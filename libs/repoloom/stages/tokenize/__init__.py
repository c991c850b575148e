"""tokenize: a byte-level BPE trained on the corpus, and documents as pieces of token ids, half of them with a hole."""

from repoloom.stages.tokenize.encode import Encode
from repoloom.stages.tokenize.vocabulary import Vocabulary

STEPS = (Vocabulary, Encode)
