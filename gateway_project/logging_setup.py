"""Log lines: JSON for machines, columns for a terminal, to standard error.

One event is one line (a traceback on a terminal aside): control characters and line separators
in it are escaped. What looks like a secret is blanked out as a last net; nothing is meant to
reach it.
"""

import logging
import logging.config
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# By what each begins with, which is looked for first: most lines have none of them.
_SECRETS = {
    "gw_": re.compile("gw_[0-9A-Za-z]{43}"),
    "sk-": re.compile("sk-[0-9A-Za-z_-]{16,}"),
    "Bearer ": re.compile("(?<=Bearer )[0-9A-Za-z._~+/=-]{8,}"),
}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _StandardError:
    """Lines that it does not take are lost: a full disk must not end who has something to say."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure(settings: Mapping[str, str]) -> None:
    """Set up structlog and the standard library's loggers (Django's LOGGING_CONFIG).

    Args:
        settings: `format` is console or json, `level` the name of a level.
    """
    level = settings["level"]
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    rendering = [_json_line] if settings["format"] == "json" else [_escaped, _console_line]
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": [
                        *shared,
                        structlog.stdlib.add_logger_name,
                        # Of our own calls alone: Django adds whole requests.
                        structlog.stdlib.ExtraAdder(allow=("group", "error")),
                    ],
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        *rendering,
                    ],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": _library_loggers(level),
        }
    )


def _library_loggers(level: str) -> dict[str, dict[str, object]]:
    # Django's own handlers go, and what libraries say at INFO is about themselves.
    django: dict[str, object] = {"handlers": [], "propagate": True, "level": level}
    quiet = {"level": max(level, "WARNING", key=logging.getLevelNamesMapping().__getitem__)}
    libraries = ("celery", "kombu", "uvicorn", "httpx2", "httpcore2", "asyncio", "amqp")
    return {
        "django": django,
        "django.server": django,
        # A 4xx of the pages is the visitor's affair.
        "django.request": {"level": "ERROR"},
        **{name: dict(quiet) for name in libraries},
    }


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    line = orjson.dumps(event, default=str).decode()
    if not line.isascii() or "\x7f" in line:
        # JSON escapes some control characters only; readers of lines split at the others too.
        line = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
    return _without_secrets(line)


def _without_secrets(line: str) -> str:
    for beginning, secret in _SECRETS.items():
        if beginning in line:
            line = secret.sub("[secret]", line)
    return line


def _escaped(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str) and name != "exception":
            event[name] = _CONTROL.sub(lambda found: repr(found[0])[1:-1], value)
    return event


def _console_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return _without_secrets(_CONSOLE(logger, method, event))


_CONSOLE = structlog.dev.ConsoleRenderer(
    colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
)
