"""What a gateway's metrics say, read from its management port."""

from prometheus_client.parser import text_string_to_metric_families

from bench import managed
from bench.launch import Server


def read(server: Server) -> str:
    """The page as it is now. Raises: OSError, NeverSo."""
    connection = managed.connect(server)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def total(page: str, name: str, **labels: str) -> float:
    """The sum of all samples of that name which have those labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
