"""The C kernels, checked: one function or one prepared object for each function of csrc/facegate.h.

What a kernel computes is written there. The prepared objects (`Target`, `Letterbox`, `Warp`, the heads, `Faces`,
`Embedding`, `Search`) hold their C structs and buffers, so that a call per frame allocates no array. They are not
thread safe: make one a thread. All kernels release the GIL.
"""

from __future__ import annotations

from facegate_edge._kernels._core import BORDERS, MAX_K, MAX_LENGTH, PATHS, TYPES, active_path, available_paths
from facegate_edge._kernels._faces import FACE_DTYPE, Faces, RetinafaceHead, ScrfdHead, Tensor, YunetHead
from facegate_edge._kernels._pixels import Letterbox, Target, Warp, make_lut, similarity
from facegate_edge._kernels._quality import Quality, pose
from facegate_edge._kernels._search import Embedding, Search, compare, norm

__all__ = [
    "BORDERS",
    "FACE_DTYPE",
    "MAX_K",
    "MAX_LENGTH",
    "PATHS",
    "TYPES",
    "Embedding",
    "Faces",
    "Letterbox",
    "Quality",
    "RetinafaceHead",
    "ScrfdHead",
    "Search",
    "Target",
    "Tensor",
    "Warp",
    "YunetHead",
    "active_path",
    "available_paths",
    "compare",
    "make_lut",
    "norm",
    "pose",
    "similarity",
]
