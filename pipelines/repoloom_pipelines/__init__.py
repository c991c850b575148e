"""Repoloom as Kubeflow pipelines: each task is one library call on a store, and the store is the truth."""
