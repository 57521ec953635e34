"""What every page of the console is made with."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def page(
    request: HttpRequest, name: str, title: str, *, status: int = 200, **answers: Any
) -> HttpResponse:
    """Render `templates/console/NAME.html` in the look of the admin site."""
    look = admin.site.each_context(request)
    context = {**look, "title": title, **answers}
    return render(request, f"console/{name}.html", context, status=status)
