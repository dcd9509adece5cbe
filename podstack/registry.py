"""Calls on registered models, their versions, stages, aliases and annotations."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from podstack.calls import Calls, given, moment, version_ref
from podstack.errors import PodstackWarning
from podstack.files import chosen, download
from podstack.files.fetching import LISTED
from podstack.models import Alias, ArtifactFile, Comparison, Inspection, Model, ModelVersion, StageTransition
from podstack.values import mapping, number, several, texts
from podstack.waiting import settled

NUMBER = re.compile(r"v?([0-9]+)")


class RegistryCalls(Calls):
    """`version` is a number or an alias; "latest" is the highest number."""

    # Models

    def register_model(self, name: str, description: str = "", tags: Iterable[str] = ()) -> Model:
        """A new model, without versions yet; ConflictError when the name is taken."""
        body = {"name": name, "description": description, "tags": texts("tags", tags)}
        return Model.from_json(self.http.call("POST", self.path("models"), json=body))

    def get_model(self, model_name: str) -> Model:
        """One model with its latest and production version and its aliases."""
        return Model.from_json(self.http.call("GET", self.path("models", model_name)))

    def list_models(
        self,
        search: str | None = None,
        stage: str | None = None,
        tags: Iterable[str] = (),
        order_by: str | None = None,
        *,
        filter: str | None = None,
        any_tags: Iterable[str] = (),
        alias: str | None = None,
        author: str | None = None,
        live_endpoint: bool | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
    ) -> Iterator[Model]:
        """Models whose name or description holds `search`, with a version in `stage`, with all of `tags`.

        `filter` is an expression of the filter language: `"tag = 'nlp' and stage = 'Production'"`. `order_by`: name,
        created_at, updated_at or version_count, with - the other way.
        """
        return self.listed(
            Model.from_json,
            ("models",),
            search=search,
            stage=stage,
            tag=texts("tags", tags),
            any_tag=texts("any_tags", any_tags),
            alias=alias,
            author=author,
            live_endpoint=live_endpoint,
            created_after=moment(created_after),
            created_before=moment(created_before),
            filter=filter,
            ordering=order_by,
        )

    def update_model(
        self, model_name: str, description: str | None = None, tags: Iterable[str] | None = None
    ) -> Model:
        """Changes what is given and leaves the rest."""
        body = given(description=description, tags=None if tags is None else texts("tags", tags))
        return Model.from_json(self.http.call("PATCH", self.path("models", model_name), json=body))

    def delete_model(self, model_name: str, confirm: str | None = None) -> None:
        """Deletes a model with all versions; maintainers can bring it back from the trash with `restore_model`.

        Needs `confirm=model_name` while a version is in Production or a protected alias points to one;
        ConflictError while an endpoint is live.
        """
        params = [("confirm", confirm)] if confirm else []
        self.http.call("DELETE", self.path("models", model_name), params=params)

    # Versions

    def create_model_version(
        self,
        model_name: str,
        source_run_id: str,
        artifact_path: str,
        description: str = "",
        tags: Mapping[str, Any] | None = None,
        wait: bool = True,
        timeout: float = 120,
        *,
        parent: str | None = None,
        relation: str = "",
    ) -> ModelVersion:
        """The next version: the files that the run stored at or below `artifact_path`, as they are now.

        A model of this name is registered on the way when there is none. With `wait`, returns once the server
        has looked at the files, at most `timeout` seconds; a version that it quarantines is returned, with a
        warning that says why. `parent` is the version that this one was made from ("base/3", "base@champion") and
        `relation` what it is to it: fine_tuned, adapter, distilled, quantized or merged.
        """
        body = {
            "source_run_id": source_run_id,
            "artifact_path": artifact_path,
            "description": description,
            "tags": {key: str(value) for key, value in mapping("tags", tags or {}).items()},
            **({"parent": parent, "relation": relation} if parent or relation else {}),
        }
        answer = self.http.call("POST", self.path("models", model_name, "versions"), json=body)
        version = ModelVersion.from_json(answer)
        if wait:
            version = self._wait_for_version(version, timeout)
            _warn_unless_ready(version, timeout)
        return version

    def _wait_for_version(self, version: ModelVersion, timeout: float) -> ModelVersion:
        def look() -> ModelVersion:
            return self.get_model_version(version.model_name, version.version)

        return settled(version, look, lambda seen: seen.status != "Pending", timeout)

    def get_model_version(self, model_name: str, version: int | str) -> ModelVersion:
        """One version, by number or alias."""
        return ModelVersion.from_json(self.http.call("GET", self._version_path(model_name, version)))

    def list_model_versions(
        self,
        model_name: str,
        stage: str | None = None,
        order_by: str | None = None,
        *,
        filter: str | None = None,
    ) -> Iterator[ModelVersion]:
        """A model's versions, the latest first unless `order_by` says otherwise; see `search_model_versions`."""
        parts = ("models", model_name, "versions")
        return self.listed(ModelVersion.from_json, parts, stage=stage, filter=filter, ordering=order_by)

    def search_model_versions(
        self, filter: str | None = None, order_by: str | None = None, *, model_name: str | None = None
    ) -> Iterator[ModelVersion]:
        """Versions of all models, or of one, that an expression of the filter language describes.

        `search_model_versions("metrics.accuracy > 0.9 and params.optimizer = 'adamw'", "-metrics.accuracy")`.
        ValidationError pointing at the character where the expression is wrong.
        """
        parts = ("model-versions",) if model_name is None else ("models", model_name, "versions")
        return self.listed(ModelVersion.from_json, parts, filter=filter, ordering=order_by)

    def log_validation_metrics(
        self, model_name: str, version: int | str, metrics: Mapping[str, Any]
    ) -> ModelVersion:
        """Keeps what validating a version found, as its `validation_metrics`; NaN and ±inf are values."""
        found = mapping("metrics", metrics)
        body = {"metrics": {key: number(key, value) for key, value in found.items()}}
        path = self._version_path(model_name, version, "validation-metrics")
        return ModelVersion.from_json(self.http.call("POST", path, json=body))

    def update_model_version(
        self, model_name: str, version: int | str, description: str | None = None
    ) -> ModelVersion:
        """Changes the description; files never change."""
        path = self._version_path(model_name, version)
        return ModelVersion.from_json(self.http.call("PATCH", path, json=given(description=description)))

    def get_inspection(self, model_name: str, version: int | str) -> Inspection:
        """What a worker found in a version's files: format, verdict, tensors, signature."""
        return Inspection.from_json(
            self.http.call("GET", self._version_path(model_name, version, "inspection"))
        )

    def delete_model_version(self, model_name: str, version: int | str) -> None:
        """Deletes a version; maintainers can bring it back from the trash with `restore_model_version`.

        ConflictError with the list of what holds it: the stage Production, an endpoint, a protected alias.
        """
        self.http.call("DELETE", self._version_path(model_name, version))

    def release_model_version(self, model_name: str, version: int | str, note: str) -> ModelVersion:
        """Makes a Quarantined version Ready after a maintainer looked at it; `note` says what they found."""
        path = self._version_path(model_name, version, "release")
        return ModelVersion.from_json(self.http.call("POST", path, json={"note": note}))

    def quarantine_model_version(
        self, model_name: str, version: int | str, reason: str, endpoints: str | None = None
    ) -> ModelVersion:
        """Quarantines a Ready version: neither promoted nor newly deployed until it is released. For maintainers.

        `endpoints`: "keep" or "undeploy" those that serve it; needed when one does (ValidationError with their names).
        """
        path = self._version_path(model_name, version, "quarantine")
        body = given(reason=reason, endpoints=endpoints)
        return ModelVersion.from_json(self.http.call("POST", path, json=body))

    def set_model_version_tag(self, model_name: str, version: int | str, key: str, value: Any) -> None:
        """Annotates a version; another value under the same key replaces it."""
        path = self._version_path(model_name, version, "tags", key)
        self.http.call("PUT", path, json={"value": str(value)})

    def delete_model_version_tag(self, model_name: str, version: int | str, key: str) -> None:
        """Removes an annotation."""
        self.http.call("DELETE", self._version_path(model_name, version, "tags", key))

    def compare_model_versions(self, model_name: str, versions: Sequence[int | str]) -> Comparison:
        """Versions of one model side by side: metrics, parameters and tags."""
        refs = [str(version_ref(each)) for each in several("versions", versions, "numbers or aliases")]
        params = [("versions", ",".join(refs))]
        return Comparison.from_json(
            self.http.call("GET", self.path("models", model_name, "compare"), params=params)
        )

    def list_model_version_artifacts(self, model_name: str, version: int | str) -> list[ArtifactFile]:
        """A version's files."""
        listed = self.http.pages(self._version_path(model_name, version, "artifacts"), {"page_size": LISTED})
        return [ArtifactFile.from_json(item) for item in listed]

    def download_model_version(
        self,
        model_name: str,
        version: int | str,
        destination: str | os.PathLike[str],
        paths: str | Iterable[str] | None = None,
    ) -> Path:
        """Writes a version's files to their paths below the folder `destination`; returns that.

        `paths` chooses some: files, folders and patterns such as "*.onnx" or "config/**/*.json", where * and ? stay
        within one name and ** is any number of folders; NotFoundError for one that fits nothing. Each file arrives
        whole and with the right sha256, or not at all; one that is there is skipped, one that was begun continued.
        """
        number = self._number(model_name, version)  # an alias may move while files are fetched
        files = self.list_model_version_artifacts(model_name, number)
        if paths is not None:
            files = chosen(files, paths)
        path = self._version_path(model_name, number, "artifacts")
        return download(self.http, path, files, Path(destination))

    # Stages

    def transition_model_version_stage(
        self,
        model_name: str,
        version: int | str,
        stage: str,
        note: str = "",
        archive_previous: bool | None = None,
        bypass_reason: str = "",
    ) -> StageTransition:
        """Moves a version to None, Staging, Production or Archived.

        Where a policy asks for approval, the answer's `status` is "pending_approval" and `approval` the request;
        else it is "applied". archive_previous: what stands in Production is archived; None is as the project
        says. bypass_reason moves at once where the policy lets maintainers do so. ConflictError when a check of
        the policy fails: its `items` say what was found and what would be right.
        """
        body: dict[str, Any] = {"stage": stage, "note": note, "bypass_reason": bypass_reason}
        if archive_previous is not None:
            body["archive_previous"] = archive_previous
        path = self._version_path(model_name, version, "transition")
        return StageTransition.from_json(self.http.call("POST", path, json=body))

    def list_transitions(
        self, model_name: str, version: int | str | None = None
    ) -> Iterator[StageTransition]:
        """The moves between stages of one version, or of all versions of a model, the latest first."""
        versions = () if version is None else ("versions", version_ref(version))
        return self.listed(StageTransition.from_json, ("models", model_name, *versions, "transitions"))

    # Aliases

    def set_model_alias(self, model_name: str, alias: str, version: int | str) -> Alias:
        """Points an alias to a version; it may have pointed to another."""
        body = {"version": self._number(model_name, version)}
        return Alias.from_json(
            self.http.call("PUT", self.path("models", model_name, "aliases", alias), json=body)
        )

    def get_model_by_alias(self, model_name: str, alias: str) -> ModelVersion:
        """The version that an alias points to."""
        return ModelVersion.from_json(
            self.http.call("GET", self.path("models", model_name, "aliases", alias))
        )

    def list_model_aliases(self, model_name: str) -> Iterator[Alias]:
        """A model's aliases."""
        return self.listed(Alias.from_json, ("models", model_name, "aliases"))

    def delete_model_alias(self, model_name: str, alias: str) -> None:
        """Removes an alias; the version stays."""
        self.http.call("DELETE", self.path("models", model_name, "aliases", alias))

    def _version_path(self, model_name: str, version: int | str, *more: object) -> str:
        return self.path("models", model_name, "versions", version_ref(version), *more)

    def _number(self, model_name: str, version: int | str) -> int:
        match = NUMBER.fullmatch(str(version_ref(version)))
        return int(match[1]) if match else self.get_model_version(model_name, version).version


def _warn_unless_ready(version: ModelVersion, timeout: float) -> None:
    label = f"{version.model_name} version {version.version}"
    if version.status == "Quarantined":
        text = f"{label} is quarantined: {version.status_reason} Maintainers may release it: release_model_version."
    elif version.status == "Pending":
        text = f"{label} is still being looked at after {timeout:g} s; see get_model_version for its status."
    else:
        return
    warnings.warn(text, PodstackWarning, stacklevel=3)
