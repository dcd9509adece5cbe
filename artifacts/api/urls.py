from django.urls import path

from artifacts.api import upload_views, views

urlpatterns = [
    path("blobs/missing", views.MissingBlobsView.as_view()),
    path("blobs/batch", views.BlobBatchView.as_view()),
    path("blobs/uploads", upload_views.UploadsView.as_view()),
    path("blobs/uploads/<str:upload_id>", upload_views.UploadView.as_view()),
    path("blobs/uploads/<str:upload_id>/parts/<int:number>", upload_views.PartView.as_view()),
    path("blobs/uploads/<str:upload_id>/addresses", upload_views.PartAddressesView.as_view()),
    path("blobs/uploads/<str:upload_id>/complete", upload_views.CompleteUploadView.as_view()),
    path("blobs/<str:sha256>", views.BlobView.as_view()),
]
