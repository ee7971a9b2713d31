"""An HTTP service on pandas: one request per reading, with features that the client computed.

FastAPI and uvicorn as in https://fastapi.tiangolo.com; each row becomes a data frame, as in a notebook.
"""

import numpy as np
import pandas as pd
import uvicorn
import xgboost
from fastapi import FastAPI

from benchmarks.peers.job import read_task


def main(file: str) -> None:
    """Serve until killed."""
    task = read_task(file)
    booster = xgboost.Booster(model_file=task.booster)
    booster.set_param({"nthread": 1})
    mean, scale = np.array(task.mean), np.array(task.scale)
    app = FastAPI()

    @app.post("/predict")
    def predict(features: dict[str, float | None]) -> dict[str, float | bool]:
        frame = (pd.DataFrame([features], dtype=float) - mean) / scale
        probability = float(booster.inplace_predict(frame)[0])
        return {"hazard_probability": probability, "hazardous": probability >= task.threshold}

    uvicorn.run(app, host="127.0.0.1", port=task.port, access_log=False, log_level="warning")
