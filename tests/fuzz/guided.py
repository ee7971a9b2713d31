"""`python -m tests.fuzz.guided SECONDS [CORPUS]`: atheris (libFuzzer) mutates values towards code not reached yet.

Each input is a value in either wire format, judged as in `python -m tests.fuzz`. The directory CORPUS begins with valid
values and keeps what was found worth keeping, for the next run.
"""

import sys
from pathlib import Path
from random import Random

import atheris  # type: ignore[import-untyped]  # it has no types

with atheris.instrument_imports(
    include=["schemas", "worker.score.decode", "schemas.columnar_decoder", "worker.score.readings"]
):
    from tests.fuzz.judge import Judge  # which imports these, instrumented

from tests.fuzz.payloads import source
from tests.fuzz.writers import Writers

SEEDS, EVOLVED = 400, 60


def main(seconds: str, corpus: str = "build/fuzz-corpus") -> None:
    """Fuzz for this number of seconds. libFuzzer prints what it does, and stops at the first difference."""
    rng = Random(1)
    writers = Writers(rng, EVOLVED)
    judge = Judge(writers)

    def one_input(data: bytes) -> None:
        # Twice in one batch: columns of one row and of several take different ways.
        values = [data, data]
        judge.compare(values, *judge.decode(values))

    directory = Path(corpus)
    directory.mkdir(parents=True, exist_ok=True)
    for i, value in enumerate(source(rng, writers, SEEDS).intact):
        (directory / f"valid-{i}").write_bytes(value)
    options = [f"-max_total_time={seconds}", "-max_len=2000", "-timeout=5", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={directory}/found-", corpus], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
