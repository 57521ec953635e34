"""Static files, straight from the packages that bring them; nothing has to be collected."""

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """Answer in one piece: Django would gather a file stream in one piece under ASGI too."""
        answer = static_file.get_response(request.method, request.META)
        response = HttpResponse(answer.file.read() if answer.file else b"", status=answer.status)
        del response.headers["Content-Type"]
        for name, value in answer.headers:
            response.headers[name] = value
        return response
