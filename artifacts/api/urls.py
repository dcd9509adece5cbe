from django.urls import path

from artifacts.api import views

urlpatterns = [
    path("blobs/missing", views.MissingBlobsView.as_view()),
    path("blobs/batch", views.BlobBatchView.as_view()),
    path("blobs/<str:sha256>", views.BlobView.as_view()),
]
