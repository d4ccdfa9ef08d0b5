import resource
import subprocess
import sys

LOWERED = """
import resource
from gateway.supervise.descriptors import permit_descriptors
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
permit_descriptors()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    told = subprocess.run(
        [sys.executable, "-c", LOWERED], check=True, capture_output=True, text=True
    ).stdout
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert told.split() == [str(hard)] * 2
