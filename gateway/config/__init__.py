"""Config: everything an operator can set, read once, whole, or not at all.

Job    one tree of settings from a TOML file, overridden by environment, then flags.
Life   read when the program starts; frozen.
Never  known to a room: the application turns it into each room's own policy.
"""

from gateway.config.faults import ConfigError
from gateway.config.load import load
from gateway.config.model import parse_model
from gateway.config.tables import Config

__all__ = ["Config", "ConfigError", "load", "parse_model"]
