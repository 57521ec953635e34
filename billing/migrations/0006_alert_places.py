from decimal import Decimal

from django.db import migrations, models


def know_by_place(apps, schema_editor):
    """Alerts were known by their limit's row; what they told must not be told again."""
    alerts = apps.get_model("billing", "Alert").objects
    key_of = dict(apps.get_model("billing", "Limit").objects.values_list("pk", "key_id"))
    taken, changed = set(), []
    for alert in alerts.filter(kind="limit").order_by("created_at", "pk").iterator(1000):
        data = alert.says["data"]
        start = alert.key.split(" ", 3)[2]
        # A limit that is gone says no more whose it was; most are a team's.
        owner = f"{data['team_id']} {key_of.get(data['limit_id']) or '-'}"
        counted = f"limit {owner} {data['unit']} {data['window']} {data['per']}"
        scale = 10**9 if data["unit"] == "usd" else 1
        ceiling = int(Decimal(data["ceiling"]) * scale)
        alert.place = f"{counted} {start} {data['subject']}"
        key = f"{counted} {start} {data['share']} {ceiling} {data['subject']}"
        if key not in taken:
            # A limit's row that was replaced may have told the same twice.
            alert.key = key
            taken.add(key)
        changed.append(alert)
        if len(changed) == 1000:
            alerts.bulk_update(changed, ["key", "place"], batch_size=200)
            changed = []
    alerts.bulk_update(changed, ["key", "place"], batch_size=200)


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0005_running_holds'),
    ]

    operations = [
        migrations.AddField(
            model_name='alert',
            name='mailed_to',
            field=models.JSONField(db_default=models.Value([], models.JSONField()), default=list, help_text='Addresses whose mail was taken.'),
        ),
        migrations.AlterField(
            model_name='alert',
            name='mailed_at',
            field=models.DateTimeField(help_text='When the last address had its mail.', null=True),
        ),
        migrations.AddField(
            model_name='alert',
            name='place',
            field=models.CharField(blank=True, db_default='', help_text="Whose use of what, in which period: of a limit's alerts.", max_length=500),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(fields=['place'], name='alert_by_place'),
        ),
        migrations.RunPython(know_by_place, migrations.RunPython.noop),
    ]
