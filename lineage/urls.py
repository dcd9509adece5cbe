from django.urls import path

from lineage import views

app_name = "lineage"

urlpatterns = [
    path("lineage/", views.LineagePage.as_view(), name="graph"),
    path("impact/", views.ImpactPage.as_view(), name="impact"),
    path("datasets/", views.DatasetList.as_view(), name="dataset_list"),
    path("datasets/<int:dataset_id>/", views.DatasetDetail.as_view(), name="dataset"),
    path("models/<str:name>/versions/<int:number>/reproduce/", views.Reproduce.as_view(), name="reproduce"),
]
