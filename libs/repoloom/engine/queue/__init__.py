"""Celery over Redis: messages carry tasks to workers anywhere. Redis holds only hints; the store is the truth."""

REDIS_URL = "REPOLOOM_REDIS_URL"
"""The variable that says where Redis is. Here, for those who ask whether there is one and need none of its client."""
