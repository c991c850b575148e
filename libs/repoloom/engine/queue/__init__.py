"""Celery over Redis: messages carry tasks to workers anywhere. Redis holds only hints; the store is the truth."""
