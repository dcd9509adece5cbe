from django.urls import path

from approvals import views

app_name = "approvals"
APPROVAL = "approvals/<str:approval>"

urlpatterns = [
    path("approvals/", views.ApprovalList.as_view(), name="list"),
    path("approval-policies/", views.Policies.as_view(), name="policies"),
    path("approval-policies/new/", views.SetPolicy.as_view(), name="policy_new"),
    path("approval-policies/<int:policy_id>/", views.EditPolicy.as_view(), name="policy"),
    path("approval-policies/<int:policy_id>/delete/", views.DeletePolicy.as_view(), name="policy_delete"),
    path(f"{APPROVAL}/", views.ApprovalDetail.as_view(), name="detail"),
    path(f"{APPROVAL}/approve/", views.Approve.as_view(), name="approve"),
    path(f"{APPROVAL}/reject/", views.Reject.as_view(), name="reject"),
    path(f"{APPROVAL}/withdraw/", views.Withdraw.as_view(), name="withdraw"),
    path(f"{APPROVAL}/comment/", views.Comment.as_view(), name="comment"),
    path("models/<str:name>/versions/<int:number>/stage/", views.ChangeStage.as_view(), name="change_stage"),
    path("models/<str:name>/many/", views.ManyVersions.as_view(), name="many"),
    path("models/<str:name>/roll-back/", views.RollBack.as_view(), name="roll_back"),
]
