"""PyTorch's dialect; its functions of two arrays take no Python number, so those have own forms."""

from __future__ import annotations

from attnverify.export import helpers
from attnverify.export.dialects import Dialect, forms
from attnverify.export.helpers import completed

TORCH = Dialect(
    name="torch",
    title="PyTorch",
    library="torch",
    imports=("import math", "", "import torch"),
    forms={
        **forms("torch"),
        "logistic": "torch.sigmoid({0})",
        "erf": "torch.erf({0})",
        "relu": "torch.relu({0})",
        "step": "({a} > 0).to(real)",
        "as_real": "{a}.to(real)",
        "stop_gradient": "{a}.detach()",
        "maximum:tn": "{a}.clamp(min={1})",
        "maximum:nt": "{b}.clamp(min={0})",
        "larger:tn": "{a}.clamp(min={1})",
        "larger:nt": "{b}.clamp(min={0})",
        "smaller:tn": "{a}.clamp(max={1})",
        "smaller:nt": "{b}.clamp(max={0})",
        "select:ntt": "torch.where(torch.tensor({0}, device=device), {1}, {2})",
        "select:ntn": "torch.where(torch.tensor({0}, device=device), {1}, {2})",
        "select:nnt": "torch.where(torch.tensor({0}, device=device), {1}, {2})",
        "reduce sum": "torch.sum({0}, {1})",
        "reduce max": "torch.amax({0}, {1})",
        "forwards": "torch.arange({0}, device=device)",
        "backwards": "torch.arange({0}, device=device).flip(0)",
    },
    helpers={
        "expect": completed(helpers.EXPECT, "torch"),
        "inverse": completed(helpers.INVERSE, "torch"),
        "finite": completed(helpers.FINITE, "torch"),
        "times": completed(helpers.TIMES, "torch"),
        "contract": completed(helpers.CONTRACT, "torch"),
        "alibi_slope": completed(helpers.SLOPE, "torch", ASREAL="torch.as_tensor(head).to(real)"),
        "t5_bucket": completed(helpers.BUCKET, "torch"),
        "threshold": "@torch.no_grad()\n"
        + completed(
            helpers.THRESHOLD,
            "torch",
            KEPT="keepdim",
            LARGEST="torch.amax(scores, axis, keepdim=True)",
            RELU="torch.relu(scores - middle)",
        ),
    },
    number="torch.tensor({0}, dtype=real, device=device)",
    arange="torch.arange({0}, device=device)",
    real="torch.result_type({0}, 0.5)",
    device="{0}.device",
    reserved=frozenset({"torch", "device", "ctx"}),
)
