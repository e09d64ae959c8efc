"""What Label Studio's own converter makes of an export.

Run by the Python of ``make labelstudio``, which has nothing of fx_mm:
``label_studio_peer.py EXPORT LABELS FOLDER`` writes ``result.json`` (COCO) of
the boxes and a PNG, named like its image, of the brush mask of each task.
"""

import json
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter, brush
from PIL import Image

export, labels, folder = map(Path, sys.argv[1:])
tasks = json.loads(export.read_text())
for task in tasks:
    result = task['annotations'][0]['result']
    masks = [
        dict(
            region['value'],
            type='brushlabels',
            original_width=region['original_width'],
            original_height=region['original_height'],
        )
        for region in result
        if region['type'] == 'brushlabels'
    ]
    if masks:
        layers = brush.decode_from_annotation('x', masks)
        (mask,) = layers.values()
        file = folder / task['data']['fx_mm_image']
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    task['annotations'][0]['result'] = [
        region for region in result if region['type'] == 'rectanglelabels'
    ]
boxes = folder / 'boxes.json'
boxes.write_text(json.dumps(tasks))
converter = Converter(str(labels), str(folder), download_resources=False)
converter.convert_to_coco(str(boxes), str(folder), is_dir=False)
