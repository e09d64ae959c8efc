"""Stages that take no time, for the machinery around them."""

import os
import subprocess
import time


def good(job):
    print('what a stage prints')
    job.check('small', 1e-5, 1e-3)
    job.figure('time', 3.0, 's', goal='<= 2')
    job.note('device', job.device)


def bad(job):
    job.check('large', 1.0, 1e-3)
    job.check('undefined', float('nan'), 1e-3)


def parts(job):
    with job.part('first'):
        raise ValueError('one\ntwo')
    job.require('second', True)


def raises(job):
    job.note('before', 'it')
    raise KeyError('gone')


def dies(job):
    job.note('before', 'it')
    os._exit(3)


def hangs(job):
    job.note('before', 'it')
    program = subprocess.Popen(['sleep', '60'])
    (job.work / 'child').write_text(str(program.pid))
    program.wait()


def reads(job):
    (value,) = (r['value'] for r in job.earlier['good'] if r['unit'] == 's')
    job.figure('read', value)


def late(job):
    job.figure('left', job.left)


def counts(job):
    with open(job.work / 'calls', 'a') as file:
        file.write('x')
    time.sleep(0.01)
    job.require('asked', (job.work / 'mended').exists())
