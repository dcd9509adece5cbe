from django.urls import path

from registry.api import bundle_views, care, input_views, inspection, views

urlpatterns = [
    # What programs ask for most comes first.
    path("models", views.ModelsView.as_view()),
    path("models/<str:name>", views.ModelView.as_view()),
    path("models/<str:name>/versions", views.VersionsView.as_view()),
    path("models/<str:name>/versions/<str:ref>", views.VersionView.as_view()),
    path("models/<str:name>/aliases/<str:alias>", views.AliasView.as_view()),
    path("models/<str:name>/versions/<str:ref>/tags/<path:key>", views.VersionTagView.as_view()),
    path("bundles", bundle_views.BundlesView.as_view()),
    path("model-versions", views.AllVersionsView.as_view()),
    path("runs/<str:run_id>/inputs", input_views.RunInputsView.as_view()),
    path("trash", care.TrashView.as_view()),
    path("protections", care.ProtectionsView.as_view()),
    path("protections/<int:protection_id>", care.ProtectionView.as_view()),
    path("models/<str:name>/restore", care.RestoreModelView.as_view()),
    path("models/<str:name>/standing", care.StandingView.as_view()),
    path("models/<str:name>/versions/<int:number>/restore", care.RestoreVersionView.as_view()),
    path("models/<str:name>/versions/<str:ref>/validation-metrics", care.ValidationMetricsView.as_view()),
    path("models/<str:name>/versions/<str:ref>/inspection", inspection.InspectionView.as_view()),
    path("models/<str:name>/versions/<str:ref>/release", views.ReleaseView.as_view()),
    path("models/<str:name>/versions/<str:ref>/copy", bundle_views.CopyView.as_view()),
    path("models/<str:name>/versions/<str:ref>/bundle", bundle_views.BundleView.as_view()),
    path("models/<str:name>/versions/<str:ref>/transitions", views.VersionTransitionsView.as_view()),
    path("models/<str:name>/versions/<str:ref>/read-artifacts", views.ReadVersionFilesView.as_view()),
    path("models/<str:name>/versions/<str:ref>/artifacts", views.VersionFilesView.as_view()),
    path("models/<str:name>/versions/<str:ref>/artifacts/<path:path>", views.VersionFileView.as_view()),
    path("models/<str:name>/transitions", views.ModelTransitionsView.as_view()),
    path("models/<str:name>/alias-moves", views.AliasMovesView.as_view()),
    path("models/<str:name>/compare", views.CompareView.as_view()),
    path("models/<str:name>/aliases", views.AliasesView.as_view()),
]
