from django.urls import path

from approvals.api import views

urlpatterns = [
    path("bulk", views.BulkView.as_view()),
    path("models/<str:name>/versions/<str:ref>/transition", views.TransitionView.as_view()),
]
