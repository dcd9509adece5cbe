from django.urls import path

from lineage.api import views

urlpatterns = [
    path("lineage", views.LineageView.as_view()),
    path("lineage/events", views.EventsView.as_view()),
    path("impact", views.ImpactView.as_view()),
    path("impact/notify", views.NotifyView.as_view()),
    path("impact/quarantine", views.QuarantineView.as_view()),
    path("impact/release", views.ReleaseView.as_view()),
    path("models/<str:name>/versions/<str:ref>/lineage", views.VersionLineageView.as_view()),
    path("models/<str:name>/versions/<str:ref>/recipe", views.RecipeView.as_view()),
]
