from django.urls import path

from approvals import views

app_name = "approvals"

urlpatterns = [
    path("models/<str:name>/versions/<int:number>/stage/", views.ChangeStage.as_view(), name="change_stage"),
]
