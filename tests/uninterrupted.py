"""Score a test's whole input in one uninterrupted run, and compare the committed output with the result."""

import itertools

from local.audit import read
from tests.comparison import Comparison, Expected, compare, dead_letter_source, with_wrong_time
from tests.harness import Stage
from worker.alarms.alarms import MODEL
from worker.alarms.state_machine import IDLE
from worker.config.alarm_section import rules_in_force
from worker.consume.message_columns import batch_of
from worker.model.package import load_package
from worker.score.scorer import Scorer, scorer_of
from worker.windows.partition import Partition


def uninterrupted_run(stage: Stage, *, at_a_time: int = 20_000) -> Expected:
    """Score the whole input topic in this process, without Kafka's help and without a stop."""
    package = load_package(stage.model, version="offline")
    rules = rules_in_force(stage.pipeline)
    scorer = scorer_of(stage.pipeline, package, package.policy, stage.writer_schema_of, rules=rules)
    return score_all(stage, scorer, {}, at_a_time=at_a_time)


def score_all(stage: Stage, scorer: Scorer, partitions: dict[int, Partition], *, at_a_time: int = 20_000) -> Expected:
    """Score the whole input topic with this scorer; `partitions` gets the state of each."""
    expected = Expected()
    messages = read(stage.pipeline.input.topic, stage.bootstrap)
    while some := list(itertools.islice(messages, at_a_time)):
        batch = batch_of(some)
        for number in set(batch.partition.tolist()) - partitions.keys():
            partitions[number] = Partition(number, 0, 0)
            scorer.alarms.assign(number, {})
        outcome = scorer.process(batch, partitions)
        scorer.merge(outcome, partitions)
        scored = outcome.scored
        addresses = [(some[row].partition(), some[row].offset()) for row in scored.readings.row.tolist()]
        expected.probability |= zip(addresses, scored.probability.tolist(), strict=True)
        expected.in_window |= zip(addresses, scored.in_window.tolist(), strict=True)
        for rejection in outcome.rejections:
            message = some[rejection.row]
            expected.rejected[message.partition(), message.offset()] = rejection.reason
            expected.rejected_ms[message.partition(), message.offset()] = max(message.timestamp()[1], 0)
        expected.deduplicated += outcome.deduplicated
        expected.transitions += [
            (scored.readings.key[t.row], t.rule, t.kind, int(scored.readings.ts[t.row]))
            for t in outcome.alarms.transitions
        ]
        expected.alarm_states |= {place: state for place, (_, state) in outcome.alarms.changed.items()}
    expected.transitions.sort()
    expected.alarm_states = {place: state for place, state in expected.alarm_states.items() if state != IDLE}
    return expected


def compare_with_uninterrupted_run(stage: Stage) -> tuple[Expected, Comparison]:
    """What should be there, and how the committed output differs from it."""
    expected = uninterrupted_run(stage)
    return expected, compare(
        expected,
        predictions=stage.stream("predictions"),
        dead_letters=(with_wrong_time(m, expected) or dead_letter_source(m) for m in stage.dead_letters()),
        transitions=((r["module_id"], r["rule"] or MODEL, r["state"], r["ts"]) for r in stage.stream("alarms")),
        alarm_states=stage.alarm_states(),
    )


def assert_equals_uninterrupted_run(stage: Stage) -> Expected:
    """The committed output is that of one uninterrupted run: the property of the whole project."""
    expected, found = compare_with_uninterrupted_run(stage)
    assert not any(found.faults.values()), "\n".join([str(found.faults), *found.examples])
    return expected
