from django.urls import path

from deployments.api import views

urlpatterns = [
    path("deployments", views.DeploymentsView.as_view()),
    path("deployments/<str:endpoint>", views.DeploymentView.as_view()),
    path("deployments/<str:endpoint>/undeploy", views.UndeployView.as_view()),
    path("deployments/<str:endpoint>/deploy", views.DeployAgainView.as_view()),
    path("deployments/<str:endpoint>/events", views.EventsView.as_view()),
    path("deployments/<str:endpoint>/logs", views.LogsView.as_view()),
]
