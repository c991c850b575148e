"""Evaluation: bits per byte and single-line infilling on held-out code, the trained model beside the untrained one."""
