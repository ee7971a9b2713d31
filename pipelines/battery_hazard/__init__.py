"""The flagship pipeline: sensor readings of battery modules in, hazard predictions and alarms out."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where pipeline file and schemas stand."""
