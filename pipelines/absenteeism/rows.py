"""The rows: UCI's `Absenteeism at work`, or generated ones of the same form."""

import io
import zipfile

import numpy as np
import pandas as pd

from training.datasets.source import Source

TARGET = "absence_hours"
EMPLOYEE = "employee_id"
CODES = ("reason_code", "month", "day_of_week", "season", "education_level")
"""Numbers that name a kind rather than an amount."""
FEATURES = (
    "reason_code",
    "month",
    "day_of_week",
    "season",
    "transportation_expense",
    "distance_km",
    "service_years",
    "age_years",
    "workload_per_day",
    "hit_target_percent",
    "disciplinary_failure",
    "education_level",
    "children",
    "social_drinker",
    "social_smoker",
    "pets",
    "weight_kg",
    "height_cm",
    "body_mass_index",
)
_COLUMNS = (EMPLOYEE, *FEATURES, TARGET)


def read(content: bytes) -> pd.DataFrame:
    """The rows of the published file: a CSV with commas or semicolons, or the archive that holds it.

    Raises:
        ValueError: the content is neither.
    """
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read("Absenteeism_at_work.csv")
    separator = ";" if b";" in content.partition(b"\n")[0] else ","
    frame = pd.read_csv(io.BytesIO(content), sep=separator)
    if frame.shape[1] != len(_COLUMNS):
        raise ValueError(f"{frame.shape[1]} columns, not {len(_COLUMNS)}")
    frame.columns = pd.Index(_COLUMNS)
    return frame.astype({EMPLOYEE: str} | dict.fromkeys((*FEATURES, TARGET), np.float64))


def generate(seed: int, rows: int = 740, employees: int = 36) -> pd.DataFrame:
    """Rows of the same form: 36 employees with traits of their own, and absences that depend on the reason.

    Reasons up to 21 are diseases (long absences), those from 22 on appointments (short ones), as in the published rows.
    """
    rng = np.random.default_rng(seed)
    who = rng.integers(0, employees, rows)
    height = rng.normal(172, 6, employees).clip(150, 200).round()
    weight = rng.normal(79, 13, employees).clip(50, 120).round()
    traits = {
        "transportation_expense": rng.integers(118, 389, employees),
        "distance_km": rng.integers(5, 53, employees),
        "service_years": rng.integers(1, 30, employees),
        "age_years": rng.integers(27, 59, employees),
        "education_level": rng.choice([1, 2, 3, 4], employees, p=[0.82, 0.06, 0.11, 0.01]),
        "children": rng.integers(0, 5, employees),
        "social_drinker": rng.integers(0, 2, employees),
        "social_smoker": rng.random(employees) < 0.07,
        "pets": rng.integers(0, 5, employees),
        "weight_kg": weight,
        "height_cm": height,
        "body_mass_index": (weight / (height / 100) ** 2).round(),
    }
    reason = rng.choice(np.arange(1, 29), rows)
    failure = rng.random(rows) < 0.05
    month = rng.integers(1, 13, rows)
    hours = np.where(reason <= 21, rng.lognormal(2.3, 0.8, rows), rng.lognormal(1.0, 0.5, rows))
    hours *= 1 + 0.2 * traits["children"][who] / 4
    columns = {
        EMPLOYEE: (who + 1).astype(str),
        "reason_code": np.where(failure, 0, reason),
        "month": month,
        "day_of_week": rng.integers(2, 7, rows),
        "season": (month % 12) // 3 + 1,
        "workload_per_day": rng.normal(271, 39, rows).clip(200, 380).round(3),
        "hit_target_percent": rng.integers(81, 101, rows),
        "disciplinary_failure": failure,
        TARGET: np.where(failure, 0, hours.clip(1, 120).round()),
        **{name: values[who] for name, values in traits.items()},
    }
    frame = pd.DataFrame(columns)[list(_COLUMNS)]
    return frame.astype(dict.fromkeys((*FEATURES, TARGET), np.float64))


SOURCE = Source(
    file="absenteeism_at_work.csv",
    url="https://archive.ics.uci.edu/static/public/445/absenteeism+at+work.zip",
    sha256="d723fab7bc092cc010e664d143235b06b74b0e59930c4e74c476ebfc09505ffe",
    read=read,
    generate=generate,
    licence="CC BY 4.0, Martiniano and Ferreira 2018, UCI Machine Learning Repository, doi:10.24432/C5X882",
)
