"""The stages of the data path, one package each, pure: none knows where it runs, and none imports another."""
