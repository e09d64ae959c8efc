"""Times of the kernels of deformable attention, side by side."""

import json

from fx_mm.analysis.gpu_check.job import Job

TOOL = 'tools/analysis_tools/benchmark_deformable_attention.py'
SIZES = ('encoder-224', 'decoder-224', 'encoder-768')
OURS, THEIRS = 'triton', 'mmcv'
GOAL = '<= 0.5'
"""Of mmcv's time."""


def run(job: Job) -> None:
    """Time forward and backward in bfloat16, in training's sizes."""
    file = job.work / 'kernels.json'
    words = ['--sizes', *SIZES, '--dtypes', 'bf16', '--out', file]
    if job.tiny:
        words = ['--sizes', 'demo', '--runs', 1, '--batch', 1, '--out', file]
    job.run_tool([TOOL, '--device', job.device, *words])
    report = json.loads(file.read_text(encoding='utf-8'))
    job.figure('a copy', report['copy_bandwidth'] / 1e9, 'GB/s')
    for row in report['results']:
        name = f'{row["size"]} {row["dtype"]} {row["pass"]}'
        for kernel, ms in row['ms'].items():
            job.figure(f'{name}, {kernel}', ms, 'ms')
            share = row['share'][kernel]
            job.figure(f'{name}, {kernel}, of a copy', share)
        if {OURS, THEIRS} <= row['ms'].keys():
            value = row['ms'][OURS] / row['ms'][THEIRS]
            job.figure(f'{name}, {OURS} to {THEIRS}', value, goal=GOAL)
