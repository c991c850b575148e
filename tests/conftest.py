"""What holds for every test: a property test may take the time it needs, however busy the machine is."""

from hypothesis import settings

settings.register_profile("repoloom", deadline=None)
settings.load_profile("repoloom")
