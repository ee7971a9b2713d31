"""The progress of a replay, in a small file, so that an interrupted replay can be resumed."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from common.errors import UserError


class ReplayState(BaseModel):
    """The state file.

    Attributes:
        replay: digest of the file, how it is read and where it is published.
        delivered: how many readings, from the first, the broker confirmed.
        start_ms: event time that the recording was moved to begin at; a resumed replay uses the same.
    """

    model_config = ConfigDict(extra="forbid")

    replay: str
    delivered: NonNegativeInt
    start_ms: PositiveInt | None


def load_state(path: Path, identity: str) -> ReplayState | None:
    """Read the state of the replay with this digest; None if there is no file.

    Raises:
        UserError: the file is not a state file, or belongs to another replay.
    """
    if not path.is_file():
        return None
    try:
        state = ReplayState.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is not the state of a replay; delete it, or omit --resume") from error
    if state.replay != identity:
        raise UserError(
            f"{path} belongs to a replay of another file or with other options; give those, "
            "give another --state, or omit --resume"
        )
    return state


def save_state(path: Path, state: ReplayState) -> None:
    """Write the state file atomically.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(state.model_dump_json())
        fresh.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name another with --state") from error
