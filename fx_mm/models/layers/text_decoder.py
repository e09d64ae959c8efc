"""A transformer that writes text beside an image."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from fx_mm.models.layers.report_tokenizer import (
    END,
    PAD,
    SPECIAL,
    START,
    ReportTokenizer,
)
from fx_mm.models.layers.text_attention import (
    Attention,
    FeedForward,
    KeysValues,
)

NEVER = float('-inf')


class LayerCache(NamedTuple):
    """Keys and values of a layer: the text so far, and the image's."""

    text: KeysValues | None
    image: KeysValues

    def rows(self, index: Tensor) -> 'LayerCache':
        """Return some rows, in the order of an index."""
        text = None if self.text is None else self.text.rows(index)
        return LayerCache(text, self.image.rows(index))


class DecoderLayer(BaseModule):
    """Attention to the text before, to the image, a feed-forward part.

    Args:
        dims (int): Width.
        heads (int): Number of heads.
        dropout (float): In training.
    """

    def __init__(self, dims: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_text = nn.LayerNorm(dims)
        self.text = Attention(dims, heads, dropout)
        self.norm_image = nn.LayerNorm(dims)
        self.image = Attention(dims, heads, dropout)
        self.feed_forward = FeedForward(dims, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: Tensor, cache: LayerCache
    ) -> tuple[Tensor, LayerCache]:
        """Tokens (B, T, D) behind those of the cache, and the cache then.

        Without a text in the cache they are a whole text; with one, T is 1.
        """
        normed = self.norm_text(tokens)
        text = self.text.remember(normed)
        whole = cache.text is None
        if cache.text is not None:
            text = cache.text.then(text)
        tokens = tokens + self.dropout(self.text(normed, text, causal=whole))
        seen = self.image(self.norm_image(tokens), cache.image)
        tokens = tokens + self.dropout(seen)
        return tokens + self.feed_forward(tokens), cache._replace(text=text)


class TextDecoder(BaseModule):
    """Writes the reports of one dataset, token by token.

    A pre-norm transformer decoder that attends to the latents of the image,
    with learned positions; its embedding is its output layer, too. It has the
    dataset's own vocabulary.

    Args:
        vocabulary (int): Tokens, see :class:`ReportTokenizer`.
        max_tokens (int): Longest text, with question, start and end.
        layers (int): Number of layers.
        dims (int): Width.
        heads (int): Number of heads.
        dropout (float): In training.
    """

    def __init__(
        self,
        vocabulary: int,
        max_tokens: int,
        layers: int,
        dims: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.tokenizer = ReportTokenizer(vocabulary)
        self.max_tokens = max_tokens
        self.embedding = nn.Parameter(0.02 * torch.randn(vocabulary, dims))
        self.positions = nn.Parameter(0.02 * torch.randn(max_tokens, dims))
        self.dropout = nn.Dropout(dropout)
        self.layers = ModuleList(
            DecoderLayer(dims, heads, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dims)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """What comes behind each token of texts that are known.

        Args:
            tokens (Tensor): int64 (B, T).
            latents (Tensor): Of the images (B, N, D).

        Returns:
            Tensor: Logits (B, T, V), in float32.
        """
        return self._run(tokens, 0, self.look(latents))[0]

    def look(self, latents: Tensor) -> list[LayerCache]:
        """Return the cache of images (B, N, D), without a text."""
        return [
            LayerCache(None, layer.image.remember(latents))
            for layer in self.layers
        ]

    def _run(
        self, tokens: Tensor, start: int, cache: Sequence[LayerCache]
    ) -> tuple[Tensor, list[LayerCache]]:
        """Logits of tokens (B, T), the first at place ``start``."""
        places = self.positions[start : start + tokens.shape[1]]
        hidden = self.dropout(F.embedding(tokens, self.embedding) + places)
        after = []
        for layer, each in zip(self.layers, cache):
            hidden, each = layer(hidden, each)
            after.append(each)
        logits = F.linear(self.norm(hidden), self.embedding)
        return logits.float(), after

    @torch.no_grad()
    def write(
        self,
        latents: Tensor,
        prefixes: Sequence[Sequence[int]],
        beams: int = 1,
        length_power: float = 1.0,
    ) -> list[list[int]]:
        """Write the likeliest texts that beam search finds.

        Keys and values of what is written are kept, so that each step runs on
        one token per text.

        Args:
            latents (Tensor): Of the images (B, N, D).
            prefixes (Sequence[Sequence[int]]): Tokens that a text begins
                with, behind the start; may be none.
            beams (int): Texts that are followed at a time. Defaults to 1:
                the likeliest token each time (greedy).
            length_power (float): A text's log probability is divided by its
                length to this power, so that long ones are no worse. Defaults
                to 1.0.

        Returns:
            list[list[int]]: Tokens behind each prefix, the end among them
            unless ``max_tokens`` came first.
        """
        images, device = len(latents), latents.device
        forced = torch.full((images, self.max_tokens), -1, device=device)
        forced[:, 0] = START
        for row, prefix in zip(forced, prefixes):
            row[1 : len(prefix) + 1] = torch.tensor(prefix, device=device)
        forced = forced.repeat_interleave(beams, 0)
        cache = self.look(latents.repeat_interleave(beams, 0))
        first = torch.arange(images, device=device)[:, None] * beams
        # all beams begin alike: only one of them counts
        scores = torch.full((images, beams), NEVER, device=device)
        scores[:, 0] = 0
        texts = forced[:, :1]
        known = self.tokenizer.known
        for place in range(self.max_tokens - 1):
            logits, cache = self._run(texts[:, -1:], place, cache)
            chances = self._chances(
                logits[:, 0, :known], forced[:, place + 1], texts[:, -1]
            )
            total = scores[..., None] + chances.unflatten(0, (-1, beams))
            scores, best = total.flatten(1).topk(beams)
            rows = (first + best // known).flatten()
            chosen = (best % known).flatten()
            texts = torch.cat([texts[rows], chosen[:, None]], dim=1)
            if beams > 1:
                cache = [each.rows(rows) for each in cache]
            if bool(((chosen == END) | (chosen == PAD)).all()):
                break
        lengths = ((texts != PAD) & (forced[:, : texts.shape[1]] < 0)).sum(1)
        weighed = scores / lengths.clamp(min=1).view(-1, beams) ** length_power
        rows = first[:, 0] + weighed.argmax(1)
        return [
            text[len(prefix) + 1 :]
            for text, prefix in zip(texts[rows].tolist(), prefixes)
        ]

    @staticmethod
    def _chances(logits: Tensor, forced: Tensor, last: Tensor) -> Tensor:
        """Return log probabilities (R, V) of the next token.

        Args:
            logits (Tensor): (R, V).
            forced (Tensor): (R,) the token that is given, or -1.
            last (Tensor): (R,) the token before.
        """
        logits = logits.clone()
        # of the special tokens, only the end is ever written
        closed = [number for number in range(len(SPECIAL)) if number != END]
        logits[:, closed] = NEVER
        chances = logits.log_softmax(-1)
        over = (last == END) | (last == PAD)
        given = torch.where(over, PAD, forced)
        sure = torch.full_like(chances, NEVER)
        sure.scatter_(1, given.clamp(min=0)[:, None], 0.0)
        return torch.where((given >= 0)[:, None], sure, chances)
