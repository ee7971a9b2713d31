"""Features as a pandas DataFrame, as models that were trained on one expect them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from worker.model.contract import Features, InputType, ModelInput

if TYPE_CHECKING:
    import pandas as pd

_DECLARED: dict[InputType, type] = {
    "double": np.float64,
    "float": np.float32,
    "long": np.int64,
    "integer": np.int32,
    "boolean": np.bool_,
}
# Integers and booleans have no missing value, doubles have.
_WITH_MISSING: dict[InputType, type] = {"double": np.float64, "float": np.float32}

Frame = Callable[[Features], "pd.DataFrame"]


def frames(inputs: tuple[ModelInput, ...]) -> tuple[Frame, ...]:
    """Ways to make a DataFrame of features: with integers and booleans as doubles; then as declared, if that differs.

    Columns are in the order of the inputs. Missing texts are None.

    Raises:
        ImportError: pandas is not installed.
    """
    import pandas as pd  # noqa: PLC0415 - only models of these formats need it

    numeric = tuple(each.name for each in inputs if not each.categorical)
    declared = {each.name: _DECLARED[each.type] for each in inputs if not each.categorical}
    lenient = {each.name: _WITH_MISSING.get(each.type, np.float64) for each in inputs if not each.categorical}
    doubles = all(dtype is np.float64 for dtype in lenient.values()) and len(numeric) == len(inputs)

    def of_one_block(features: Features) -> pd.DataFrame:
        return pd.DataFrame(features.numbers, columns=list(numeric), copy=False)

    def of(dtypes: dict[str, type]) -> Frame:
        def frame(features: Features) -> pd.DataFrame:
            columns = features.by_name(numeric)
            return pd.DataFrame(
                {
                    each.name: pd.Series(columns[each.name], dtype=object)
                    if each.categorical
                    else columns[each.name].astype(dtypes[each.name])
                    for each in inputs
                }
            )

        return frame

    first = of_one_block if doubles else of(lenient)
    return (first,) if declared == lenient else (first, _without_missing(of(declared), inputs, numeric))


def _without_missing(frame: Frame, inputs: tuple[ModelInput, ...], numeric: tuple[str, ...]) -> Frame:
    """NumPy would turn a missing value into the smallest integer, or True."""
    whole = [numeric.index(each.name) for each in inputs if each.type in {"long", "integer", "boolean"}]

    def checked(features: Features) -> "pd.DataFrame":
        if np.isnan(features.numbers[:, whole]).any():
            raise ValueError("an integer or boolean column has no value")
        return frame(features)

    return checked
