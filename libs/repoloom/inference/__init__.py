"""Inference: filling in the middle with an exported model."""
