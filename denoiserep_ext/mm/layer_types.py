"""mmcv's wrappers compute what their torch bases compute; they only guard empty tensors on torch
releases long gone."""
from ..core.layer.layer_types import CONV2D, LINEAR, register_layer_type

try:
    from mmcv.cnn.bricks.wrappers import Conv2d, Linear
except ImportError:  # a toolbox of mmengine alone has no wrappers to know about
    pass
else:
    register_layer_type(Conv2d, CONV2D)
    register_layer_type(Linear, LINEAR)
