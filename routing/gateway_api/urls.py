"""The gateway's addresses. The busiest comes first: the resolver tries them in order."""

from django.urls import re_path

from routing.gateway_api import views

urlpatterns = [
    re_path(r"^v1/chat/completions/?$", views.ChatCompletionsView.as_view()),
    re_path(r"^v1/messages/?$", views.MessagesView.as_view()),
    re_path(r"^v1/models/?$", views.ModelsView.as_view()),
    re_path(r"^v1/models/(?P<model>.+?)/?$", views.ModelView.as_view()),
    re_path(r"^v1/usage/?$", views.UsageView.as_view()),
    re_path(r"^v1/rate-limit/?$", views.RateLimitView.as_view()),
    re_path(r"^v1/receipts/(?P<request_id>[^/]+)/?$", views.ReceiptView.as_view()),
    re_path(r"^v1/keys/revoke/?$", views.RevokeView.as_view()),
    re_path(r"^healthz/?$", views.healthz),
    re_path(r"^readyz/?$", views.readyz),
]
handler404 = "routing.gateway_api.views.not_found"
handler500 = "routing.gateway_api.views.unexpected"
