from django.urls import path

from deployments import views

app_name = "deployments"
ENDPOINT = "deployments/<str:endpoint>"

urlpatterns = [
    path("deployments/", views.DeploymentList.as_view(), name="list"),
    path(f"{ENDPOINT}/", views.DeploymentDetail.as_view(), name="detail"),
    path(f"{ENDPOINT}/change/", views.Change.as_view(), name="change"),
    path(f"{ENDPOINT}/try/", views.TryIt.as_view(), name="try"),
    path(f"{ENDPOINT}/logs/", views.Logs.as_view(), name="logs"),
    path(f"{ENDPOINT}/undeploy/", views.Undeploy.as_view(), name="undeploy"),
    path(f"{ENDPOINT}/deploy/", views.Act.as_view(verb="deploy"), name="deploy_again"),
    path(
        f"{ENDPOINT}/promote/",
        views.SureAct.as_view(verb="promote", template="deployments/promote.html"),
        name="promote",
    ),
    path(
        f"{ENDPOINT}/abort/",
        views.SureAct.as_view(verb="abort", template="deployments/abort.html"),
        name="abort",
    ),
    path(f"{ENDPOINT}/rollback/<int:revision>/", views.RollBack.as_view(), name="rollback"),
    path(f"{ENDPOINT}/shadow/", views.Shadow.as_view(), name="shadow"),
    path(f"{ENDPOINT}/unshadow/", views.Act.as_view(verb="unshadow"), name="unshadow"),
    path(f"{ENDPOINT}/delete/", views.DeleteEndpoint.as_view(), name="delete"),
    path("models/<str:name>/versions/<int:number>/deploy/", views.Deploy.as_view(), name="deploy"),
    path(
        "models/<str:name>/versions/<int:number>/quarantine/", views.Quarantine.as_view(), name="quarantine"
    ),
]
