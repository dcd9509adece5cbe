from django.urls import path

from tracking import views

app_name = "tracking"

urlpatterns = [
    path("experiments/", views.ExperimentList.as_view(), name="experiment_list"),
    path("experiments/<str:experiment_id>/", views.ExperimentDetail.as_view(), name="experiment"),
    path("compare-runs/", views.CompareRuns.as_view(), name="compare"),
    path("runs/<str:run_id>/", views.RunDetail.as_view(), name="run"),
    path("runs/<str:run_id>/files/<path:path>", views.RunFileDownload.as_view(), name="run_file"),
]
