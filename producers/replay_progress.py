"""How far a replay got, in a small file, so that an interrupted one can go on."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from common.errors import UserError


class ReplayState(BaseModel):
    """The state file.

    Attributes:
        replay: digest of which file is read how and published where.
        delivered: readings, from the first, that the broker confirmed.
        start_ms: where the recording was moved to begin, so that it comes out with the same times again.
    """

    model_config = ConfigDict(extra="forbid")

    replay: str
    delivered: NonNegativeInt
    start_ms: PositiveInt | None


def load_state(path: Path, identity: str) -> ReplayState | None:
    """Read the state of the replay with this digest; None where there is none yet.

    Raises:
        UserError: the file holds something else, or the state of another replay.
    """
    if not path.is_file():
        return None
    try:
        state = ReplayState.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is not the state of a replay; delete it, or leave --resume out") from error
    if state.replay != identity:
        raise UserError(
            f"{path} belongs to a replay of another file or with other options; give those, "
            "another --state, or leave --resume out"
        )
    return state


def save_state(path: Path, state: ReplayState) -> None:
    """Write the state, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_text(state.model_dump_json())
        fresh.replace(path)  # never half a state
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); give another with --state") from error
