"""Keeps the ceiling on a limit's open counters the same as the limit's own.

By trigger, in the transaction of the edit: whoever reads a counter reads the ceiling that holds,
and bulk edits and raw SQL count too.
"""

from keys.triggers import Trigger, register_trigger

_TABLES = ("billing_limit", "billing_counter")
_NAME = "billing_limit_ceiling"


def register_ceiling_copies() -> None:
    """Call it in `AppConfig.ready`."""
    register_trigger(Trigger("sqlite", _NAME, _TABLES, (_SQLITE,)))
    register_trigger(Trigger("postgresql", _NAME, _TABLES, (_FUNCTION, _POSTGRESQL)))


_SQLITE = f"""
    CREATE TRIGGER "{_NAME}" AFTER UPDATE OF ceiling ON billing_limit
    BEGIN
        UPDATE billing_counter SET ceiling = NEW.ceiling
        WHERE limit_id = NEW.id
        AND (period_end IS NULL OR period_end > strftime('%Y-%m-%d %H:%M:%f', 'now'));
    END
"""  # noqa: S608 - constants only

# The rows are locked in the order that takes lock them in.
_FUNCTION = """
    CREATE OR REPLACE FUNCTION copy_ceiling() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM id FROM billing_counter
        WHERE limit_id = NEW.id AND (period_end IS NULL OR period_end > clock_timestamp())
        ORDER BY id FOR NO KEY UPDATE;
        UPDATE billing_counter SET ceiling = NEW.ceiling
        WHERE limit_id = NEW.id AND (period_end IS NULL OR period_end > clock_timestamp());
        RETURN NULL;
    END $$
"""
_POSTGRESQL = f"""
    CREATE TRIGGER "{_NAME}" AFTER UPDATE OF ceiling ON billing_limit
    FOR EACH ROW EXECUTE FUNCTION copy_ceiling()
"""
