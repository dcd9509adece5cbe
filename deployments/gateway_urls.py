from django.urls import path

from deployments import gateway

urlpatterns = [
    path("serve/<slug:project>/<str:endpoint>", gateway.predict),
    path("serve/<slug:project>/<str:endpoint>/v2", gateway.protocol),
    path("serve/<slug:project>/<str:endpoint>/v2/<path:path>", gateway.protocol),
]
