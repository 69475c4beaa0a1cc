"""The bugs that the mutants model: what went wrong, and where it was reported or fixed.

One row per bug: identifier, title, citation (a public repository with its issue, pull request or
commit) and year.
"""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """A bug of somebody's attention, found in public."""

    title: str
    source: str
    year: int


BUGS: dict[str, Bug] = {
    "MSK-01": Bug(
        "Causal mask aligned bottom-right where the caller expects top-left",
        "ml-explore/mlx#2835",
        2025,
    ),
    "MSK-02": Bug(
        "Causal mask dropped whenever the fused path is not taken", "keras-team/keras#23038", 2026
    ),
    "MSK-04": Bug("local_window_size ignored when no mask is passed", "jax-ml/jax#32300", 2025),
    "MSK-06": Bug(
        "Sliding window one token too wide (size vs inclusive-left convention)",
        "huggingface/transformers#39408",
        2025,
    ),
    "MSK-08": Bug(
        "Window decremented twice (W-1 stored, then W-1-1 passed)", "microsoft/unilm#1612", 2024
    ),
    "MSK-11": Bug("Negative window is interpreted as 'unbounded'", "proger/hippogriff#7", 2024),
    "MSK-12": Bug(
        "Causal pattern built from a size-1 axis (no masking at all)",
        "facebookresearch/xformers#1135",
        2024,
    ),
    "MSK-13": Bug(
        "Cross-attention silently causal because the flag defaults to True",
        "huggingface/transformers#48172",
        2026,
    ),
    "MSK-15": Bug("Mask applied after the softmax", "huggingface/pytorch-image-models#2236", 2024),
    "MSK-16": Bug(
        "Scores multiplied by a 0/1 mask before softmax", "georg-wolflein/good-features#1", 2023
    ),
    "MSK-19": Bug(
        "Causal and padding use the same finite filler, so a left-padded row attends to the future",
        "microsoft/onnxruntime#16369",
        2023,
    ),
    "MSK-23": Bug(
        "Cross attention uses the query-side mask instead of the context mask",
        "lucidrains/x-transformers#174",
        2023,
    ),
    "NRM-01": Bug("Scale uses model dim instead of head dim", "lucidrains/vit-pytorch#65", 2021),
    "NRM-03": Bug("Scale applied to the softmax output", "FrancescoSaverioZuppichini/ViT#2", 2021),
    "NRM-04": Bug(
        "Softmax over the query axis",
        "labmlai/annotated_deep_learning_paper_implementations#146",
        2022,
    ),
    "NRM-06": Bug("Default scale computed after head_dim padding", "intel/ipex-llm#12619", 2024),
    "NRM-08": Bug(
        "Additive bias scaled or not scaled by 1/sqrt(d)", "NVIDIA/TensorRT-Model-Connect#32", 2026
    ),
    "NRM-09": Bug("Softcap applied after the mask/bias", "onnx/onnx#7865", 2026),
    "NRM-11": Bug(
        "softmax_1 with max subtraction keeps the literal 1", "kyegomez/AttentionIsOFFByOne#5", 2023
    ),
    "NRM-13": Bug("LSE returned in base 2", "lightseekorg/tokenspeed#571", 2026),
    "NRM-17": Bug(
        "Custom scale not forwarded to the fused path", "lucidrains/x-transformers#244", 2024
    ),
    "POS-01": Bug(
        "Frequencies laid out for adjacent pairs, rotation done on half-split pairs",
        "raiyanyahya/how-to-train-your-gpt#6",
        2026,
    ),
    "POS-02": Bug(
        "Interleaved pairing where half-split is specified", "ohdearquant/lattice#392", 2026
    ),
    "POS-06": Bug("Angles computed in fp16/bf16", "EleutherAI/gpt-neox#1003", 2023),
    "POS-07": Bug(
        "Cached angles keyed by length only: second offset gets the first one's angles",
        "lucidrains/rotary-embedding-torch#11",
        2023,
    ),
    "POS-08": Bug(
        "With a KV cache the rotary table is not sliced at start_pos",
        "pytorch/executorch#2010",
        2024,
    ),
    "POS-12": Bug(
        "ALiBi bias indexed by the query row: constant per row, so softmax cancels it",
        "ggml-org/ggml#143",
        2023,
    ),
    "POS-13": Bug("ALiBi slope exponent off by one", "paiml/aprender#2143", 2026),
    "POS-16": Bug(
        "Relative bias not shifted by the memory length", "lucidrains/x-transformers#103", 2022
    ),
    "POS-17": Bug(
        "T5 bucket count halved for causal instead of bidirectional",
        "lucidrains/x-transformers#10",
        2021,
    ),
    "POS-21": Bug(
        "Relative bias applied in cross attention where the model has none",
        "huggingface/transformers#8518",
        2020,
    ),
    "POS-22": Bug(
        "Transformer-XL relative shift drops the last row instead of the first",
        "labmlai/annotated_deep_learning_paper_implementations#185",
        2023,
    ),
    "POS-25": Bug(
        "Bias cached at first call and reused for other shapes",
        "lucidrains/x-transformers@74f241d",
        2022,
    ),
    "POS-27": Bug(
        "Absolute position offset added instead of subtracted for left padding",
        "lucidrains/x-transformers@013e60a",
        2023,
    ),
    "HED-01": Bug(
        "GQA expands kv heads by tiling instead of repeat-interleave", "onnx/onnx#7274", 2025
    ),
    "HED-04": Bug("Heads split by a reshape without transpose", "reczoo/FuxiCTR#30", 2022),
    "HED-05": Bug(
        "Heads merged by a reshape without transposing back",
        "jsbaan/transformer-from-scratch#6",
        2026,
    ),
    "HED-09": Bug(
        "Fused QKV split as [Q|K|V] although stored interleaved per group",
        "NVIDIA-NeMo/RL#2802",
        2026,
    ),
    "HED-12": Bug(
        "Post-softmax head mixing applied to the (already consumed) logits",
        "lucidrains/x-transformers@6cb3299",
        2020,
    ),
    "NUM-01": Bug(
        "A finite sentinel (-5e4) for minus infinity: a row of lower logits returns zero",
        "flashinfer-ai/flashinfer#4267",
        2026,
    ),
    "NUM-04": Bug(
        "QK^T rounded/accumulated in fp16 before scaling",
        "philipturner/metal-flash-attention#8",
        2023,
    ),
    "NUM-05": Bug(
        "Two finfo.min masks added: -inf in some cells, finfo.min in others",
        "huggingface/transformers#27114",
        2023,
    ),
    "NUM-07": Bug("PV accumulated in fp16", "thu-ml/SageAttention#93", 2025),
    "NUM-09": Bug(
        "Softmax shift uses a wrong max element (log_softmax kernel)",
        "pytorch/pytorch#156379",
        2025,
    ),
    "NUM-11": Bug(
        "Running max replaced by 0 when the first tile is fully masked, then kept as if real",
        "Dao-AILab/flash-attention#2082",
        2025,
    ),
    "GRD-01": Bug(
        "Backward always applies the causal mask, whatever the flag",
        "triton-lang/triton#4541",
        2024,
    ),
    "GRD-03": Bug(
        "dK, dV not summed over the query heads of a group", "marin-community/levanter#449", 2024
    ),
    "GRD-06": Bug(
        "dV columns misplaced when d_v is not a multiple of the store width derived from d_qk",
        "Dao-AILab/flash-attention#2552",
        2026,
    ),
    "GRD-07": Bug(
        "delta = rowsum(dO*O) read from wrapped offsets: dQ, dK wrong, dV right",
        "SHI-Labs/NATTEN#347",
        2026,
    ),
    "GRD-08": Bug(
        "LSE and delta of the first query tile used for every tile",
        "Dao-AILab/flash-attention@b3f1b6a5",
        2025,
    ),
    "GRD-10": Bug(
        "Gradient through the returned LSE silently zero", "Dao-AILab/flash-attention#1817", 2025
    ),
    "GRD-11": Bug(
        "Fully masked row zeroed AFTER the softmax: forward right, gradient NaN",
        "Xilinx/brevitas#1591",
        2026,
    ),
    "GRD-15": Bug(
        "Bias gradient not reduced over broadcast axes",
        "HKUSTDial/flash-sparse-attention#199",
        2025,
    ),
    "GRD-17": Bug(
        "Ring backward reuses the local K/V chunk at every step",
        "huggingface/diffusers#14265",
        2026,
    ),
    "TIL-01": Bug("Last partial key tile not masked", "jax-ml/jax#27224", 2025),
    "TIL-03": Bug("Window applied only at tile granularity", "sgl-project/sglang#31501", 2026),
    "TIL-05": Bug(
        "'Fully masked' test fires for partially masked tiles",
        "openvinotoolkit/openvino#35438",
        2026,
    ),
    "TIL-07": Bug(
        "Only the first D of the 2*n split statistics are loaded in the combine step",
        "ggml-org/llama.cpp#13852",
        2025,
    ),
    "TIL-08": Bug("Merging two empty states gives NaN", "flashinfer-ai/flashinfer#4051", 2026),
    "TIL-11": Bug(
        "Head dimension hard-coded to 64: only the first 64 channels used",
        "triton-lang/triton#621",
        2022,
    ),
    "TIL-15": Bug(
        "-inf prefix in the bias: first tiles all masked give NaN in the online softmax",
        "facebookresearch/xformers#722",
        2023,
    ),
    "EDG-01": Bug("Fully masked row gives NaN instead of 0", "pytorch/pytorch#103963", 2023),
    "EDG-02": Bug("Lk = 0 gives NaN", "facebookresearch/xformers#1042", 2024),
    "EDG-04": Bug(
        "Lq = 1 special-cased as decode: causal ignored although aligned top-left",
        "microsoft/onnxruntime#29050",
        2026,
    ),
    "EDG-06": Bug(
        "NaN in a masked-out position leaks to the output", "pytorch/pytorch#101967", 2023
    ),
    "EDG-10": Bug(
        "Batch 1 and one sequence: an axis of size 1 is squeezed away",
        "pytorch/pytorch#130196",
        2024,
    ),
    "DRP-01": Bug(
        "Dropout active in eval (functional call ignores training mode)",
        "karpathy/nanoGPT#240",
        2023,
    ),
    "DRP-03": Bug("Backward scales by p instead of 1/(1-p)", "NVIDIA/apex#816", 2020),
    "DRP-06": Bug(
        "Constant philox seed: the same mask at every call", "Dao-AILab/flash-attention#2088", 2025
    ),
    "DRP-07": Bug(
        "Dropout applied to P@V instead of to P", "nikhilbarhate99/min-decision-transformer#2", 2022
    ),
    "KVC-01": Bug(
        "Cached multi-token forward masks out the whole history (tril(0) on [Lq, Lk])",
        "hyprstream/hyprstream#1521",
        2026,
    ),
    "KVC-02": Bug(
        "Causal mask skipped whenever a cache object is present, also in prefill",
        "Mikyx-1/TinyLLM#17",
        2026,
    ),
    "KVC-05": Bug(
        "One page too many at block boundaries: a page of garbage is attended",
        "pegainfer-project/pegainfer#291",
        2026,
    ),
    "KVC-07": Bug(
        "Packed/jagged sequences attend to each other when boundaries are not applied on a path",
        "pytorch/pytorch#177378",
        2026,
    ),
    "KVC-10": Bug(
        "Explicit cu_seqlens overwritten by ones derived from the padding mask",
        "fla-org/flash-linear-attention#842",
        2026,
    ),
    "KVC-12": Bug(
        "Packed documents separated by position ids only, not by a mask",
        "DeepOpt-com/WrinkleFree-Monorepo#53",
        2026,
    ),
    "LAY-01": Bug(
        "Strides of permuted q/k/v ignored (read as contiguous)", "pytorch/pytorch#181133", 2026
    ),
    "LAY-04": Bug(
        "32-bit element offset wraps for strided inputs at ordinary lengths",
        "thu-ml/SageAttention#386",
        2026,
    ),
    "LAY-06": Bug(
        "Backward wrong for a non-contiguous upstream gradient",
        "Dao-AILab/flash-attention#355",
        2023,
    ),
    "LAY-07": Bug("NHD and HND layouts confused", "flashinfer-ai/flashinfer#441", 2024),
    "API-01": Bug("Boolean mask polarity inverted", "InseeFrLab/torchTextClassifiers#92", 2026),
    "API-03": Bug("Boolean mask consumed as additive 0/1", "huggingface/diffusers#14342", 2026),
    "API-05": Bug(
        "Float mask converted to boolean (non-zero = masked)", "pytorch/pytorch#107084", 2023
    ),
    "API-07": Bug(
        "The is_causal hint discards the explicit mask (even a wrong-shaped one)",
        "pytorch/pytorch#131254",
        2024,
    ),
    "API-11": Bug(
        "Eval fast path changes outputs at padded query positions (nested round trip fills zeros)",
        "pytorch/pytorch#86120",
        2022,
    ),
}
