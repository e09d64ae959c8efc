from .build import build_backbone, probe_backbone

__all__ = ['build_backbone', 'probe_backbone']
