from django.urls import path

from accounts.api import views

urlpatterns = [
    path("tokens", views.TokensView.as_view()),
    path("tokens/<str:prefix>", views.TokenView.as_view()),
    path("members", views.MembersView.as_view()),
    path("members/<str:username>", views.MemberView.as_view()),
    path("audit", views.AuditView.as_view()),
    path("audit/export", views.ExportAuditView.as_view()),
]
