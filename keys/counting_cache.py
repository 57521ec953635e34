"""The cache of an installation without Redis: Django's database cache with an exact `incr`.

Django's own reads, adds and writes back: two processes lose counts, and the entry's lifetime
starts anew. Here the row is locked first and keeps its lifetime.
"""

import base64
import pickle

from django.core.cache.backends.db import DatabaseCache
from django.db import connections, router, transaction


class CountingCache(DatabaseCache):
    _table: str

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add to a number.

        Raises:
            ValueError: there is no such entry, or no more.
        """
        row = self.make_and_validate_key(key, version=version)
        using = router.db_for_write(self.cache_model_class)
        connection = connections[using]
        table = connection.ops.quote_name(self._table)
        with transaction.atomic(using=using), connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET value = value WHERE cache_key = %s",  # noqa: S608 - our table
                [row],
            )
            count = self.get(key, version=version)
            if count is None:
                raise ValueError(f"Key '{key}' not found")
            pickled = pickle.dumps(count + delta, self.pickle_protocol)
            cursor.execute(
                f"UPDATE {table} SET value = %s WHERE cache_key = %s",  # noqa: S608 - our table
                [base64.b64encode(pickled).decode("latin1"), row],
            )
        return int(count + delta)
