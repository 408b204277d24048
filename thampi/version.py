"""The version, in a place that every part may read."""

__version__ = "1.0.0"
