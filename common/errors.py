"""The exception tree: kinds of failure that are handled differently."""

from common.redaction import redacted

USER_ERROR, DEPENDENCY_DOWN = 2, 3
"""Exit codes of the two errors that end a command."""


class UserError(Exception):
    """Only the user can fix it. The text says what is wrong and what to do, and is shown without a traceback.

    Passwords in addresses and properties are removed from the text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(redacted(text))


class UncertainError(Exception):
    """The result of the current transaction is unknown: restart from the committed offsets."""


class FencedError(UncertainError):
    """The group has a newer member with this worker's name. After a pause, that may be this worker itself."""


class DeniedError(UncertainError):
    """An ACL is missing: restart in place, and wait until it is granted."""

    dependency = "permissions"


class NameTakenError(UncertainError):
    """The group has a member of this name that has not left: restart in place, and wait until its session ends."""

    dependency = "group"


class SupersededError(Exception):
    """Another worker has started with this worker's name: stop at once."""


class RecreatedError(Exception):
    """The input topic was deleted and created again. Uncommitted messages may be from the old or the new topic."""


class DependencyDownError(Exception):
    """A service (broker, schema registry, MLflow) did not answer. The worker waits with backoff; never fatal.

    Attributes:
        dependency: its name as shown in `/ready`.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        self.dependency, self.reason = dependency, redacted(reason)
        super().__init__(f"{dependency}: {self.reason}")


class PendingSchemaError(DependencyDownError):
    """Some values of a batch have schemas that are unknown, and the schema registry does not answer.

    Attributes:
        rows: of those values.
    """

    def __init__(self, down: DependencyDownError, rows: list[int]) -> None:
        super().__init__(down.dependency, down.reason)
        self.rows = rows
