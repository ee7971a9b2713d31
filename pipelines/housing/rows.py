"""The rows: California's districts in the census of 1990, or generated ones of the same form."""

import io

import numpy as np
import pandas as pd

from training.datasets.source import Source, wanted

TARGET = "median_house_value"
NUMBERS = (
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
)
PROXIMITY = "ocean_proximity"
_PLACES = ("<1H OCEAN", "INLAND", "NEAR OCEAN", "NEAR BAY")


def read(content: bytes) -> pd.DataFrame:
    """The rows of the published CSV.

    Raises:
        ValueError: the content is another.
    """
    frame = wanted(pd.read_csv(io.BytesIO(content)), [*NUMBERS, PROXIMITY, TARGET])
    return frame.astype(dict.fromkeys((*NUMBERS, TARGET), np.float64) | {PROXIMITY: object})


def generate(seed: int, rows: int = 20_640) -> pd.DataFrame:
    """Rows of the same form. Houses are worth more where incomes are high and the ocean is near."""
    rng = np.random.default_rng(seed)
    place = rng.choice(len(_PLACES), rows, p=[0.44, 0.32, 0.13, 0.11])
    centre, spread = np.array([34.0, 36.8, 34.7, 37.8])[place], np.array([0.8, 2.0, 2.0, 0.4])[place]
    latitude = (centre + rng.normal(0, spread)).clip(32.5, 42)
    households = rng.lognormal(6.0, 0.7, rows).round() + 1
    rooms = households * rng.lognormal(1.65, 0.25, rows)
    bedrooms = np.where(rng.random(rows) < 0.01, np.nan, (households * rng.lognormal(0.06, 0.1, rows)).round())
    income = rng.lognormal(1.24, 0.47, rows).clip(0.5, 15)
    factor = np.array([1.0, 0.6, 1.1, 1.15])[place]
    value = (45_000 * income * factor + 20_000) * rng.lognormal(0, 0.25, rows)
    return pd.DataFrame(
        {
            "longitude": (-119.5 - (latitude - 35.6) * 0.9 + rng.normal(0, 0.5, rows)).clip(-124.4, -114.3),
            "latitude": latitude,
            "housing_median_age": rng.integers(1, 53, rows).astype(np.float64),
            "total_rooms": rooms.round(),
            "total_bedrooms": bedrooms,
            "population": (households * rng.lognormal(1.05, 0.25, rows)).round(),
            "households": households,
            "median_income": income.round(4),
            PROXIMITY: np.array(_PLACES, object)[place],
            TARGET: value.clip(15_000, 500_001).round(),
        }
    )


def ten_years_later(frame: pd.DataFrame, growth: float = 0.35) -> pd.DataFrame:
    """The same districts after incomes and values have grown: drift with a known cause.

    Args:
        frame: rows.
        growth: of incomes, 0.35 for a third more; values grow by half as much again.
    """
    later = frame.copy()
    later["median_income"] = (later["median_income"] * (1 + growth)).clip(upper=20).round(4)
    later["housing_median_age"] = (later["housing_median_age"] + 10).clip(upper=100)
    later[TARGET] = (later[TARGET] * (1 + 1.5 * growth)).round()
    return later


SOURCE = Source(
    file="california_housing.csv",
    url="https://raw.githubusercontent.com/ageron/handson-ml/master/datasets/housing/housing.csv",
    sha256="f78456cb74e99b592654ebcb36ad7412ef390cbdd17cb253116242aab70ec492",
    read=read,
    generate=generate,
    licence="public: Pace and Barry 1997, StatLib, in the form of github.com/ageron/handson-ml",
)
