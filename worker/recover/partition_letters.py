"""Dead letters about one partition of the input."""

from collections.abc import Callable, Iterator

from worker.config.pipeline import Pipeline
from worker.encode.dead_letter import Letter, letter_of
from worker.kafka.topic_reader import Span, TopicReader


def letters_about(
    reader: TopicReader, pipeline: Pipeline, topic_id: str, number: int, span: Span, beat: Callable[[], None]
) -> Iterator[Letter]:
    """The dead letters whose originals are on a partition of the input, in order.

    Args:
        reader: of any topic.
        pipeline: names the topics.
        topic_id: id of the input topic; empty if it is not known. It excludes letters of a deleted topic of the same
            name, whose records had the same offsets.
        number: of the input partition, and so of the partition of the dead-letter topic.
        span: offsets of the dead-letter topic to read.
        beat: called regularly, because a long topic takes time (about 40,000 letters a second).

    Raises:
        DependencyDownError: the broker does not answer, or the topic cannot be read; call again.
    """
    source = pipeline.input.topic, number
    for messages in reader.read(pipeline.outputs.dead_letters.topic, {number: span}):
        beat()
        for letter in filter(None, map(letter_of, messages)):
            # Letters of older workers, and those on brokers without topic ids, have no id.
            if letter.source[:2] == source and (not topic_id or letter.topic_id in {"", topic_id}):
                yield letter
