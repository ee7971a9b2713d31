"""The kinds of failure the worker tells apart."""

from common.redaction import redacted


class UserError(Exception):
    """Something only the user can put right. The text says what is wrong and what to do; shown without a traceback.

    Passwords in addresses and properties are taken out of the text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(redacted(text))


class UncertainError(Exception):
    """It is not known how the transaction in hand ended: restart from what is committed."""


class FencedError(UncertainError):
    """The group has another member under this one's name, which this very worker may have joined as after a pause."""


class DeniedError(UncertainError):
    """The broker refuses something for want of an ACL: restart in place, and wait for what is missing."""

    dependency = "permissions"


class NameTakenError(UncertainError):
    """The group has a member of this name that has not left: restart in place, until its session has ended."""

    dependency = "group"


class SupersededError(Exception):
    """Another worker has started under this one's name: stop at once."""


class RecreatedError(Exception):
    """The input topic was deleted and created again: what was fetched and not committed may be of either."""


class DependencyDownError(Exception):
    """A service (broker, schema registry, MLflow) did not answer. Waited for with backoff, never fatal.

    Attributes:
        dependency: its name as shown in `/ready`.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        self.dependency, self.reason = dependency, redacted(reason)
        super().__init__(f"{dependency}: {self.reason}")


class PendingSchemaError(DependencyDownError):
    """Writer schemas of some values in a batch are not known yet and cannot be asked for.

    Attributes:
        rows: those values.
    """

    def __init__(self, down: DependencyDownError, rows: list[int]) -> None:
        super().__init__(down.dependency, down.reason)
        self.rows = rows
