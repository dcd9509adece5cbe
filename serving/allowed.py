"""The names that a pickle or skops file may import. Whatever is not listed here is not harmless.

A name is an exact (module, name) pair, or a class of a library's own modules by the naming rule of
classes. Modules that execute, download or open things are left out even inside those libraries:
`scipy.stats` distributions, for instance, run text from their own state when they are restored.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BUILTINS = (
    "set frozenset dict list tuple complex bytearray bytes slice range object int float str bool "
    "NoneType Ellipsis"
)
_UFUNCS = (
    "log log1p log2 log10 exp expm1 exp2 sqrt cbrt square abs absolute fabs sign sin cos tan arcsin "
    "arccos arctan sinh cosh tanh arcsinh arccosh arctanh reciprocal negative positive rint floor "
    "ceil trunc add subtract multiply divide true_divide floor_divide power maximum minimum isnan "
    "isfinite isinf logical_not clip nan_to_num ravel mean median sum prod min max std var argmax "
    "argmin"
)
_NUMPY = (
    "ndarray dtype matrix recarray record bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 "
    "uint64 intc uintc intp uintp longlong ulonglong long ulong float16 float32 float64 longdouble "
    "float128 complex64 complex128 clongdouble str_ bytes_ object_ void datetime64 timedelta64 number "
    "integer floating generic"
)
_STORAGES = (
    "DoubleStorage FloatStorage HalfStorage LongStorage IntStorage ShortStorage CharStorage "
    "ByteStorage BoolStorage BFloat16Storage ComplexDoubleStorage ComplexFloatStorage QUInt8Storage "
    "QInt8Storage QInt32Storage UntypedStorage"
)
_TORCH = (
    "Size device dtype Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor "
    "IntTensor LongTensor ShortTensor BFloat16Tensor float16 float32 float64 half float double "
    "bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 short int long bool complex64 "
    "complex128 float8_e4m3fn float8_e5m2 strided sparse_coo sparse_csr sparse_csc sparse_bsr "
    "sparse_bsc contiguous_format channels_last per_tensor_affine per_channel_affine "
) + _STORAGES
_REBUILD = (
    "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
    "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
    "_rebuild_meta_tensor_no_storage"
)
_SK_FUNCTIONS = (
    "accuracy_score balanced_accuracy_score f1_score precision_score recall_score jaccard_score "
    "log_loss roc_auc_score average_precision_score brier_score_loss matthews_corrcoef "
    "cohen_kappa_score r2_score mean_absolute_error mean_squared_error root_mean_squared_error "
    "mean_squared_log_error median_absolute_error max_error explained_variance_score "
    "mean_absolute_percentage_error d2_absolute_error_score top_k_accuracy_score adjusted_rand_score "
    "rand_score normalized_mutual_info_score mutual_info_score homogeneity_score completeness_score "
    "v_measure_score fowlkes_mallows_score euclidean_distances manhattan_distances cosine_distances "
    "cosine_similarity rbf_kernel linear_kernel polynomial_kernel laplacian_kernel sigmoid_kernel "
    "chi2_kernel additive_chi2_kernel haversine_distances nan_euclidean_distances f_classif f_oneway "
    "f_regression r_regression chi2 mutual_info_classif mutual_info_regression _passthrough_scorer "
    "make_column_selector newObj strip_accents_unicode strip_accents_ascii strip_tags _identity _cube "
    "_exp _logcosh identity logistic tanh relu softmax"
)

_EXACT: dict[str, str] = {
    "builtins": _BUILTINS,
    "types": "NoneType",
    "collections": "OrderedDict defaultdict deque Counter",
    "copyreg": "_reconstructor",
    "_codecs": "encode",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "pathlib": "PurePosixPath PosixPath Path WindowsPath PureWindowsPath",
    "numpy": f"{_NUMPY} {_UFUNCS}",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "_mareconstruct MaskedArray",
    "numpy.random": "RandomState Generator",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.mtrand": "RandomState",
    "numpy.random._generator": "Generator",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "joblib.numpy_pickle": "NumpyArrayWrapper",
    "scipy.spatial._ckdtree": "cKDTree",
    "scipy.spatial._kdtree": "KDTree",
    "scipy.interpolate._interpolate": "interp1d PPoly",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.optimize._optimize": "OptimizeResult",
    "xgboost.core": "Booster",
    "lightgbm.basic": "Booster",
    "torch": _TORCH,
    "torch._utils": _REBUILD,
    "torch._tensor": "_rebuild_from_type_v2",
    "torch.nn.parameter": "Parameter Buffer UninitializedParameter",
    "torch.storage": "TypedStorage UntypedStorage _TypedStorage _UntypedStorage",
    "torch.serialization": "_get_layout",
    "torch.jit._pickle": "build_intlist build_tensorlist build_doublelist build_boollist restore_type_tag",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.cluster._kmeans": "_kmeans_single_lloyd _kmeans_single_elkan",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
}
for _core in ("numpy.core", "numpy._core"):
    _EXACT[f"{_core}.multiarray"] = "_reconstruct scalar"
    _EXACT[f"{_core}.numeric"] = "_frombuffer"

EXACT: dict[str, frozenset[str]] = {module: _words(names) for module, names in _EXACT.items()}

_CLASS = re.compile(r"_*[A-Z][A-Za-z0-9_]*\Z", re.ASCII)
_CYTHON = re.compile(r"__pyx_unpickle_[A-Za-z0-9_]+\Z", re.ASCII)
_SPARSE = re.compile(r"(?:csr|csc|coo|bsr|dia|dok|lil)_(?:matrix|array)\Z", re.ASCII)
_FUNCTIONS = _words(_SK_FUNCTIONS)

_CLOSED_PARTS = _words(
    "tests testing _testing conftest datasets externals parallel _joblib fixes validation deprecation "
    "_show_versions inspection _plot _repr_html estimator_checks _mocking _array_api callback "
    "frozen_setup discovery"
)
_CLOSED_NAMES = _words(
    "Path Parallel Memory MemorizedResult Popen Thread ThreadPool Pool Process Queue Lock "
    "ThreadPoolExecutor ProcessPoolExecutor TemporaryDirectory NamedTemporaryFile Template "
    "MetadataRequester MethodType StringIO Enum Protocol NamedTuple"
)

# Only used to say more about a name that is refused anyway.
RUNS_CODE = _words(
    "os posix nt subprocess sys builtins runpy pty webbrowser code codeop commands importlib imp "
    "pkgutil shutil socket ctypes _ctypes pickle _pickle cloudpickle dill marshal types operator "
    "_operator functools _functools timeit asyncio multiprocessing threading _thread platform pdb bdb "
    "cProfile profile trace urllib http ftplib smtplib requests tempfile io _io inspect site pip "
    "setuptools distutils idlelib lib2to3 pydoc doctest signal gc"
)


def is_allowed(module: str, name: str) -> bool:
    """Whether a model file may import `name` from `module` without being called suspicious."""
    if "." in name:
        return False
    if name in EXACT.get(module, ()):
        return True
    root, *parts = module.split(".")
    if root == "__torch__":
        return True
    if name in _CLOSED_NAMES or not _CLOSED_PARTS.isdisjoint(parts):
        return False
    return _is_library_class(root, module, name)


def _is_library_class(root: str, module: str, name: str) -> bool:
    if root == "sklearn":
        if name == "chi2":  # elsewhere in scikit-learn this name is scipy.stats' distribution
            return module.startswith("sklearn.feature_selection")
        return bool(_CLASS.match(name) or _CYTHON.match(name)) or name in _FUNCTIONS
    if module.startswith("scipy.sparse"):
        return bool(_SPARSE.match(name))
    if module == "xgboost.sklearn":
        return name.startswith("XGB")
    if module == "lightgbm.sklearn":
        return name.startswith("LGBM")
    if module.startswith("torch.nn.modules."):
        return bool(_CLASS.match(name))
    return False


def runs_code(module: str) -> bool:
    """Whether the module is one that is known to run commands or code, for the sentence about it."""
    return module.split(".", 1)[0] in RUNS_CODE
