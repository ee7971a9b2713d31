"""The pipeline that commands use by default."""

FLAGSHIP = "battery_hazard"
"""Its folder in `worker.config.pipeline.SHIPPED_PIPELINES`."""
