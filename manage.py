#!/usr/bin/env python
"""Django's command line for the gateway."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db.utils import OperationalError, ProgrammingError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:
        if "--traceback" in sys.argv:
            raise
        # A database that is away, or behind this version: no traceback would say more.
        reason = str(error).strip().partition("\n")[0]
        sys.exit(f"The database says: {reason} (is it reachable, and migrated?)")
    except KeyboardInterrupt:
        sys.exit(130)
