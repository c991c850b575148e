"""How text becomes what a model reads: rendered here once, for training, evaluation and serving."""
