from django.urls import path

from registry import care_views, lookup_views, views

app_name = "registry"
VERSION = "models/<str:name>/versions/<int:number>"

urlpatterns = [
    path("search/", lookup_views.Search.as_view(), name="search"),
    path("versions/", views.VersionList.as_view(), name="version_list"),
    path("models/", views.ModelList.as_view(), name="model_list"),
    path("register-model/", views.RegisterModel.as_view(), name="model_register"),
    path("models/<str:name>/", views.ModelDetail.as_view(), name="model"),
    path("models/<str:name>/edit/", views.EditModel.as_view(), name="model_edit"),
    path("models/<str:name>/delete/", views.DeleteModel.as_view(), name="model_delete"),
    path("models/<str:name>/aliases/", views.Aliases.as_view(), name="aliases"),
    path(
        "models/<str:name>/aliases/<str:alias>/delete/", care_views.DeleteAlias.as_view(), name="alias_delete"
    ),
    path("models/<str:name>/compare/", views.Compare.as_view(), name="compare"),
    path(f"{VERSION}/", views.VersionDetail.as_view(), name="version"),
    path(f"{VERSION}/edit/", care_views.EditVersion.as_view(), name="version_edit"),
    path(f"{VERSION}/remove-annotation/", care_views.RemoveAnnotation.as_view(), name="annotation_remove"),
    path(f"{VERSION}/release/", care_views.ReleaseVersion.as_view(), name="version_release"),
    path("trash/", care_views.Trash.as_view(), name="trash"),
    path("protections/", care_views.Protections.as_view(), name="protections"),
    path(
        "protections/<int:protection_id>/remove/",
        care_views.RemoveProtection.as_view(),
        name="protection_remove",
    ),
    path(f"{VERSION}/delete/", views.DeleteVersion.as_view(), name="version_delete"),
    path("models/<str:name>/standing/", views.ModelStanding.as_view(), name="standing"),
    path(f"{VERSION}/download/", views.DownloadVersion.as_view(), name="version_download"),
    path(f"{VERSION}/preview/<path:path>", views.VersionPreview.as_view(), name="version_preview"),
    path(f"{VERSION}/files/<path:path>", views.VersionFile.as_view(), name="version_file"),
    path("runs/<str:run_id>/register/", views.RegisterVersion.as_view(), name="register_version"),
]
