"""The REST door of the registry."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView, kept
from artifacts.api.serializers import FileSerializer, PathsInput
from artifacts.api.serve import serve_batch, serve_blob
from artifacts.models import ManifestFile
from common.api.filters import only, ordered, ordering_of
from common.api.text import JsonText
from common.checks import shorten
from common.errors import Missing
from registry import aliases, answers, queries, search, services, trash
from registry.api import serializers as s
from registry.filters import ModelFilter, VersionFilter
from registry.models import Alias, AliasMove, ModelVersion, RegisteredModel, StageTransition

FILTER = OpenApiParameter(
    "filter", str, description="an expression of the filter language, see the documentation"
)
DATES = [
    OpenApiParameter(name, OpenApiTypes.DATETIME)
    for name in ("created_after", "created_before", "updated_after", "updated_before")
]
SEARCH_PARAMETERS = [
    OpenApiParameter("search", str, description="text in name or description"),
    OpenApiParameter("stage", str, description="some version stands in this stage"),
    OpenApiParameter("tag", str, many=True, description="label; repeated means all of them"),
    OpenApiParameter("any_tag", str, many=True, description="label; repeated means any of them"),
    OpenApiParameter("alias", str, description="it has this alias"),
    OpenApiParameter("author", str, description="who registered it"),
    OpenApiParameter("live_endpoint", str, enum=["true", "false"], description="an endpoint serves it"),
    *DATES,
    FILTER,
    OpenApiParameter(
        "ordering", str, description="name, created_at, updated_at, version_count; with - the other way"
    ),
]
VERSION_PARAMETERS = [
    OpenApiParameter("search", str, description="text in the description"),
    OpenApiParameter("stage", str),
    OpenApiParameter("status", str),
    OpenApiParameter("alias", str, description="this alias points to it"),
    OpenApiParameter("author", str, description="who made it"),
    OpenApiParameter("run", str, description="its source run"),
    OpenApiParameter("experiment", str, description="its experiment's id or name"),
    OpenApiParameter("tag", str, many=True, description="annotation: key or key:value; repeated means all"),
    *DATES,
    FILTER,
    OpenApiParameter(
        "ordering", str, description="a column, metrics.<key> or validation.<key>; with - the other way"
    ),
]
FILE = {(200, "application/octet-stream"): OpenApiTypes.BINARY}


class RegistryView(ProjectView):
    """A view below /models; finds the model and version that the address names."""

    @property
    def model(self) -> RegisteredModel:
        return queries.find_model(self.project, self.kwargs["name"])

    @property
    def version(self) -> ModelVersion:
        return queries.find_version(self.model, self.kwargs["ref"])

    @property
    def bare_version(self) -> ModelVersion:
        """The version without the details that only its own answer shows."""
        rows = ModelVersion.objects.select_related("manifest")
        return queries.version_among(rows, self.model, self.kwargs["ref"])

    @cached_property
    def where(self) -> dict[str, Any]:
        """The keyword arguments that each verb on a version takes."""
        return {
            "actor": self.actor,
            "project": self.project,
            "model_name": self.kwargs["name"],
            "ref": self.kwargs["ref"],
        }

    def model_answer(self, name: str, status: int = 200) -> JsonText:
        return JsonText(answers.model_answer(self.project, name), status)

    def versions_page(self, rows: QuerySet[ModelVersion], default: str) -> JsonText:
        rows, ordering = ordered(rows, self.request, search.VERSION_COLUMNS, default, search.version_sort)
        shown = partial(answers.version_answers, self.project)
        return self.text_page(rows, shown, ordering, filters=VersionFilter, also=("ordering",))

    def version_answer(self, pk: int, status: int = 200) -> JsonText:
        return JsonText(answers.version_answers(self.project, [pk])[0], status)


class ModelsView(RegistryView):
    keeps_pages = True

    @extend_schema(
        operation_id="list_models",
        summary="List and search models",
        parameters=SEARCH_PARAMETERS,
        responses=s.ModelSerializer(many=True),
    )
    @kept
    def get(self, request: Request, project: str) -> JsonText:
        rows = RegisteredModel.objects.alive().filter(project=self.project)
        ordering = ordering_of(request, search.MODEL_COLUMNS, "-updated_at")
        shown = partial(answers.model_answers, self.project)
        return self.text_page(rows, shown, ordering, filters=ModelFilter, also=("ordering",))

    @extend_schema(
        operation_id="register_model",
        summary="Register a model",
        request=s.ModelInput,
        responses={201: s.ModelSerializer},
    )
    def post(self, request: Request, project: str) -> JsonText:
        model = services.register_model(actor=self.actor, project=self.project, **self.data(s.ModelInput))
        return self.model_answer(model.name, 201)


class ModelView(RegistryView):
    takes = {"DELETE": ("confirm",)}

    @extend_schema(operation_id="get_model", summary="Read a model", responses=s.ModelSerializer)
    def get(self, request: Request, project: str, name: str) -> JsonText:
        return self.model_answer(name)

    @extend_schema(
        operation_id="update_model",
        summary="Change a model's description or tags",
        request=s.ModelChange,
        responses=s.ModelSerializer,
    )
    def patch(self, request: Request, project: str, name: str) -> JsonText:
        changes = self.data(s.ModelChange, partial=True)
        services.update_model(actor=self.actor, project=self.project, name=name, **changes)
        return self.model_answer(name)

    @extend_schema(
        operation_id="delete_model",
        summary="Delete a model and all its versions",
        parameters=[OpenApiParameter("confirm", str, description="the model's name")],
        responses={204: None},
    )
    def delete(self, request: Request, project: str, name: str) -> Response:
        confirm = request.query_params.get("confirm")
        trash.delete_model(actor=self.actor, project=self.project, name=name, confirm=confirm)
        return Response(status=204)


class VersionsView(RegistryView):
    keeps_pages = True

    @extend_schema(
        operation_id="list_versions",
        summary="List a model's versions",
        parameters=VERSION_PARAMETERS,
        responses=s.VersionSerializer(many=True),
    )
    @kept
    def get(self, request: Request, project: str, name: str) -> JsonText:
        return self.versions_page(ModelVersion.objects.filter(model=self.model, deleted_at=None), "-number")

    @extend_schema(
        operation_id="create_version",
        summary="Create the next version from a run's files; registers the model when there is none",
        request=s.VersionInput,
        responses={201: s.VersionSerializer},
    )
    def post(self, request: Request, project: str, name: str) -> JsonText:
        version = services.create_version(
            actor=self.actor, project=self.project, model_name=name, **self.data(s.VersionInput)
        )
        return self.version_answer(version.pk, 201)


class AllVersionsView(RegistryView):
    keeps_pages = True

    @extend_schema(
        operation_id="search_versions",
        summary="Search the versions of all models",
        parameters=VERSION_PARAMETERS,
        responses=s.VersionSerializer(many=True),
    )
    @kept
    def get(self, request: Request, project: str) -> JsonText:
        return self.versions_page(search.versions_of(self.project), "-created_at")


class VersionView(RegistryView):
    @extend_schema(operation_id="get_version", summary="Read a version", responses=s.VersionSerializer)
    def get(self, request: Request, project: str, name: str, ref: str) -> JsonText:
        return JsonText(answers.version_answer(self.project, name, ref))

    @extend_schema(
        operation_id="update_version",
        summary="Change a version's description",
        request=s.VersionChange,
        responses=s.VersionSerializer,
    )
    def patch(self, request: Request, project: str, name: str, ref: str) -> JsonText:
        version = services.update_version(**self.where, **self.data(s.VersionChange))
        return self.version_answer(version.pk)

    @extend_schema(operation_id="delete_version", summary="Delete a version", responses={204: None})
    def delete(self, request: Request, project: str, name: str, ref: str) -> Response:
        trash.delete_version(**self.where)
        return Response(status=204)


class ReleaseView(RegistryView):
    @extend_schema(
        operation_id="release_version",
        summary="Release a Quarantined version with a note",
        request=s.ReleaseInput,
        responses=s.VersionSerializer,
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> JsonText:
        version = services.release_version(**self.where, **self.data(s.ReleaseInput))
        return self.version_answer(version.pk)


class VersionTagView(RegistryView):
    @extend_schema(
        operation_id="set_version_tag",
        summary="Set an annotation",
        request=s.TagInput,
        responses=s.TagSerializer,
    )
    def put(self, request: Request, project: str, name: str, ref: str, key: str) -> Response:
        tag = services.set_version_tag(**self.where, key=key, **self.data(s.TagInput))
        return Response(s.TagSerializer(tag).data)

    @extend_schema(operation_id="delete_version_tag", summary="Remove an annotation", responses={204: None})
    def delete(self, request: Request, project: str, name: str, ref: str, key: str) -> Response:
        services.delete_version_tag(**self.where, key=key)
        return Response(status=204)


class VersionTransitionsView(RegistryView):
    @extend_schema(
        operation_id="list_version_transitions",
        summary="A version's stage history",
        responses=s.TransitionSerializer(many=True),
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> Response:
        return self.page(transitions().filter(version=self.bare_version), s.TransitionSerializer)


class ModelTransitionsView(RegistryView):
    @extend_schema(
        operation_id="list_model_transitions",
        summary="The stage history of all versions of a model",
        responses=s.TransitionSerializer(many=True),
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        return self.page(transitions().filter(version__model=self.model), s.TransitionSerializer)


def transitions() -> QuerySet[StageTransition]:
    return StageTransition.objects.select_related("version__model", "actor")


class VersionFilesView(RegistryView):
    @extend_schema(
        operation_id="list_version_files",
        summary="A version's files, by path",
        responses=FileSerializer(many=True),
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> Response:
        files = ManifestFile.objects.filter(manifest=self.bare_version.manifest_id)
        return self.page(files.select_related("blob"), FileSerializer, ("path",))


class ReadVersionFilesView(RegistryView):
    answers_kept = False

    @extend_schema(
        operation_id="read_version_files",
        summary="Many small files' bytes in one answer",
        request=PathsInput,
        responses=FILE,
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> HttpResponseBase:
        paths = self.data(PathsInput)["paths"]
        files = ManifestFile.objects.filter(manifest=self.bare_version.manifest_id, path__in=paths)
        return serve_batch({file.path: file.blob for file in files.select_related("blob")}, paths)


class VersionFileView(RegistryView):
    @extend_schema(operation_id="download_version_file", summary="One file's bytes", responses=FILE)
    def get(self, request: Request, project: str, name: str, ref: str, path: str) -> HttpResponseBase:
        version = self.bare_version
        rows = ManifestFile.objects.filter(manifest=version.manifest_id, path=path)
        file = rows.select_related("blob").first()
        if file is None:
            raise Missing(f"Version {version.number} has no file {shorten(path)}.", code="file_not_found")
        return serve_blob(request._request, file.blob, path.rsplit("/", 1)[-1])

    @extend_schema(
        operation_id="head_version_file", summary="One file's size and digest", responses={200: None}
    )
    def head(self, request: Request, project: str, name: str, ref: str, path: str) -> HttpResponseBase:
        return self.get(request, project, name, ref, path)


class AliasesView(RegistryView):
    @extend_schema(
        operation_id="list_aliases", summary="A model's aliases", responses=s.AliasSerializer(many=True)
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        rows = Alias.objects.filter(model=self.model).select_related("version")
        return self.page(rows, s.AliasSerializer, ("name",))


class AliasView(RegistryView):
    @extend_schema(
        operation_id="get_version_by_alias",
        summary="The version an alias points to",
        responses=s.VersionSerializer,
    )
    def get(self, request: Request, project: str, name: str, alias: str) -> JsonText:
        found = answers.alias_answer(self.project, name, alias)
        if found is None:
            raise Missing(f"{self.model.name} has no alias {shorten(alias)}.", code="alias_not_found")
        return JsonText(found)

    @extend_schema(
        operation_id="set_alias", summary="Point an alias", request=s.AliasInput, responses=s.AliasSerializer
    )
    def put(self, request: Request, project: str, name: str, alias: str) -> Response:
        row = aliases.set_alias(
            actor=self.actor, project=self.project, model_name=name, alias=alias, **self.data(s.AliasInput)
        )
        return Response(s.AliasSerializer(row).data)

    @extend_schema(operation_id="delete_alias", summary="Remove an alias", responses={204: None})
    def delete(self, request: Request, project: str, name: str, alias: str) -> Response:
        aliases.delete_alias(actor=self.actor, project=self.project, model_name=name, alias=alias)
        return Response(status=204)


class AliasMovesView(RegistryView):
    @extend_schema(
        operation_id="list_alias_moves",
        summary="The history of a model's aliases",
        responses=s.AliasMoveSerializer(many=True),
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        rows = AliasMove.objects.filter(model=self.model).select_related(
            "from_version", "to_version", "actor"
        )
        return self.page(rows, s.AliasMoveSerializer)


class CompareView(RegistryView):
    @extend_schema(
        operation_id="compare_versions",
        summary="Two to ten versions side by side",
        parameters=[
            OpenApiParameter("versions", str, required=True, description="comma-separated: 1,2,latest")
        ],
        responses=s.ComparisonSerializer,
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        only(request, ("versions",))
        refs = [ref.strip() for ref in request.query_params.get("versions", "").split(",") if ref.strip()]
        found = queries.compare(self.model, refs)
        return Response(s.ComparisonSerializer(found, context={"project": self.project}).data)
