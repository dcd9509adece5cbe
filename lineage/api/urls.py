from django.urls import path

from lineage.api import views

urlpatterns = [path("models/<str:name>/versions/<str:ref>/lineage", views.LineageView.as_view())]
