"""Reads the evidence for a promotion from the topics."""

from pathlib import Path

from training.monitoring.performance.labels import labels_from
from training.monitoring.topics import MonitoringTopics
from training.promotion.evidence import Evidence, ShadowRecords
from training.promotion.labels_file import read_labels


def gather(topics: MonitoringTopics, versions: tuple[str, str], labels: Path | None) -> Evidence:
    """The evidence on two versions of a model.

    Args:
        topics: of the pipeline.
        versions: of champion and challenger.
        labels: file of labels; None: the topic of labels.
    """
    shadowed = ShadowRecords(topics.pipeline, versions)
    for record in topics.news("shadow"):
        shadowed.add(record)
    known = (
        labels_from(topics.news("labels"), topics.pipeline)
        if labels is None
        else read_labels(labels, topics.pipeline.input)
    )
    return shadowed.evidence(known, topics.news("alarms"), topics.monitor.performance.horizon_ms)
