"""Montgomery: a mask file per lung."""

import numpy as np
from raw_helpers import drawn, read, save_mask, write_files


def test_montgomery_unites_the_lungs_and_knows_its_patients(tmp_path, mask):
    head = "Patient's Sex: F\nPatient's Age: 027Y\n"
    names = ('MCUCXR_0001_0', 'MCUCXR_0002_1')
    files = {f'CXR_png/{name}.png': '' for name in names}
    files['ClinicalReadings/MCUCXR_0001_0.txt'] = f'{head}normal\n'
    files['ClinicalReadings/MCUCXR_0002_1.txt'] = (
        f'{head}NO REPORT (same pt as MCUCXR_0001_0)\n'
    )
    root = write_files(tmp_path, files)
    for name in names:
        masks = root / 'ManualMask'
        save_mask(masks / 'leftMask' / f'{name}.png', mask)
        save_mask(masks / 'rightMask' / f'{name}.png', mask[:, ::-1])
    healthy, sick = read('montgomery', root)
    assert healthy.labels == dict(TB=0) and sick.labels == dict(TB=1)
    assert healthy.metadata == dict(sex='F', age=27)
    assert healthy.patient == sick.patient == 'MCUCXR_0001_0'
    assert np.array_equal(drawn(sick, 'Lung'), mask | mask[:, ::-1])
