"""Settings of the site, which ``make -C docs html`` builds."""
import sys
from importlib.util import find_spec
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / '_ext')]

from denoiserep_ext import __version__  # noqa: E402

project = 'denoiserep_ext'
author = 'the authors of denoiserep_ext'
copyright = f'{author}, Apache-2.0'
version = release = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.mathjax',
              'sphinx_copybutton', 'sphinx_design', 'from_code']
exclude_patterns = ['_build', 'pictures']

myst_enable_extensions = ['attrs_inline', 'colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3

# Signatures and docstrings are read by importing the code. Toolboxes that are not installed are
# stood in for; mmengine and FastReID have to be there, since their options are listed by running code.
HOSTS = ('mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'timm', 'faiss', 'cv2', 'imagecorruptions')
autodoc_mock_imports = [name for name in HOSTS if find_spec(name) is None]
autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
python_maximum_signature_line_length = 90
autodoc_default_options = {'members': True}
napoleon_use_rtype = False
napoleon_use_ivar = True

linkcheck_ignore = [r'https?://']  # the machine that checks may be offline

html_theme = 'furo'
html_title = f'denoiserep_ext {version}'
html_copy_source = html_show_sourcelink = False
html_static_path = ['_static']
html_css_files = ['site.css']
html_theme_options = {
    'light_css_variables': {'color-brand-primary': '#0072b2', 'color-brand-content': '#0072b2'},
    'dark_css_variables': {'color-brand-primary': '#56b4e9', 'color-brand-content': '#56b4e9'},
}
copybutton_exclude = '.linenos, .gp, .go'
