"""A vocabulary that is learned on reports and travels with the weights."""

import json
import os
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fx_mm.utils.extras import import_extra

PAD, START, END, ANSWER = range(4)
"""Tokens that stand for no text; ``ANSWER`` ends a question."""
SPECIAL = ('\0pad', '\0start', '\0end', '\0answer')
"""Their names: byte-level text has no null."""
BYTES = 256
SMALLEST = len(SPECIAL) + BYTES
"""Tokens of a vocabulary without any merge."""


class ReportTokenizer(nn.Module):
    """Byte-level BPE (Sennrich et al., ACL 2016; GPT-2), by ``tokenizers``.

    Any text can be written, whatever was learned. What is learned are the
    merges, pairs of tokens that are put together, which are a buffer: they
    are in each checkpoint and published file beside the embeddings that
    learned with them, as numbers, with nothing to execute. Weights of a model
    that has seen no text, such as initial ones, leave them as they are.

    Args:
        size (int): Tokens of the vocabulary, at least 260. Fewer reports
            than that many tokens need leave the last ones without a meaning.
    """

    merges: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        empty = torch.full((size - SMALLEST, 2), -1, dtype=torch.int32)
        self.register_buffer('merges', empty)
        self._built: Any = None
        self.register_load_state_dict_pre_hook(_keep_learned)
        self.register_load_state_dict_post_hook(_forget)

    @property
    def known(self) -> int:
        """int: Tokens with a meaning; the ids above it have none."""
        return self._tokenizer().get_vocab_size()

    def learn(self, texts: Iterable[str]) -> None:
        """Learn the merges from texts; the same texts give the same."""
        library = _library()
        learner = library.Tokenizer(library.models.BPE())
        learner.pre_tokenizer = _pre_tokenizer(library)
        learner.train_from_iterator(
            texts,
            library.trainers.BpeTrainer(
                vocab_size=BYTES + len(self.merges),
                initial_alphabet=_alphabet(library),
                show_progress=False,
            ),
        )
        pairs = json.loads(learner.to_str())['model']['merges']
        ids = dict(zip((*SPECIAL, *_alphabet(library)), range(self.size)))
        self.merges.fill_(-1)
        for row, (left, right) in enumerate(pairs[: len(self.merges)]):
            self.merges[row, 0], self.merges[row, 1] = ids[left], ids[right]
            # two ways to the same text are one token
            ids.setdefault(left + right, len(ids))
        _forget(self)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the tokens of a text, and start and end of each in it."""
        found = self._tokenizer().encode(text)
        return found.ids, found.offsets

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, up to the end; special ones are none."""
        if END in ids:
            ids = ids[: list(ids).index(END)]
        known = [number for number in ids if number >= len(SPECIAL)]
        return self._tokenizer().decode(known)

    def _tokenizer(self) -> Any:
        if self._built is None:
            library = _library()
            texts = [*SPECIAL, *_alphabet(library)]
            ids = dict(zip(texts, range(self.size)))
            pairs = []
            for left, right in self.merges.tolist():
                if left < 0:
                    break
                pairs.append((texts[left], texts[right]))
                text = texts[left] + texts[right]
                if text not in ids:
                    ids[text] = len(texts)
                    texts.append(text)
            self._built = library.Tokenizer(library.models.BPE(ids, pairs))
            self._built.pre_tokenizer = _pre_tokenizer(library)
            self._built.decoder = library.decoders.ByteLevel()
        return self._built


def _forget(tokenizer: nn.Module, keys: Any = None) -> None:
    """Build anew when the next text comes."""
    if isinstance(tokenizer, ReportTokenizer):
        tokenizer._built = None


def _keep_learned(
    tokenizer: nn.Module, state: dict[str, Any], prefix: str, *rest: Any
) -> None:
    """Put the own merges into a state that has none."""
    given = state.get(f'{prefix}merges')
    if isinstance(tokenizer, ReportTokenizer) and given is not None:
        own = tokenizer.merges
        if given.shape == own.shape and (given < 0).all():
            state[f'{prefix}merges'] = own.clone()


def _library() -> ModuleType:
    # its threads do not survive the fork of a loader's workers
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
    return import_extra('tokenizers', 'Reports', 'reports')


def _pre_tokenizer(library: ModuleType) -> Any:
    return library.pre_tokenizers.ByteLevel(add_prefix_space=False)


def _alphabet(library: ModuleType) -> list[str]:
    """Return the characters that stand for the 256 bytes."""
    return sorted(library.pre_tokenizers.ByteLevel.alphabet())
