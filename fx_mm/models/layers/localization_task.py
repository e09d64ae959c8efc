"""The own part of one dataset in the localization branch."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from fx_mm.models.layers.denoising import DenoisingQueries
from fx_mm.models.layers.dino_head import TaskDINOHead
from fx_mm.ops.deformable_attention import grid_centers
from fx_mm.ops.sampling import Shapes


def grid_proposals(
    shapes: Shapes,
    device: torch.device,
    valid_ratios: Tensor | None = None,
) -> Tensor:
    """One anchor box per token, growing with the level.

    Args:
        shapes (list[tuple[int, int]]): Height and width of each level.
        device (torch.device): Where to build them.
        valid_ratios (Tensor, optional): Share (B, levels, 2) of width and
            height that is image; None without padding.

    Returns:
        Tensor: Boxes (1 or B, tokens, 4), cxcywh relative to the image.
    """
    levels = []
    for level, shape in enumerate(shapes):
        centers = grid_centers(shape, device)
        if valid_ratios is not None:
            centers = centers / valid_ratios[:, level, None]
        sizes = torch.full_like(centers, 0.05 * 2.0**level)
        levels.append(torch.cat([centers, sizes], dim=-1))
    return torch.cat(levels, dim=1)


class LocalizationTask(BaseModule):
    """Selection layers, decoder, head and queries that a dataset owns.

    Args:
        embed_dims (int): Width of the tokens.
        num_queries (int): Number of matching queries.
        head (TaskDINOHead): Class and box branches with their losses.
        denoising (DenoisingQueries, optional): Generator of denoising
            queries; None trains without.
        decoder (nn.Module, optional): The dataset's own decoder; None if the
            branch has a shared one. Defaults to None.
        own_queries (bool): Whether the content queries are the dataset's.
            Defaults to False.
        own_labels (bool): Whether the label embedding is the dataset's.
            Defaults to False.
        memory_projection (bool): Whether the dataset projects the encoder
            memory linearly before selection and decoder (reference 1.4).
            Defaults to False.
    """

    def __init__(
        self,
        embed_dims: int,
        num_queries: int,
        head: TaskDINOHead,
        denoising: DenoisingQueries | None,
        decoder: nn.Module | None = None,
        own_queries: bool = False,
        own_labels: bool = False,
        memory_projection: bool = False,
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.memory_projection = (
            nn.Linear(embed_dims, embed_dims) if memory_projection else None
        )
        self.selection = nn.Sequential(
            nn.Linear(embed_dims, embed_dims), nn.LayerNorm(embed_dims)
        )
        self.decoder = decoder
        self.head = head
        self.denoising = denoising
        self.queries = (
            nn.Embedding(num_queries, embed_dims) if own_queries else None
        )
        self.label_embedding = (
            nn.Embedding(head.first_label + head.num_classes, embed_dims)
            if own_labels
            else None
        )

    def project(self, memory: Tensor) -> Tensor:
        """The dataset's view of the encoder memory.

        Args:
            memory (Tensor): Encoder memory (B, tokens, dims).

        Returns:
            Tensor: The same shape, in float32 where projected: the ranking
            of the tokens hangs on it. The memory itself without projection.
        """
        if self.memory_projection is None:
            return memory
        with torch.autocast(memory.device.type, enabled=False):
            return self.memory_projection(memory.float())

    def select(
        self,
        memory: Tensor,
        mask: Tensor | None,
        proposals: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the tokens that become reference boxes.

        Args:
            memory (Tensor): Result of :meth:`project` (B, tokens, dims).
            mask (Tensor, optional): True at padding tokens (B, tokens).
            proposals (Tensor): Anchor boxes (1 or B, tokens, 4).

        Returns:
            tuple[Tensor]: Class logits (B, queries, C), boxes (B, queries, 4)
            as normalised cxcywh with gradient, and the same unactivated and
            detached.
        """
        inside = ((proposals > 0.01) & (proposals < 0.99)).all(-1, True)
        if mask is not None:
            inside = inside & ~mask[..., None]
        anchors = torch.log(proposals / (1 - proposals))
        anchors = anchors.masked_fill(~inside, float('inf'))
        with torch.autocast(memory.device.type, enabled=False):
            tokens = memory.float().masked_fill(~inside, 0.0)
            tokens = self.selection(tokens)
            scores = self.head.proposal_cls_branch(tokens)
            offsets = self.head.proposal_box_branch(tokens)
        boxes = offsets + anchors
        best = scores.amax(-1).topk(self.num_queries, dim=1).indices[..., None]
        scores = scores.gather(1, best.expand(-1, -1, scores.shape[-1]))
        boxes = boxes.gather(1, best.expand(-1, -1, 4))
        return scores, boxes.sigmoid(), boxes.detach()
