"""mmcv's layers that compute what their torch bases compute, or the same after padding zeros."""
from ..core.layer.layer_types import CONV2D, CONV2D_SAME, LINEAR, register_layer_type

try:
    from mmcv.cnn.bricks import Conv2d, Conv2dAdaptivePadding, Linear
except ImportError:  # a toolbox of mmengine alone has no wrappers to know about
    pass
else:
    # The two wrappers only guard empty tensors on torch releases long gone.
    register_layer_type(Conv2d, CONV2D)
    register_layer_type(Linear, LINEAR)
    register_layer_type(Conv2dAdaptivePadding, CONV2D_SAME)
