"""Findings that a report states, by rules with negation.

The rules are a few of what NegEx (Chapman et al., J Biomed Inform 2001) and
the labelers after it do: a term counts where it stands outside of the scope of
a negation. They are short enough to be read, and as right as the reports are
plain: hedges ("may represent") count as stated.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from fx_mm.utils.errors import UserError

TERMS: dict[str, tuple[str, ...]] = {
    'atelectasis': ('atelecta(?:sis|ses|tic)',),
    'cardiomegaly': (
        'cardiomegaly',
        r'heart (?:size )?is (?:\w+ )?enlarged',
        r'enlarged (?:heart|cardiac silhouette)',
        r'cardiac silhouette is (?:\w+ )?enlarged',
        'cardiac enlargement',
    ),
    'edema': ('o?edema',),
    'effusion': ('(?<!pericardial )effusions?', 'pleural fluid'),
    'lung opacity': ('opacit(?:y|ies)', 'opacification'),
    'mass': ('mass(?:es)?(?! effect)',),
    'pleural effusion': ('(?<!pericardial )effusions?', 'pleural fluid'),
    'pneumothorax': ('pneumothora(?:x|ces)',),
}
"""What a class is called in reports, where its name in one or two forms is not
all: regular expressions, whole words, of any case."""
SENTENCE = re.compile(r'[.;:!?](?=\s|$)|\n')
CLAUSE = re.compile(
    r'\b(?:but|however|although|though|while|whereas|except|otherwise|'
    r'apart from|aside from)\b',
    re.IGNORECASE,
)
"""Ends what a negation before it negates."""
NONE = re.compile(
    r':\s*(?:none|no|absent|negative)(?=\s*(?:[.;,\n]|$))', re.IGNORECASE
)
"""Answers a heading, as in "Effusion: none"."""
NO_NEGATION = re.compile(
    r'\b(?:(?:not|cannot)\s+(?:\w+\s+){0,2}?(?:changed|increased|decreased|'
    r'only|excluded?|ruled?\s+out|resolved|cleared)|'
    r'(?:no|without)\s+(?:\w+\s+){0,2}?(?:changes?|increase|decrease))\b',
    re.IGNORECASE,
)
"""Looks like a negation, and says that something has stayed or may be."""
BEFORE = re.compile(
    r'\b(?:no|not|without|nor|neither|never|negative for|free of|clear of|'
    r'(?:absence|lack|resolution) of|rules? out|excludes?)\b',
    re.IGNORECASE,
)
"""Negates what follows."""
GONE = re.compile(
    r'(?<!\bis )(?<!\bare )(?<!\bhas )(?<!\bhave )'
    r'\b(?:resolved|absent)\s+(?:\w+\s+)?$',
    re.IGNORECASE,
)
"""Negates the one thing that it stands before."""
VERB = re.compile(r'\b(?:is|are|was|were|has|have|remains?)\b', re.IGNORECASE)
ABSENT = (
    r'(?:absent|excluded|ruled out|unlikely|resolved|cleared|(?:not|no longer)'
    r'\s+(?:seen|present|identified|evident|visible|shown))\b'
)
AFTER = re.compile(rf'\s+(?:(?!not\b)\w+\s+){{0,2}}?{ABSENT}', re.IGNORECASE)
"""Negates what stands before, behind its verb."""
BEHIND = re.compile(rf'\s+{ABSENT}', re.IGNORECASE)
"""Negates what stands before, without a verb."""
LIST = re.compile(r'\b(?:or|nor)\b', re.IGNORECASE)


def default_terms(name: str) -> tuple[str, ...]:
    """Return the terms of a class that nobody named any for."""
    key = name.lower().replace('_', ' ')
    return TERMS.get(
        key, tuple(re.escape(part.strip()) + 's?' for part in key.split('/'))
    )


class FindingRules:
    """Finds the classes that a text states.

    Args:
        classes (Sequence[str]): Names of the findings.
        terms (Mapping[str, Sequence[str]], optional): Regular expressions by
            class, in place of :data:`TERMS`. Defaults to None.

    Raises:
        UserError: If a class is unknown, or an expression is none.
    """

    def __init__(
        self,
        classes: Sequence[str],
        terms: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        terms = terms or {}
        for name in terms:
            if name not in classes:
                raise UserError(
                    f'terms names "{name}", which is not a class of the task; '
                    f'its classes are: {", ".join(classes)}.'
                )
        self._patterns = [
            _compile(name, terms.get(name, default_terms(name)))
            for name in classes
        ]

    def __call__(self, text: str) -> np.ndarray:
        """Return which classes a text states.

        Args:
            text (str): A report.

        Returns:
            np.ndarray: bool (C,), True where a term of the class stands
            somewhere without being negated.
        """
        clauses = [
            NO_NEGATION.sub(lambda m: ' ' * len(m[0]), clause)
            for sentence in SENTENCE.split(NONE.sub(' is absent', text))
            for clause in CLAUSE.split(sentence)
        ]
        return np.array(
            [
                any(
                    not _negated(clause, *match.span())
                    for clause in clauses
                    for match in pattern.finditer(clause)
                )
                for pattern in self._patterns
            ],
            bool,
        )

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where terms stand, negated or not: starts and ends."""
        return [
            match.span()
            for pattern in self._patterns
            for match in pattern.finditer(text)
        ]


def _compile(name: str, terms: Sequence[str]) -> re.Pattern[str]:
    """Return one expression of all terms of a class."""
    if isinstance(terms, str) or not terms or not all(terms):
        raise UserError(
            f'terms of "{name}" must be a list of expressions, none of them '
            f'empty, and are {terms!r}.'
        )
    for term in terms:
        try:
            re.compile(term)
        except re.error as error:
            raise UserError(
                f'terms of "{name}": "{term}" is no regular expression: '
                f'{error}.'
            ) from error
    whole = rf'(?<!\w)(?:{"|".join(terms)})(?!\w)'
    return re.compile(whole, re.IGNORECASE)


def _negated(clause: str, start: int, end: int) -> bool:
    """Whether a term of a clause is in the scope of a negation.

    A comma ends the scope, unless a list goes on: "no nodule, effusion or
    mass" negates three, "no nodule, small effusion" one. What a verb says is
    said of what stands before it: "a nodule is seen and effusion is not seen".
    """
    for cue in BEFORE.finditer(clause, 0, end):
        if cue.start() == start:  # a name such as "No finding"
            continue
        comma = clause.find(',', cue.end(), start)
        if comma < 0 or LIST.search(clause, comma):
            return True
    if GONE.search(clause[:start]) or BEHIND.match(clause, end):
        return True
    verb = VERB.search(clause, end)
    if verb is None or ',' in clause[end : verb.start()]:
        return False
    return AFTER.match(clause, verb.end()) is not None
