"""A nightly training: a classifier of wines, on data that scikit-learn carries.

Run by a schedule, or by hand: `python train.py` with PODSTACK_API_ENDPOINT and PODSTACK_API_TOKEN set.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import joblib
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from podstack import MLOpsClient


def configuration() -> dict[str, float]:
    """The schedule's configuration; nothing when somebody runs this by hand."""
    path = os.environ.get("PODSTACK_CONFIGURATION")
    return json.loads(Path(path).read_text()) if path else {}


def main() -> None:
    trees = int(configuration().get("trees", 20))
    data = load_wine()
    train_x, test_x, train_y, test_y = train_test_split(data.data, data.target, test_size=0.5, random_state=7)
    client = MLOpsClient()
    with client.start_run("wine") as run:
        run.log_params({"trees": trees})
        run.log_dataset("wine", path="sklearn.datasets.load_wine", context="training")
        model = RandomForestClassifier(n_estimators=trees, random_state=7).fit(train_x, train_y)
        accuracy = model.score(test_x, test_y)
        run.log_metric("accuracy", accuracy)
        joblib.dump(model, "model.joblib")
        run.log_artifact("model.joblib", "model")
        print(f"{trees} trees: accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
