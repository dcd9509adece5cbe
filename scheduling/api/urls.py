from django.urls import path

from scheduling.api import views

urlpatterns = [
    path("experiments/<str:experiment_id>/training-code", views.TrainingCodesView.as_view()),
    path("schedules", views.SchedulesView.as_view()),
    path("schedule-times", views.TimesView.as_view()),
    path("schedules/<str:schedule>", views.OneScheduleView.as_view()),
    path("schedules/<str:schedule>/pause", views.PauseView.as_view()),
    path("schedules/<str:schedule>/resume", views.ResumeView.as_view()),
    path("schedules/<str:schedule>/trigger", views.TriggerView.as_view()),
    path("schedules/<str:schedule>/executions", views.ExecutionsView.as_view()),
    path("deleted-schedules/<int:schedule_id>/executions", views.DeletedExecutionsView.as_view()),
    path("runs/<str:run_id>/again", views.RunAgainView.as_view()),
    path("executions/<str:execution>", views.ExecutionView.as_view()),
    path("executions/<str:execution>/stop", views.StopView.as_view()),
    path("executions/<str:execution>/log", views.LogView.as_view()),
]
