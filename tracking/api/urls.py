from django.urls import path

from tracking.api import dataset_views, series_views, views

urlpatterns = [
    path("experiments", views.ExperimentsView.as_view()),
    path("experiments/<str:experiment_id>", views.OneExperimentView.as_view()),
    path("experiments/<str:experiment_id>/archive", views.ArchiveExperimentView.as_view()),
    path("experiments/<str:experiment_id>/restore", views.RestoreExperimentView.as_view()),
    path("runs", views.RunsView.as_view()),
    path("runs/<str:run_id>", views.OneRunView.as_view()),
    path("runs/<str:run_id>/end", views.EndRunView.as_view()),
    path("runs/<str:run_id>/restore", views.RestoreRunView.as_view()),
    path("runs/<str:run_id>/kill", views.KillRunView.as_view()),
    path("runs/<str:run_id>/alerts", views.AlertsView.as_view()),
    path("runs/<str:run_id>/alerts/<str:alert_id>", views.OneAlertView.as_view()),
    path("runs/<str:run_id>/params", views.ParamsView.as_view()),
    path("runs/<str:run_id>/metrics", views.MetricsView.as_view()),
    path("runs/<str:run_id>/metrics/export", series_views.ExportMetricsView.as_view()),
    path("runs/<str:run_id>/metrics/<path:key>", series_views.MetricView.as_view()),
    path("runs-export", series_views.ExportRunsView.as_view()),
    path("runs-compare", series_views.CompareRunsView.as_view()),
    path("metric-history", series_views.MetricHistoriesView.as_view()),
    path("datasets", dataset_views.DatasetsView.as_view()),
    path("datasets/<int:dataset_id>", dataset_views.DatasetView.as_view()),
    path("datasets/<int:dataset_id>/mark", dataset_views.MarkDatasetView.as_view()),
    path("datasets/<int:dataset_id>/clear", dataset_views.ClearDatasetView.as_view()),
    path("runs/<str:run_id>/datasets", views.DatasetsView.as_view()),
    path("runs/<str:run_id>/read-artifacts", views.ReadRunFilesView.as_view()),
    path("runs/<str:run_id>/artifacts", views.RunFilesView.as_view()),
    path("runs/<str:run_id>/artifacts/<path:path>", views.RunFileView.as_view()),
]
