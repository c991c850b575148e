"""The command line, `repoloom`. What a command needs is imported when it runs, so that help comes at once."""


def main() -> None:
    """The entry point."""
    from repoloom.cli.app import app
    from repoloom.processes import conceal

    conceal()
    app()
