"""Settings of all tests."""

from hypothesis import settings

# Machines are as busy as they are: no example fails for the time that it takes. (In CI that is so anyway.)
settings.register_profile("untimed", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("untimed")
