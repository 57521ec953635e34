from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0006_alert_places'),
    ]

    operations = [
        migrations.AddField(
            model_name='worker',
            name='seen_at',
            field=models.DateTimeField(help_text='Null: of a version that does not tell; it never lapses.', null=True),
        ),
        migrations.AddField(
            model_name='worker',
            name='lapsed_at',
            field=models.DateTimeField(help_text='When its requests and calls at once were given to others.', null=True),
        ),
    ]
