import json

from fx_mm.tasks import all_kinds


def test_report_of_all_kinds(run, tmp_path):
    out = tmp_path / 'report.json'
    code, _, _ = run(
        'analysis_tools/benchmark_data',
        *('--images', 2, '--size', 512, '--img-size', 64, '--rounds', 3),
        *('--root', tmp_path / 'data', '--out', out, '--rows', 300),
    )
    assert code == 0
    report = json.loads(out.read_text())
    labelled = [kind for kind in all_kinds() if not kind.unlabelled]
    for kind in (kind.name for kind in labelled):
        for what in ('load', 'pipeline', 'filling'):
            found = report[kind][what]
            assert found['originals_ms'] > 0 and found['cache_ms'] > 0
        # reading 512 px from a PNG and 74 px from the cache
        assert report[kind]['load']['ratio'] > 1
        steps = report[kind]['steps']
        assert list(steps['cache']) == list(steps['originals'])
        assert list(steps['cache'])[:2] == ['LoadXray', 'LoadXrayAnnotations']
    for reader in ('CsvLabelReader', 'ListLabelReader'):
        found = report['tables'][reader]
        assert found['rows'] == 300
        assert found['seconds'] > 0 and found['megabytes'] > 0
