"""A refusal says once what to do about it."""

from worker.admission.remedies import with_remedy
from worker.model.package_files import PackageError


def test_a_text_that_says_nothing_of_a_remedy_gets_one() -> None:
    assert with_remedy(PackageError("not_there", "there is no such model")).endswith("; correct the URI")


def test_a_model_that_is_not_trusted_is_not_advised_twice() -> None:
    text = "it is a Python function. If you trust its author, allow it with HAZARDSTREAM_MODEL_TRUST=sha256:12"
    assert with_remedy(PackageError("untrusted", text)) == text
