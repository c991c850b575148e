"""Order: the files of a repository become documents in which what a file needs comes before it."""

from repoloom.stages.order.step import Order

STEPS = (Order,)
