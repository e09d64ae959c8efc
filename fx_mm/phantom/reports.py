"""Reports and questions about a drawn chest, written from its scene.

A grammar of a few wordings per fact, in the manner of two hospitals: B
dictates keywords, C writes sentences. What is there is always stated, with
side, zone and size where the finding has them; what is not is denied now and
then, as radiologists do; and some sentences say nothing of the image. So the
findings that a text states are exactly the labels of its image.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

HEART = 'Cardiomegaly'
LESIONS = ('Nodule', 'Mass', 'Consolidation')
PLEURA = ('Pleural effusion', 'Pneumothorax')
SMALL, LARGE = 0.02, 0.10
"""Shares of both lungs: below the first small, above the second large."""

_LESION = {
    'sentences': (
        'There is a {size} {name} in the {side} {zone} zone.',
        'A {size} {name} projects over the {side} {zone} zone.',
        'The {side} {zone} zone shows a {size} {name}.',
    ),
    'keywords': ('{Size} {name} {side} {zone} zone.',),
}
_PLEURAL = {
    'sentences': (
        'There is a {size} {side} {name}.',
        'A {size} {name} is seen on the {side}.',
    ),
    'keywords': ('{Size} {side} {name}.',),
}
_HEART = {
    'sentences': (
        'The heart is enlarged.',
        'The cardiac silhouette is enlarged.',
        'There is cardiomegaly.',
    ),
    'keywords': ('Cardiomegaly.', 'Enlarged heart.'),
}
_NORMAL_HEART = {
    'sentences': (
        'The heart size is normal.',
        'The heart is not enlarged.',
        'There is no cardiomegaly.',
    ),
    'keywords': ('Heart normal.', 'No cardiomegaly.'),
}
_DENIAL = {
    'sentences': (
        'There is no {names}.',
        'No {names} is seen.',
        'There is no evidence of {names}.',
    ),
    'keywords': ('No {names}.',),
}
_CLEAR = {
    'sentences': ('The lungs are clear.', 'Both lungs are well aerated.'),
    'keywords': ('Lungs clear.',),
}
_NOISE = {
    'sentences': (
        'No change since the prior study.',
        'The bones are unremarkable.',
        'Frontal view of the chest.',
    ),
    'keywords': ('Portable AP.', 'No interval change.'),
}
STYLES = {'b': 'keywords', 'c': 'sentences'}
"""How the hospitals that write reports write them."""


class Place(NamedTuple):
    """A finding of a scene and where it is.

    Attributes:
        name (str): One of FINDINGS.
        side (str): Of the patient: ``left`` or ``right``.
        zone (str): A third of that lung's height: ``upper``, ``middle`` or
            ``lower``.
        size (str): ``small``, ``moderate`` or ``large``, by its share of the
            lungs.
    """

    name: str
    side: str
    zone: str
    size: str


class Question(NamedTuple):
    """A question about an image, and its answer."""

    question: str
    answer: str


def locate(
    instances: Sequence[tuple[str, np.ndarray]],
    masks: Mapping[str, np.ndarray],
) -> list[Place]:
    """Say where the findings are.

    Args:
        instances (Sequence[tuple]): Name and mask of each, bool (H, W).
        masks (Mapping[str, np.ndarray]): Has ``Left lung`` and ``Right
            lung``, bool (H, W).

    Returns:
        list[Place]: One per instance.
    """
    lungs = {s: masks[f'{s.capitalize()} lung'] for s in ('left', 'right')}
    total = sum(int(lung.sum()) for lung in lungs.values())
    places = []
    for name, mask in instances:
        rows, columns = mask.nonzero()
        gaps = {
            side: abs(lung.nonzero()[1].mean() - columns.mean())
            for side, lung in lungs.items()
        }
        side = min(gaps, key=gaps.__getitem__)
        heights = lungs[side].nonzero()[0]
        top, bottom = heights.min(), heights.max() + 1
        third = int(3 * (rows.mean() - top) / (bottom - top))
        share = mask.sum() / total
        places.append(
            Place(
                name,
                side,
                ('upper', 'middle', 'lower')[min(max(third, 0), 2)],
                'small'
                if share < SMALL
                else 'large'
                if share > LARGE
                else 'moderate',
            )
        )
    return places


def write_report(
    places: Sequence[Place], style: str, rng: np.random.Generator
) -> str:
    """Write the report of an image.

    Args:
        places (Sequence[Place]): What is there.
        style (str): ``sentences`` or ``keywords``.
        rng (np.random.Generator): Chooses the wordings.

    Returns:
        str: Sentences, the findings of the lungs first.
    """
    there = {place.name for place in places}

    def say(wordings: Mapping[str, Sequence[str]], **words: str) -> str:
        chosen = wordings[style][int(rng.integers(len(wordings[style])))]
        return chosen.format(**words)

    said = []
    for names, wordings in ((LESIONS, _LESION), (PLEURA, _PLEURAL)):
        for place in places:
            if place.name in names:
                words = place._asdict() | dict(name=place.name.lower())
                words['Size'] = place.size.capitalize()
                said.append(say(wordings, **words))
    if not there & {*LESIONS, *PLEURA}:
        said.append(say(_CLEAR))
    absent = [n for n in (*LESIONS, *PLEURA) if n not in there]
    denied = [n.lower() for n in absent if rng.random() < 0.4]
    if denied:
        said.append(say(_DENIAL, names=_listed(denied)))
    if HEART in there:
        said.append(say(_HEART))
    elif rng.random() < 0.7:
        said.append(say(_NORMAL_HEART))
    if rng.random() < 0.25:
        said.append(say(_NOISE))
    return ' '.join(said)


def ask_questions(
    places: Sequence[Place], rng: np.random.Generator
) -> Iterator[Question]:
    """Ask about an image.

    Of each image something that is not there, so that the answer is no; of
    one with findings something that is, and where it is if it has a place.

    Args:
        places (Sequence[Place]): What is there.
        rng (np.random.Generator): Chooses the questions.

    Yields:
        Question: Each other than those before.
    """
    there = list(dict.fromkeys(place.name for place in places))
    absent = [n for n in (*LESIONS, *PLEURA, HEART) if n not in there]
    names = [absent[rng.integers(len(absent))]]
    names += [there[rng.integers(len(there))]] if there else []
    for name in names:
        asked = (
            'Is the heart enlarged?'
            if name == HEART
            else f'Is there a {name.lower()}?'
        )
        yield Question(asked, 'yes' if name in there else 'no')
    single = [
        place
        for place in places
        if place.name in LESIONS
        and [p.name for p in places].count(place.name) == 1
    ]
    for place in single[:1]:
        yield Question(
            f'Where is the {place.name.lower()}?',
            f'{place.side} {place.zone} zone',
        )


def _listed(names: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    *first, last = names
    return f'{", ".join(first)} or {last}' if first else last
