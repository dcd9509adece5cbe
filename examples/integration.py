"""From training to predictions: track a run, register its model, promote it, deploy it, ask it.

    export PODSTACK_API_ENDPOINT=… PODSTACK_API_TOKEN=… PODSTACK_PROJECT=…
    python examples/integration.py

Needs scikit-learn and skops. The model tells hand-written digits apart: rows of 64 pixels (8 x 8, brightness
0 to 16), classes 0 to 9.
"""

import tempfile
from pathlib import Path

import numpy as np
import requests
import skops.io
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from podstack import MLOpsClient

PARAMS = {"lr": 0.001, "epochs": 10}
SHOWN = 8

pixels, digits = load_digits(return_X_y=True)
train_pixels, test_pixels, train_digits, test_digits = train_test_split(
    pixels, digits, test_size=0.25, stratify=digits, random_state=0
)


def score(model):
    """Accuracy and macro F1 on the rows that training did not see."""
    guesses = model.predict(test_pixels)
    return {
        "accuracy": float(np.mean(guesses == test_digits)),
        "f1": float(f1_score(test_digits, guesses, average="macro")),
    }


def train_model(after_epoch):
    """A scaler and a linear classifier; `after_epoch(scores, step=n)` hears of each epoch."""
    scaler = StandardScaler().fit(train_pixels)
    rows = scaler.transform(train_pixels)
    classifier = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=PARAMS["lr"], random_state=0)
    model = Pipeline([("scale", scaler), ("classify", classifier)])
    for epoch in range(PARAMS["epochs"]):
        classifier.partial_fit(rows, train_digits, classes=np.unique(digits))
        after_epoch({"train_accuracy": classifier.score(rows, train_digits), **score(model)}, step=epoch)
    return model


client = MLOpsClient()

# 1. Track training in experiment
with client.start_run(experiment_id="digits-exp") as run, tempfile.TemporaryDirectory() as folder:
    run.log_params(PARAMS)

    # Train model
    model = train_model(after_epoch=run.log_metrics)

    run.log_metrics(score(model))

    # Save model
    model_file = Path(folder, "model.skops")
    skops.io.dump(model, model_file)
    run.log_artifact(model_file)

    run_id = run.id

print(f"1. Trained     {run_id} is {run.status}: accuracy {score(model)['accuracy']:.3f}")

# 2. Register to Model Registry
version = client.create_model_version(
    model_name="digits-classifier",
    source_run_id=run_id,
    artifact_path="model.skops",
    description="Linear classifier of hand-written digits",
)
print(f"2. Registered  {version.model_name} version {version.version} is {version.status}")

# 3. Promote to staging for testing
transition = client.transition_model_version_stage(
    model_name="digits-classifier", version=version.version, stage="Staging"
)
print(f"3. Promoted    {transition.from_stage} -> {transition.to_stage}: {transition.status}")

# 4. After validation, promote to production
transition = client.transition_model_version_stage(
    model_name="digits-classifier", version=version.version, stage="Production"
)
print(f"4. Promoted    {transition.from_stage} -> {transition.to_stage}: {transition.status}")

# 5. Deploy to AI Studio
deployment = client.deploy_model(
    model_name="digits-classifier", version=version.version, endpoint_name="digits-api"
)
print(f"5. Model deployed at: {deployment.endpoint_url}")

# 6. Ask the endpoint as any program would
deployment = deployment.wait()
answer = requests.post(
    deployment.endpoint_url,
    headers={"Authorization": f"Bearer {client.settings.api_token}"},
    json={"instances": test_pixels[:SHOWN].tolist()},
    timeout=30,
)
answer.raise_for_status()
predictions = answer.json()["predictions"]
print(f"6. Predicted   {SHOWN} rows with version {answer.json()['model_version']}\n")
print("   row  predicted  truth")
for row, (predicted, truth) in enumerate(zip(predictions, test_digits, strict=False)):
    print(f"   {row:>3}  {predicted:>9}  {truth:>5}  {'' if predicted == truth else 'wrong'}".rstrip())
