from django.urls import path

from accounts import (
    group_views,
    invitation_views,
    notification_views,
    project_views,
    settings_views,
    views,
    webhook_views,
)

app_name = "accounts"
PROJECT = "projects/<slug:project>/"
WEBHOOK = f"{PROJECT}webhooks/<str:webhook>/"

urlpatterns = [
    path("projects/", views.ProjectList.as_view(), name="projects"),
    path("settings/profile/", settings_views.Profile.as_view(), name="profile"),
    path("settings/tokens/", settings_views.Tokens.as_view(), name="tokens"),
    path("settings/tokens/new/", settings_views.NewToken.as_view(), name="token_new"),
    path("settings/tokens/<str:prefix>/revoke/", settings_views.RevokeToken.as_view(), name="token_revoke"),
    path(PROJECT, project_views.ProjectHome.as_view(), name="project_home"),
    path(f"{PROJECT}settings/", project_views.ProjectSettings.as_view(), name="project"),
    path(f"{PROJECT}members/", project_views.Members.as_view(), name="members"),
    path(f"{PROJECT}members/<str:username>/", project_views.ChangeRole.as_view(), name="member"),
    path(
        f"{PROJECT}members/<str:username>/remove/", project_views.RemoveMember.as_view(), name="member_remove"
    ),
    path(f"{PROJECT}groups/", group_views.Groups.as_view(), name="groups"),
    path(f"{PROJECT}groups/<str:name>/", group_views.ChangeGroup.as_view(), name="group"),
    path(f"{PROJECT}groups/<str:name>/delete/", group_views.DeleteGroup.as_view(), name="group_delete"),
    path(f"{PROJECT}notifications/", notification_views.Inbox.as_view(), name="inbox"),
    path(
        f"{PROJECT}notifications/choices/",
        notification_views.NotificationChoices.as_view(),
        name="notification_choices",
    ),
    path(
        f"{PROJECT}notifications/<int:notification_id>/",
        notification_views.OpenNotification.as_view(),
        name="notification",
    ),
    path("invitations/<str:link>/", invitation_views.AcceptInvitation.as_view(), name="invitation"),
    path(f"{PROJECT}invitations/", invitation_views.Invite.as_view(), name="invitations"),
    path(
        f"{PROJECT}invitations/<int:invitation_id>/revoke/",
        invitation_views.RevokeInvitation.as_view(),
        name="invitation_revoke",
    ),
    path(f"{PROJECT}webhooks/", webhook_views.WebhookList.as_view(), name="webhooks"),
    path(f"{PROJECT}new-webhook/", webhook_views.NewWebhook.as_view(), name="webhook_new"),
    path(WEBHOOK, webhook_views.WebhookDetail.as_view(), name="webhook"),
    path(f"{WEBHOOK}edit/", webhook_views.EditWebhook.as_view(), name="webhook_edit"),
    path(f"{WEBHOOK}delete/", webhook_views.DeleteWebhook.as_view(), name="webhook_delete"),
    path(f"{WEBHOOK}ping/", webhook_views.Ping.as_view(), name="webhook_ping"),
    path(f"{WEBHOOK}on/", webhook_views.SwitchOn.as_view(), name="webhook_on"),
    path(f"{WEBHOOK}off/", webhook_views.SwitchOff.as_view(), name="webhook_off"),
    path(f"{WEBHOOK}redeliver/<str:message>/", webhook_views.Redeliver.as_view(), name="webhook_redeliver"),
    path(f"{PROJECT}audit/", project_views.AuditTrail.as_view(), name="audit"),
    path(f"{PROJECT}audit/export/", project_views.ExportAudit.as_view(), name="audit_export"),
]
