"""What every test stands on.

Laws run the same examples each time, so that a red gate stays red until it is mended, and no
example is judged by how long it took: a busy machine is no fault.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gate",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# For a long hunt by hand: pytest --hypothesis-profile=hunt
settings.register_profile("hunt", deadline=None, max_examples=10_000)
settings.load_profile("gate")
