"""Calls that keep a registry in order: the trash, protections, bulk acts, and how things stood at a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from podstack.calls import Calls, given, moment
from podstack.models import Model, ModelVersion, Outcome, Protection, Standing, Trashed
from podstack.values import texts

USUAL_ROLES = ("maintainer", "admin")


class CareCalls(Calls):
    """Most of these need the role maintainer."""

    # How a model stood

    def get_model_standing(self, model_name: str, as_of: datetime | str | None = None) -> Standing:
        """Stages and aliases of a model at a moment (now without `as_of`), and who put them there.

        `as_of` is a datetime or text such as "2026-03-01T14:00:00Z"; without a zone UTC is meant.
        """
        params = [("as_of", str(moment(as_of)))] if as_of is not None else []
        path = self.path("models", model_name, "standing")
        return Standing.from_json(self.http.call("GET", path, params=params))

    # Trash

    def list_trash(self) -> list[Trashed]:
        """Deleted models and versions that can come back, the last deleted first."""
        answer = self.http.call("GET", self.path("trash"))
        return [Trashed.from_json(item) for item in answer["results"]]

    def restore_model_version(self, model_name: str, version: int) -> ModelVersion:
        """Brings a deleted version back with its files, annotations and those aliases that nobody took since."""
        path = self.path("models", model_name, "versions", version, "restore")
        return ModelVersion.from_json(self.http.call("POST", path, json={}))

    def restore_model(self, model_name: str, as_name: str | None = None) -> Model:
        """Brings a deleted model back with the versions that went with it; `as_name` where the name is taken."""
        path = self.path("models", model_name, "restore")
        return Model.from_json(self.http.call("POST", path, json=given(as_name=as_name)))

    # Protections

    def protect_alias(
        self,
        alias: str,
        model_name: str | None = None,
        roles: Sequence[str] = USUAL_ROLES,
        groups: Sequence[str] = (),
    ) -> Protection:
        """Lets only these roles and groups move an alias, of one model or of all. Again replaces who may."""
        return self._protect("alias", alias, model_name, roles, groups)

    def protect_stage(
        self,
        stage: str,
        model_name: str | None = None,
        roles: Sequence[str] = USUAL_ROLES,
        groups: Sequence[str] = (),
    ) -> Protection:
        """Lets only these roles and groups move versions into a stage and out of it."""
        return self._protect("stage", stage, model_name, roles, groups)

    def _protect(
        self, kind: str, name: str, model_name: str | None, roles: Sequence[str], groups: Sequence[str]
    ) -> Protection:
        body = {"kind": kind, "name": name, "roles": texts("roles", roles), "groups": texts("groups", groups)}
        body |= given(model_name=model_name)
        return Protection.from_json(self.http.call("POST", self.path("protections"), json=body))

    def list_protections(self) -> Iterator[Protection]:
        """The project's protected aliases and stages."""
        return self.listed(Protection.from_json, ("protections",))

    def remove_protection(self, protection_id: int) -> None:
        """Takes a protection away."""
        self.http.call("DELETE", self.path("protections", protection_id))

    # Many at once

    def bulk(self, action: str, items: Iterable[Mapping[str, Any]], **common: Any) -> list[Outcome]:
        """Does one act to many models or versions in one call; one outcome each, in their order.

        `bulk("transition_stage", [{"model_name": "iris", "version": 3}, …], stage="Archived")`. Actions:
        transition_stage, set_alias, delete_alias, set_version_tag, delete_version_tag, update_version,
        release_version, delete_version, restore_version, update_model, delete_model, restore_model. An item may say
        for itself what `common` says for all. At most 500 items; a refused one holds no other back.
        """
        body = {"action": action, "items": [dict(item) for item in items], "common": common}
        answer = self.http.call("POST", self.path("bulk"), json=body)
        return [Outcome.from_json(item) for item in answer["results"]]
