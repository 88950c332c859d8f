"""Installation. `pip install .` needs torch alone; extras bring the hosts."""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
URL = 'https://github.com/ORGANISATION/denoiserep_ext'  # a placeholder until there is a public home
MIM_FILES = ('tools', 'configs', 'model-index.yml')
NOT_IN_WHEEL = ('__pycache__', '*.pyc', '*.sh')  # shell scripts are for a checkout


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
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns(*NOT_IN_WHEEL))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / name)


def readme():
    """The README with its links and pictures reachable from a package index."""
    text = (HERE / 'README.md').read_text(encoding='utf-8')
    relative = r'\]\((?!\w+:|#|/)'
    text = re.sub(rf'(!\[[^\]]*){relative}', rf'\1]({URL}/raw/main/', text)
    return re.sub(relative, f']({URL}/blob/main/', text)


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
    # Beside openmim, which wants requests 2.28, Sphinx stays at 7.3. mmengine: the tools' options.
    'docs': ['sphinx>=7.3.7,<10', 'furo>=2025.12.19', 'myst-parser>=4.0.1,<6',
             'sphinx-copybutton>=0.5.2', 'sphinx-design>=0.6', 'mmengine>=0.10.5', 'scikit-learn',
             'matplotlib', 'tqdm', 'pillow', 'nbclient>=0.10', 'nbformat>=5.10', 'ipykernel>=6.29',
             'onnx>=1.16'],
    'tests': ['pytest', 'pytest-xdist', 'hypothesis', 'ruff', 'timm', 'tensorboard', 'twine'],
}
extras['all'] = sorted({package for group in extras.values() for package in group})

setup(
    name='denoiserep_ext',
    version=version['__version__'],
    description='DenoiseRep (NeurIPS 2024) for MMPretrain, MMDetection, MMSegmentation and FastReID',
    long_description=readme(),
    long_description_content_type='text/markdown',
    author='The denoiserep_ext contributors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    url=URL,
    project_urls={
        'Documentation': f'{URL}/tree/main/docs',
        'Changelog': f'{URL}/blob/main/CHANGELOG.md',
        'Issues': f'{URL}/issues',
        'Paper': 'https://arxiv.org/abs/2406.08773',
    },
    keywords=['denoising', 'representation learning', 'robustness', 'corruptions', 'OpenMMLab',
              'MMPretrain', 'MMDetection', 'MMSegmentation', 'FastReID', 're-identification'],
    packages=find_packages(include=['denoiserep_ext', 'denoiserep_ext.*']),
    python_requires='>=3.10',
    install_requires=['torch>=2.5'],  # torch.serialization.safe_globals; noxfile.py tests the oldest
    extras_require=extras,
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        # noxfile.py tests the core on 3.10, 3.12 and 3.13; tools/install.sh makes all of it on 3.11.
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
