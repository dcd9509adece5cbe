from django.urls import path

from deployments import views

app_name = "deployments"
ENDPOINT = "deployments/<str:endpoint>"

urlpatterns = [
    path("deployments/", views.DeploymentList.as_view(), name="list"),
    path(f"{ENDPOINT}/", views.DeploymentDetail.as_view(), name="detail"),
    path(f"{ENDPOINT}/undeploy/", views.Undeploy.as_view(), {"verb": "undeploy"}, name="undeploy"),
    path(f"{ENDPOINT}/deploy/", views.Undeploy.as_view(), {"verb": "deploy"}, name="deploy_again"),
    path(f"{ENDPOINT}/delete/", views.Undeploy.as_view(), {"verb": "delete"}, name="delete"),
    path("models/<str:name>/versions/<int:number>/deploy/", views.Deploy.as_view(), name="deploy"),
]
