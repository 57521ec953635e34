"""The gateway's addresses. The busiest comes first: the resolver tries them in order.

A trailing slash is dropped before (`GatewayRequest`), so each address has one spelling here.
"""

from django.urls import path

from routing.gateway_api import views

urlpatterns = [
    path("v1/chat/completions", views.ChatCompletionsView.as_view()),
    path("v1/messages", views.MessagesView.as_view()),
    path("v1/models", views.ModelsView.as_view()),
    path("v1/models/<path:model>", views.ModelView.as_view()),
    path("v1/usage", views.UsageView.as_view()),
    path("v1/rate-limit", views.RateLimitView.as_view()),
    path("v1/receipts/<str:request_id>", views.ReceiptView.as_view()),
    path("v1/keys/revoke", views.RevokeView.as_view()),
    path("healthz", views.healthz),
    path("readyz", views.readyz),
]
handler404 = "routing.gateway_api.views.not_found"
handler500 = "routing.gateway_api.views.unexpected"
