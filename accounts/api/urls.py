from django.urls import path

from accounts.api import groups, invitations, notifications, views, webhooks

urlpatterns = [
    path("tokens", views.TokensView.as_view()),
    path("tokens/<str:prefix>", views.TokenView.as_view()),
    path("members", views.MembersView.as_view()),
    path("members/<str:username>", views.MemberView.as_view()),
    path("groups", groups.GroupsView.as_view()),
    path("groups/<str:name>", groups.GroupView.as_view()),
    path("notifications", notifications.NotificationsView.as_view()),
    path("notifications/read", notifications.ReadNotificationsView.as_view()),
    path("notification-choices", notifications.NotificationChoicesView.as_view()),
    path("webhooks", webhooks.WebhooksView.as_view()),
    path("webhooks/<str:webhook>", webhooks.OneWebhookView.as_view()),
    path("webhooks/<str:webhook>/ping", webhooks.PingView.as_view()),
    path("webhooks/<str:webhook>/deliveries", webhooks.DeliveriesView.as_view()),
    path("webhooks/<str:webhook>/deliveries/<str:message>/redeliver", webhooks.RedeliverView.as_view()),
    path("invitations", invitations.InvitationsView.as_view()),
    path("invitations/<int:invitation_id>", invitations.InvitationView.as_view()),
    path("audit", views.AuditView.as_view()),
    path("audit/export", views.ExportAuditView.as_view()),
]
