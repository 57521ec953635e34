"""What the pages of the ledger, its totals and the refusals share: they can only be read."""

from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from unfold.admin import ModelAdmin

MOST_ROWS_COUNTED = 10_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts no further than a person pages: a ledger has millions of rows."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_ROWS_COUNTED].count())


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    """Django checks these for every request, so a forged form changes nothing either.

    Attributes:
        nothing_yet: what an empty list says: when rows appear, as nobody can add one.
    """

    nothing_yet: str
    actions: tuple[str, ...] | None = None
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
