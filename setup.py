"""Packaging of fx_mm.

The distribution is called ``onedl-fx-mm`` and has no console scripts, since
``mim`` takes the folder of the first path in the wheel's RECORD for the
package: the list is sorted, and the metadata folder has to come after
``fx_mm/``.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM_FILES = ('configs', 'tools', 'model-index.yml')
PYTHONS = ('3.10', '3.11', '3.12', '3.13')


class BuildWithMim(build_py):
    """Puts configs and tools into the wheel as ``fx_mm/.mim``.

    An editable install gets none: mim then looks into the checkout, and links
    to the configs would make it find each of them twice and refuse.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, 'fx_mm', '.mim')
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
        for name in MIM_FILES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=ignore)
            else:
                shutil.copy(source, target / name)


def read_version():
    """Returns the version without importing fx_mm."""
    scope = {}
    exec((ROOT / 'fx_mm' / 'version.py').read_text(), scope)
    return scope['__version__']


def read_requirements(name):
    """Returns the requirements of one file, without its comments."""
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    lines = (line.partition('#')[0].strip() for line in lines)
    return [line for line in lines if line]


setup(
    name='onedl-fx-mm',
    version=read_version(),
    description='Foundation X and Ark for the OpenMMLab runner: one model, '
    'many chest X-ray datasets with labels, boxes and masks',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8')
    if (ROOT / 'README.md').exists()
    else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    keywords='chest X-ray, foundation model, detection, segmentation',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: {v}' for v in PYTHONS),
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    python_requires=f'>={PYTHONS[0]}',
    packages=find_packages(include=['fx_mm', 'fx_mm.*']),
    package_data={'fx_mm': ['py.typed', 'analysis/image_report/*.csv']},
    install_requires=read_requirements('runtime.txt'),
    extras_require={
        'app': read_requirements('app.txt'),
        'hub': read_requirements('hub.txt'),
        'openmmlab': read_requirements('openmmlab.txt'),
        'dicom': read_requirements('dicom.txt'),
        'reports': read_requirements('reports.txt'),
        'optional': read_requirements('optional.txt'),
        'federated': read_requirements('federated.txt'),
        'tracking': read_requirements('tracking.txt'),
        'tests': read_requirements('tests.txt'),
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
