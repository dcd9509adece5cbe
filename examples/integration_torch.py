"""The same workflow with PyTorch: the network is served from TorchScript, its weights lie beside it.

    export PODSTACK_API_ENDPOINT=… PODSTACK_API_TOKEN=… PODSTACK_PROJECT=…
    python examples/integration_torch.py

Needs torch and scikit-learn, here and where the endpoint runs. `torch.save(model.state_dict(), …)` stores
weights without the code that computes with them; `torch.jit.script` stores both, for an endpoint to run.
"""

import sys
import tempfile
from pathlib import Path

import requests
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from podstack import MLOpsClient

try:
    import torch
except ModuleNotFoundError:
    sys.exit("This example needs PyTorch: pip install torch")

PARAMS = {"lr": 0.001, "epochs": 10}
BATCH = 32
SHOWN = 8

pixels, digits = load_digits(return_X_y=True)
train_pixels, test_pixels, train_digits, test_digits = (
    torch.tensor(part)
    for part in train_test_split(
        pixels.astype("float32"), digits, test_size=0.25, stratify=digits, random_state=0
    )
)


class DigitClassifier(torch.nn.Module):
    """Rows of 64 pixels (brightness 0 to 16) in, one score per digit out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows / 16.0)


def score(model):
    """Accuracy on the rows that training did not see."""
    with torch.no_grad():
        return {"accuracy": (model(test_pixels).argmax(1) == test_digits).float().mean().item()}


def train_model(after_epoch):
    """A trained network; `after_epoch(scores, step=n)` hears of each epoch."""
    torch.manual_seed(0)
    model = DigitClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=PARAMS["lr"])
    for epoch in range(PARAMS["epochs"]):
        for rows in torch.randperm(len(train_pixels)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(train_pixels[rows]), train_digits[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        after_epoch({"loss": loss.item(), **score(model)}, step=epoch)
    return model


client = MLOpsClient()

# 1. Track training in experiment
with client.start_run(experiment_id="digits-torch-exp") as run, tempfile.TemporaryDirectory() as folder:
    run.log_params(PARAMS)

    # Train model
    model = train_model(after_epoch=run.log_metrics)

    run.log_metrics(score(model))

    # Save model
    weights_file = Path(folder, "weights.pt")
    torch.save(model.state_dict(), weights_file)
    run.log_artifact(weights_file)
    model_file = Path(folder, "model.pt")
    torch.jit.script(model).save(model_file)
    run.log_artifact(model_file)

    run_id = run.id

print(f"1. Trained     {run_id} is {run.status}: accuracy {score(model)['accuracy']:.3f}")

# 2. Register to Model Registry
version = client.create_model_version(
    model_name="digits-network",
    source_run_id=run_id,
    artifact_path="model.pt",
    description="Two-layer network for hand-written digits",
)
print(f"2. Registered  {version.model_name} version {version.version} is {version.status}")

# 3. Promote to staging for testing
transition = client.transition_model_version_stage(
    model_name="digits-network", version=version.version, stage="Staging"
)
print(f"3. Promoted    {transition.from_stage} -> {transition.to_stage}: {transition.status}")

# 4. After validation, promote to production
transition = client.transition_model_version_stage(
    model_name="digits-network", version=version.version, stage="Production"
)
print(f"4. Promoted    {transition.from_stage} -> {transition.to_stage}: {transition.status}")

# 5. Deploy to AI Studio
deployment = client.deploy_model(
    model_name="digits-network", version=version.version, endpoint_name="digits-network-api"
)
print(f"5. Model deployed at: {deployment.endpoint_url}")

# 6. Ask the endpoint as any program would: it answers with one score per digit
deployment = deployment.wait()
answer = requests.post(
    deployment.endpoint_url,
    headers={"Authorization": f"Bearer {client.settings.api_token}"},
    json={"instances": test_pixels[:SHOWN].tolist()},
    timeout=30,
)
answer.raise_for_status()
scores = answer.json()["predictions"]
print(f"6. Predicted   {SHOWN} rows with version {answer.json()['model_version']}\n")
print("   row  predicted  truth")
for row, (by_digit, truth) in enumerate(zip(scores, test_digits.tolist(), strict=False)):
    predicted = by_digit.index(max(by_digit))
    print(f"   {row:>3}  {predicted:>9}  {truth:>5}  {'' if predicted == truth else 'wrong'}".rstrip())
