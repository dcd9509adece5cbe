"""The SDK of the model registry: `from podstack import MLOpsClient`.

client.py          MLOpsClient, composed of the calls by noun: experiments.py, runs.py, registry.py, deployments.py, …
run.py             a run that is being recorded; outbox.py sends its values in the background
saving.py          texts, dictionaries, figures and models as files of a run
models/            what calls answer
errors.py          what they raise
files/             uploads and downloads
http.py            one request: retries, time-outs, errors
config.py          token, endpoint and project; values.py: JSON
cli/               the command line
"""

from podstack.client import MLOpsClient
from podstack.errors import (
    AuthenticationError,
    ConflictError,
    ConnectionFailed,
    DeploymentFailed,
    DigestMismatch,
    NotFoundError,
    PermissionDeniedError,
    PodstackError,
    PodstackWarning,
    ServerError,
    ValidationError,
)
from podstack.models import Deployment, Experiment, Model, ModelVersion, Run, StageTransition
from podstack.run import ActiveRun
from podstack.version import __version__

__all__ = [
    "ActiveRun",
    "AuthenticationError",
    "ConflictError",
    "ConnectionFailed",
    "Deployment",
    "DeploymentFailed",
    "DigestMismatch",
    "Experiment",
    "MLOpsClient",
    "Model",
    "ModelVersion",
    "NotFoundError",
    "PermissionDeniedError",
    "PodstackError",
    "PodstackWarning",
    "Run",
    "ServerError",
    "StageTransition",
    "ValidationError",
    "__version__",
]
