"""Records: the tables of what is kept of requests, beside their counts.

Job    the settings of logs and feedback.
Life   parts of the tree of tables.py.
"""

from pathlib import Path

from gateway.config.kinds import AnyPath, Ratio, Secrets, Table


class FeedbackConfig(Table):
    """Who may send true labels."""

    keys: Secrets = ()
    """API keys that may."""


class ExposureLogConfig(Table):
    """Which unit was given to which variant, as JSON lines, where documents are sticky."""

    enabled: bool = False
    """Whether they are written."""
    path: AnyPath = Path(".gateway/exposures.jsonl")
    """The file; replicas share it."""


class PayloadLogConfig(Table):
    """Sampled requests and answers, as JSON lines."""

    enabled: bool = False
    """Whether they are written."""
    path: AnyPath = Path(".gateway/payloads.jsonl")
    """The file."""
    sample_ratio: Ratio = 0.01
    """How many of them, from 0 to 1."""
