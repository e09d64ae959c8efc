"""The loss of self-distillation."""

import torch
from torch import Tensor


def view_cross_entropy(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Cross-entropy of every view with every other view of the teacher.

    DINO (Caron et al., ICCV 2021), equation 3: the teacher's outputs are
    centred, so that no prototype takes all images, and sharpened, so that
    they are not all alike. The teacher's views are the student's first.

    Args:
        student (Tensor): Outputs (V, B, K), with gradient.
        teacher (Tensor): Outputs (G, B, K) of the first G views.
        center (Tensor): (K,), what is subtracted from the teacher's.
        student_temperature (float): Divides the student's.
        teacher_temperature (float): Divides the teacher's; lower: sharper.

    Returns:
        Tensor: Scalar in float32, the mean over images and pairs.
    """
    ours = (student.float() / student_temperature).log_softmax(-1)
    theirs = ((teacher.float() - center) / teacher_temperature).softmax(-1)
    with torch.autocast(ours.device.type, enabled=False):
        pairs = -torch.einsum('gbk,vbk->gvb', theirs, ours).mean(-1)
    apart = ~torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)
    return pairs[apart].mean()
