"""Dead-letter reasons: codes that stay, and the table of the documentation."""

from common.dead_letter_reasons import DeadLetterReason
from schemas.errors import MalformedError
from tests.repository import ROOT

DOCUMENTATION = ROOT / "docs" / "dead-letters.md"


def test_a_reason_is_its_code_wherever_text_is_expected() -> None:
    assert (str(DeadLetterReason.LATE), f"{DeadLetterReason.LATE}", DeadLetterReason.LATE) == ("late",) * 3
    assert MalformedError.reason == "malformed"


def test_the_documentation_holds_every_reason_with_its_meaning_and_its_redrive_advice() -> None:
    text = DOCUMENTATION.read_text().replace("`", "")

    assert all(f"| {reason} | {reason.meaning} | {reason.redrive}" in text for reason in DeadLetterReason)
