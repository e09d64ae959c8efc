from fx_mm.deployment.onnx_export import export_onnx

__all__ = ['export_onnx']
