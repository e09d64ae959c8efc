"""A made-up raw dataset and its config."""

import cv2
import numpy as np

from fx_mm.preparation import RAW_DATASETS, RawDataset, RawImage

CONFIG = """
_splits = ('train', 'val', 'test')
toy = dict(
    data_root='data/toy/',
    img_dir={img_dir!r},
    tasks=dict(
        cls=dict(
            classes=('Nodule', 'Effusion'),
            reader=dict(type='CsvLabelReader', uncertain=1.0),
            splits={{s: f'prepared/{{s}}.csv' for s in _splits}},
        ),
        loc=dict(
            classes=('Nodule',),
            reader=dict(type='CocoReader'),
            splits={{s: f'prepared/{{s}}.json' for s in _splits}},
        ),
        seg=dict(
            classes=('Nodule', 'Lung'),
            reader=dict(type='MaskReader'),
            splits={{s: f'prepared/{{s}}_masks.csv' for s in _splits}},
        ),
    ),
)
del _splits
"""


class Block:
    """A rectangular mask piece."""

    def __init__(self, x1, y1, x2, y2):
        self.corners = x1, y1, x2, y2

    def draw(self, height, width):
        x1, y1, x2, y2 = self.corners
        mask = np.zeros((height, width), bool)
        mask[y1:y2, x1:x2] = True
        return mask


class Held(Block):
    """A rectangle in whose right half nobody annotated anything."""

    def draw(self, height, width):
        mask = super().draw(height, width)
        ignored = np.zeros_like(mask)
        x1, y1, x2, y2 = self.corners
        ignored[y1:y2, (x1 + x2) // 2 : x2] = True
        return np.ma.MaskedArray(mask, ignored)


class Toy:
    """A raw dataset in a folder of its own, registered as ``toy``.

    Attributes:
        images (list[RawImage]): What its reader returns.
    """

    def __init__(self, folder):
        self.data = folder / 'data'
        self.root = self.data / 'toy'
        self.prepared = self.root / 'prepared'
        self.config = folder / 'toy.py'
        self.images = []
        (self.root / 'raw').mkdir(parents=True)
        (self.root / 'official.csv').write_text('image\n')
        self.configure()
        self.register(split_ratios=dict(train=0.4, val=0.3, test=0.3))

    def configure(self, img_dir='prepared/images/', **changes):
        """Write the config, with texts replaced."""
        text = CONFIG.format(img_dir=img_dir)
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text)

    def register(self, **fields):
        RAW_DATASETS['toy'] = RawDataset('toy', self._read, **fields)

    def _read(self, folder, **options):
        self.options = options
        list(folder.read_lines(folder.find('official.csv')))
        yield from self.images

    def add(self, number, width=40, height=30, **fields):
        """Add an image of noise; return it."""
        path = self.root / f'raw/{number:03d}.png'
        values = np.random.default_rng(number).integers(
            0, 256, (height, width), np.uint8
        )
        cv2.imwrite(str(path), values)
        fields.setdefault('patient', f'c{number // 2}')
        image = RawImage(f'{number:03d}.png', path, **fields)
        self.images.append(image)
        return image

    def fill(self, count=24, start=0):
        """Add images of which every third has a nodule."""
        for number in range(start, start + count):
            ill = number % 3 == 0
            x, y = 3 + number % 7, 4 + number % 5
            nodule = Block(x, y, x + 9, y + 8)
            self.add(
                number,
                labels=dict(Nodule=int(ill), Effusion=(None, -1, 0)[x % 3]),
                boxes=[('Nodule', x, y, x + 9, y + 8)] if ill else [],
                masks=dict(
                    Nodule=[nodule] if ill else [],
                    Lung=[Block(2, 2, 12, 28), Block(25, 2, 36, 28)],
                ),
                metadata=dict(sex='F', age=40.0 + number),
            )
        return self
