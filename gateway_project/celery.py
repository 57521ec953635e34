"""The Celery application: sweeps over database rows, safe to lose and safe to repeat.

Nothing that money depends on runs here. The broker is a folder below DATA_DIR, or Redis when
REDIS_URL is set; results are not kept.
"""

import os
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from billiard import active_children
from celery import Celery, signals
from celery.exceptions import SecurityWarning
from celery.schedules import crontab
from celery.worker import state

from gateway_project import lifeline
from gateway_project.postgresql.silence import watch_silence

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

from django.conf import settings

# Its reason is pickled messages, and only JSON is accepted here.
warnings.simplefilter("ignore", SecurityWarning)

app = Celery("gateway_project")


def _broker() -> dict[str, Any]:
    if settings.REDIS_URL:
        # A lost worker's task comes back soon; a sweep that runs twice does no harm.
        return {
            "broker_url": settings.REDIS_URL,
            "broker_transport_options": {"visibility_timeout": 600},
        }
    return {
        "broker_url": "folder://localhost",
        "broker_transport": "gateway_project.folder_broker:Transport",
        "broker_transport_options": {
            "folder": str(Path(settings.DATA_DIR) / "broker" / "messages"),
        },
    }


app.conf.update(
    **_broker(),
    broker_connection_retry_on_startup=True,
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_acks_late=bool(settings.REDIS_URL),
    task_reject_on_worker_lost=bool(settings.REDIS_URL),
    timezone="UTC",
    worker_concurrency=1,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    beat_schedule={
        "send alerts": {
            "task": "billing.send_alerts",
            "schedule": timedelta(seconds=15),
            # Behind a long task only the last one is wanted.
            "options": {"expires": 15},
        },
        "sweep counters": {
            "task": "billing.sweep_counters",
            "schedule": timedelta(minutes=10),
        },
        "sync prices": {
            "task": "billing.sync_prices",
            "schedule": crontab(hour="3", minute="17"),
        },
        "check books": {
            "task": "billing.check_books",
            "schedule": crontab(hour="2", minute="41"),
        },
        "clear sessions": {
            "task": "gateway_project.clear_sessions",
            "schedule": crontab(hour="4", minute="7"),
        },
        "recover journals": {
            "task": "gateway_project.recover_journals",
            "schedule": timedelta(minutes=1),
        },
        "price unpriced calls": {
            "task": "routing.price_unpriced_calls",
            "schedule": timedelta(minutes=1),
        },
    },
)
app.autodiscover_tasks()


def _keep_django_logging(**_: Any) -> None:
    """Celery sets up no logging where its signal has a receiver; Django's holds."""


def _watch_supervisor(**_: Any) -> None:
    lifeline.watch()


def _watch_worker(**_: Any) -> None:
    # The schedule's process closes what it inherits, the lifeline too.
    lifeline.watch_parent()


def _watch_database(**_: Any) -> None:
    # One task that waits for ever would hold up all the others.
    watch_silence()


def _leave_when_idle(**_: Any) -> None:
    """A task may finish. Where none runs, Celery's own way is four seconds of waiting."""
    if not state.active_requests:
        for schedule in active_children():
            schedule.terminate()
        os._exit(0)


signals.setup_logging.connect(_keep_django_logging)
signals.celeryd_init.connect(_watch_supervisor)
signals.beat_embedded_init.connect(_watch_worker)
# After the schedule's process was forked off: a thread would not go along.
signals.worker_ready.connect(_watch_database)
signals.worker_shutting_down.connect(_leave_when_idle)
