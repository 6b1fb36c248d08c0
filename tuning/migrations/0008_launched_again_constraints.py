# Apart from the fields: PostgreSQL alters no table whose rows were changed in the same transaction.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tuning', '0007_launched_again'),
    ]

    operations = [
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.UniqueConstraint(condition=models.Q(('purpose__in', ['search', 'baseline'])), fields=('task', 'configuration_hash', 'fidelity'), name='experiment_configuration_is_tried_once'),
        ),
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.UniqueConstraint(fields=('original', 'purpose', 'round'), name='experiment_is_launched_again_once_per_round'),
        ),
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.CheckConstraint(condition=models.Q(('purpose__in', ['search', 'baseline', 'repeat', 'verification'])), name='experiment_purpose_is_known'),
        ),
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('number', 0), ('purpose', 'baseline')), models.Q(models.Q(('purpose', 'baseline'), _negated=True), ('number__gt', 0)), _connector='OR'), name='experiment_baseline_is_number_zero'),
        ),
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('original__isnull', True), ('purpose__in', ['search', 'baseline']), ('round__isnull', True)), models.Q(models.Q(('purpose__in', ['search', 'baseline']), _negated=True), ('original__isnull', False), ('round__isnull', False)), _connector='OR'), name='experiment_launches_again_iff_it_has_an_original'),
        ),
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.CheckConstraint(condition=models.Q(('num_failed_requests__lte', models.F('num_requests'))), name='experiment_failed_requests_are_requests'),
        ),
    ]
