"""repoloom: from git repositories to a trained, evaluated and served code model."""

__version__ = "0.1.0"
