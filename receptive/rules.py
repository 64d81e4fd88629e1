"""The table of operations: PyTorch's own (ATen's) names, and how each is read.

An operation that is not in it is not guessed: `follow` makes it a row with a reason.
"""

from receptive import operations as by

RULES = {
    # and all that PyTorch tags as pointwise
    by.join: "_fused_rms_norm _log_softmax _native_batch_norm_legit _prelu_kernel _safe_softmax "
    "_softmax _to_copy alias copy detach hardswish hardtanh leaky_relu lift_fresh "
    "log_sigmoid_forward native_batch_norm native_dropout native_group_norm native_layer_norm "
    "prelu rrelu_with_noise",
    by.hide: "masked_fill where",
    by.restride: "as_strided",
    by.move: "_reshape_alias _unsafe_view channel_shuffle expand flatten flip im2col "
    "native_channel_shuffle permute pixel_shuffle pixel_unshuffle repeat reshape roll select slice "
    "split split_with_sizes squeeze t transpose unbind unfold unsafe_split unsqueeze view",
    by.cat: "cat stack",
    by.pick: "cumsum index index_select sort topk",
    by.halves: "glu",
    by.reduce: "amax amin argmax argmin linalg_vector_norm logsumexp max mean min std sum var",
    by.product: " ".join([*by.PRODUCTS, *by.ATTENTION]),
    by.convolution: "_convolution convolution",
    by.pool: "avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices",
    by.resize: "_adaptive_avg_pool2d _adaptive_avg_pool3d _upsample_bilinear2d_aa "
    "_upsample_nearest_exact2d adaptive_max_pool2d upsample_bicubic2d upsample_bilinear2d "
    "upsample_nearest2d",
    by.pad: "circular_pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d "
    "replication_pad2d",
}
RULE_OF = {name: rule for rule, names in RULES.items() for name in names.split()}
SEVERAL = {by.join, by.hide, by.cat, by.product}  # which take more than one map
SHAPE_ONLY = {f"{k}_like" for k in ("empty", "full", "ones", "rand", "randn", "zeros")}
SHAPE_ONLY |= {"new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros"}
READS_VALUES = {"_local_scalar_dense", "equal", "__array__", "__dlpack__", "numpy", "tolist"}
