from django.urls import path

from tracking import edit_views, views

app_name = "tracking"

urlpatterns = [
    path("experiments/", views.ExperimentList.as_view(), name="experiment_list"),
    path("experiments/<str:experiment_id>/", views.ExperimentDetail.as_view(), name="experiment"),
    path(
        "experiments/<str:experiment_id>/edit/", edit_views.EditExperiment.as_view(), name="experiment_edit"
    ),
    path("experiments/<str:experiment_id>/archive/", edit_views.Archive.as_view(), name="experiment_archive"),
    path("experiments/<str:experiment_id>/restore/", edit_views.Restore.as_view(), name="experiment_restore"),
    path("runs/<str:run_id>/edit/", edit_views.EditRun.as_view(), name="run_edit"),
    path("runs/<str:run_id>/kill/", edit_views.KillRun.as_view(), name="run_kill"),
    path("runs/<str:run_id>/delete/", edit_views.DeleteRun.as_view(), name="run_delete"),
    path("compare-runs/", views.CompareRuns.as_view(), name="compare"),
    path("runs/<str:run_id>/", views.RunDetail.as_view(), name="run"),
    path("runs/<str:run_id>/preview/<path:path>", views.RunFilePreview.as_view(), name="run_preview"),
    path("runs/<str:run_id>/files/<path:path>", views.RunFileDownload.as_view(), name="run_file"),
]
