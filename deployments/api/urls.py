from django.urls import path

from deployments.api import views

urlpatterns = [
    path("deployments", views.DeploymentsView.as_view()),
    path("gpu-types", views.GpuTypesView.as_view()),
    path("deployments/<str:endpoint>", views.DeploymentView.as_view()),
    path("deployments/<str:endpoint>/undeploy", views.UndeployView.as_view()),
    path("deployments/<str:endpoint>/deploy", views.DeployAgainView.as_view()),
    path("deployments/<str:endpoint>/rollback", views.RollbackView.as_view()),
    path("deployments/<str:endpoint>/promote", views.PromoteView.as_view()),
    path("deployments/<str:endpoint>/abort", views.AbortView.as_view()),
    path("deployments/<str:endpoint>/shadow", views.ShadowView.as_view()),
    path("deployments/<str:endpoint>/revisions", views.RevisionsView.as_view()),
    path("deployments/<str:endpoint>/metrics", views.MetricsView.as_view()),
    path("deployments/<str:endpoint>/events", views.EventsView.as_view()),
    path("deployments/<str:endpoint>/logs", views.LogsView.as_view()),
    path("models/<str:name>/versions/<str:ref>/quarantine", views.QuarantineView.as_view()),
]
