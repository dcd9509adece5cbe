from django.urls import path

from scheduling import views

app_name = "scheduling"
SCHEDULE = "schedules/<str:schedule>"

urlpatterns = [
    path("schedules/", views.ScheduleList.as_view(), name="list"),
    path("experiments/<str:experiment_id>/training-code/", views.CodeList.as_view(), name="code"),
    path("experiments/<str:experiment_id>/fetch-code/", views.FetchCode.as_view(), name="fetch_code"),
    path("create-schedule/", views.CreateSchedule.as_view(), name="create"),
    path("schedule-times/", views.Times.as_view(), name="times"),
    path("deleted-schedules/<int:pk>/", views.DeletedSchedule.as_view(), name="deleted"),
    path(f"{SCHEDULE}/", views.ScheduleDetail.as_view(), name="detail"),
    path(f"{SCHEDULE}/edit/", views.EditSchedule.as_view(), name="edit"),
    path(f"{SCHEDULE}/pause/", views.Pause.as_view(), name="pause"),
    path(f"{SCHEDULE}/resume/", views.Resume.as_view(), name="resume"),
    path(f"{SCHEDULE}/run/", views.RunNow.as_view(), name="run"),
    path(f"{SCHEDULE}/delete/", views.DeleteSchedule.as_view(), name="delete"),
    path("executions/<str:execution>/", views.ExecutionDetail.as_view(), name="execution"),
    path("executions/<str:execution>/stop/", views.Stop.as_view(), name="stop"),
]
