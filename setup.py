"""Installation. `pip install .` needs torch alone; extras bring the hosts."""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
MIM_FILES = ('tools', 'configs', 'model-index.yml')


class BuildWithMim(build_py):
    """Put tools and configs where OpenMIM looks for them: denoiserep_ext/.mim."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            return
        target = Path(self.build_lib) / 'denoiserep_ext' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        for name in MIM_FILES:
            source = HERE / name
            if source.is_dir():
                shutil.copytree(source, target / name,
                                ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / name)


version = {}
exec((HERE / 'denoiserep_ext' / 'version.py').read_text(), version)

mm = ['mmengine>=0.10.5', 'mmcv>=2.1.0,<2.2.0', 'openmim>=0.3.9']
extras = {
    'mmpretrain': mm + ['mmpretrain>=1.2.0,<1.3.0'],
    'mmdet': mm + ['mmdet>=3.3.0,<3.4.0'],
    'mmseg': mm + ['mmsegmentation>=1.2.2,<1.3.0', 'ftfy', 'regex'],
    # FastReID itself pins torch 1.13.1: pip install --no-deps fastreid==1.4.0
    'reid': ['yacs>=0.1.8', 'faiss-cpu', 'tabulate', 'termcolor', 'tensorboard', 'torchvision',
             'scikit-learn', 'h5py', 'imageio', 'scipy', 'gdown', 'matplotlib', 'tqdm', 'pillow'],
    'corruptions': ['imagecorruptions-imaug>=1.1.5'],
    'tools': ['scikit-learn', 'scipy', 'matplotlib', 'tqdm', 'pillow'],
    'tests': ['pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'timm', 'tensorboard'],
}
extras['all'] = sorted({package for group in extras.values() for package in group})

setup(
    name='denoiserep_ext',
    version=version['__version__'],
    description='DenoiseRep (NeurIPS 2024) for MMPretrain, MMDetection, MMSegmentation and FastReID',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['denoiserep_ext', 'denoiserep_ext.*']),
    python_requires='>=3.10',
    install_requires=['torch>=2.5'],  # torch.serialization.safe_globals; noxfile.py tests the oldest
    extras_require=extras,
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        # noxfile.py tests the core on 3.10, 3.12 and 3.13; tools/install.sh makes all of it on 3.11.
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
