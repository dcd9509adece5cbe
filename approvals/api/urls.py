from django.urls import path

from approvals.api import views

APPROVAL = "approvals/<str:approval>"

urlpatterns = [
    path("bulk", views.BulkView.as_view()),
    path("models/<str:name>/versions/<str:ref>/transition", views.TransitionView.as_view()),
    path("models/<str:name>/rollback", views.RollbackView.as_view()),
    path("approvals", views.ApprovalsView.as_view()),
    path(APPROVAL, views.OneApprovalView.as_view()),
    path(f"{APPROVAL}/approve", views.ApproveView.as_view()),
    path(f"{APPROVAL}/reject", views.RejectView.as_view()),
    path(f"{APPROVAL}/cancel", views.CancelView.as_view()),
    path(f"{APPROVAL}/comments", views.CommentsView.as_view()),
    path("approval-policies", views.PoliciesView.as_view()),
    path("approval-policies/<int:policy_id>", views.PolicyView.as_view()),
    path("promotion-rules", views.RulesView.as_view()),
]
