from django.urls import path

from accounts import views

app_name = "accounts"

urlpatterns = [
    path("projects/", views.ProjectList.as_view(), name="projects"),
]
