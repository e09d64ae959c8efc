import cv2
import torch
from mmcv.transforms import BaseTransform

from fx_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ThreadProbe(BaseTransform):
    """Write how many threads a worker may use into the image."""

    def transform(self, results):
        results['img'][..., 0] = cv2.getNumThreads()
        results['img'][..., 1] = torch.get_num_threads()
        results['img'][..., 2] = torch.utils.data.get_worker_info() is not None
        return results


def test_workers_have_one_thread_each(make_runner):
    """Without env_cfg too: OpenCV's threads would fight over the cores."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    steps = [dict(type='LoadXray'), dict(type='LoadXrayAnnotations')]
    pipeline = [*steps, dict(type='ThreadProbe'), dict(type='PackXray')]
    try:
        runner = make_runner(
            **{
                'env_cfg': dict(_delete_=True),
                'loader.num_workers': 1,
                'tasks': ['phantom_a/cls'],
                'task_defaults.cls.train_pipeline': pipeline,
            }
        )
        batches = iter(runner.train_loop.dataloader)
        for image in next(batches)['inputs']:
            # setNumThreads(0), which is one thread without a pool
            assert image.flatten(1)[:, 0].tolist() == [1, 1, 1]
        del batches
    finally:
        cv2.setNumThreads(threads)
