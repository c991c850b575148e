"""Batch jobs: stages run over datasets for a service's callers, with all state in the object store."""
