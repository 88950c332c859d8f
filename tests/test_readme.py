"""The README's example for any torch model runs as it stands."""
import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[1] / 'README.md'


def test_timm_example_denoises_a_folder_of_images(tmp_path, monkeypatch):
    timm = pytest.importorskip('timm')
    image = pytest.importorskip('PIL.Image')
    blocks = re.findall(r'```python\n(.*?)```', README.read_text(), re.S)
    code, = (block for block in blocks if 'timm.create_model' in block)
    monkeypatch.chdir(tmp_path)
    for index in range(6):
        folder = tmp_path / 'images' / str(index % 2)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy()
        image.fromarray(pixels).save(folder / f'{index}.png')
    assert 'vit_small_patch16_224' in code and "'images'" in code and 'pretrained=True' in code
    scope: dict = {}
    torch.manual_seed(0)
    exec(code.replace('vit_small', 'vit_tiny').replace('pretrained=True', 'pretrained=False'), scope)
    torch.manual_seed(0)
    plain = timm.create_model('vit_tiny_patch16_224', pretrained=False)
    denoised = torch.load('denoised.pth', weights_only=True)
    assert denoised.keys() == plain.state_dict().keys()
    changed = {key for key, value in plain.state_dict().items() if not torch.equal(value, denoised[key])}
    assert changed and all('.mlp.fc' in key for key in changed)
    plain.load_state_dict(denoised, strict=True)
