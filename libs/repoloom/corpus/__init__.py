"""What a dataset is: tables, parts, manifests, the ledger. Knows nothing of stages or of where tasks run."""
