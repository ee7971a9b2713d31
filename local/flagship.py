"""The pipeline that commands use where none is named."""

FLAGSHIP = "battery_hazard"
"""Its folder in `worker.config.pipeline.SHIPPED_PIPELINES`."""
