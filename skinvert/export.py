"""The part of an estimator that makes images, as a plain torch module and as an ONNX file."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from skinvert.flows.coupling import CouplingFlow
from skinvert.flows.network import FlowNetwork
from skinvert.flows.patches import PatchMixtures
from skinvert.flows.sliced import SlicedFlow
from skinvert.flows.square import LeakyReLU, SquareFlow
from skinvert.shards import write_atomically

__all__ = ["DecoderModule", "FlowModule", "write_onnx"]

_MOST_ERROR = 1e-6  # of a row that is sent there and back, in standard deviations


class DecoderModule(nn.Module):
    """Latents to images: a decoder on the CPU, its values kept in their range.

    Parameters
    ----------
    decoder : torch.nn.Module
        Copied.
    value_range : tuple (low, high) or None
        Of the images; values outside are clipped. None leaves them as they are.

    Examples
    --------
    >>> import torch
    >>> from skinvert.export import DecoderModule
    >>> DecoderModule(torch.nn.Linear(3, 4), (0.0, 1.0))(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(self, decoder: nn.Module, value_range: tuple[float, float] | None) -> None:
        super().__init__()
        self.decoder = copy.deepcopy(decoder).cpu().eval().requires_grad_(False)
        self.low: float | None = None
        self.high: float | None = None
        if value_range is not None:
            self.low, self.high = map(float, value_range)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Parameters
        ----------
        latents : Tensor of shape (n, n_latents)
            On the CPU.

        Returns
        -------
        images : Tensor of shape (n, …)
            As the decoder gives them.
        """
        images = self.decoder(latents)
        return images if self.low is None else images.clamp(self.low, self.high)


class FlowModule(nn.Module):
    """Latents to rows in the units of the data: the inverse of a trained flow, on the CPU.

    It computes in float64, whatever the latents are.

    Parameters
    ----------
    network : FlowNetwork
        Copied.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from skinvert import InvertibleFlowClassifier
    >>> from skinvert.export import FlowModule
    >>> X, y = load_digits(return_X_y=True)
    >>> flow = InvertibleFlowClassifier(random_state=0).fit(X[:500], y[:500])
    >>> latents = torch.from_numpy(flow.transform(X[:2]))
    >>> bool((FlowModule(flow.network_)(latents) - torch.from_numpy(X[:2])).abs().max() < 1e-6)
    True
    """

    means: Tensor

    def __init__(self, network: FlowNetwork) -> None:
        super().__init__()
        network = copy.deepcopy(network).cpu().double().eval().requires_grad_(False)
        self.preprocessing, self.flow = network.preprocessing, network.flow
        self.register_buffer("means", network.means.detach())

    def forward(self, latents: Tensor) -> Tensor:
        """Invert the flow.

        Parameters
        ----------
        latents : Tensor of shape (n, n_features)
            On the CPU.

        Returns
        -------
        rows : Tensor of shape (n, n_features)
            Of the dtype of the latents.
        """
        z = latents.double()
        if self.flow.conditional:
            distances = (z[:, None] - self.means).square().sum(2)
            columns = distances.argmin(1)
            v = _inverted(self.flow, z - self.means[columns], columns)
        else:
            v = self.flow.inverse(z)
        return self.preprocessing.inverse(v).to(latents.dtype)


def _inverted(flow, z, columns):
    """Rows (n, n_features) of latents, each under the map of its class."""
    if isinstance(flow, _SlicedInverse):
        return flow.inverse(z, columns)
    if isinstance(flow, CouplingFlow):
        return _coupling_rows(flow, z, columns)
    v = torch.empty_like(z)
    for column in columns.unique().tolist():
        rows = torch.nonzero(columns == column)[:, 0]
        v[rows] = flow.inverse(z[rows], column)
    return v


def _coupling_rows(flow, z, columns):
    """`CouplingFlow.inverse` for rows of many classes, as a graph that holds for all of them."""
    classes = torch.arange(flow.n_classes)
    onehot = (columns[:, None] == classes).to(z.dtype)
    leading, rest = z.tensor_split([flow.n_leading], dim=1)
    for block in reversed(flow.couplings):
        leading = block.inverse(leading, onehot)
    white = torch.cat([leading, rest], dim=1)
    v = torch.zeros_like(z)
    for column in range(flow.n_classes):
        v = torch.where((columns == column)[:, None], flow.whitening.inverse(white, column), v)
    return v


class _SolvedFlow(nn.Module):
    """A `SquareFlow` whose layers are inverted once and for all: ONNX has no solver."""

    conditional = False

    def __init__(self, flow):
        super().__init__()
        self.slopes = []
        for index, layer in enumerate(reversed(flow.layers)):
            is_bend = isinstance(layer, LeakyReLU)
            self.slopes.append(layer.slope if is_bend else None)
            if not is_bend:
                eye = torch.eye(len(layer.bias), dtype=layer.bias.dtype)
                self.register_buffer(f"matrix_{index}", layer.inverse(eye + layer.bias))
                self.register_buffer(f"bias_{index}", layer.bias.detach())

    def inverse(self, z):
        """Inputs (n, n_features) of outputs."""
        for index, slope in enumerate(self.slopes):
            if slope is None:
                z = (z - getattr(self, f"bias_{index}")) @ getattr(self, f"matrix_{index}")
            else:
                z = torch.where(z < 0, z / slope, z)
        return z


class _SlicedInverse(nn.Module):
    """A `SlicedFlow` for rows of many classes, as a graph that holds for all of them."""

    conditional = True

    def __init__(self, flow):
        super().__init__()
        self.transports = flow.transports
        self.shared = flow.shared

    def inverse(self, z, columns):
        """Rows (n, n_features) of latents, each under the map of its class (n,)."""
        x = torch.zeros_like(z)
        for column, transport in enumerate(self.transports):
            x = torch.where((columns == column)[:, None], _transported(transport, z), x)
        for layer in reversed(self.shared):
            x = _patches(layer, x) if isinstance(layer, PatchMixtures) else _splines(layer, x)
        return x


def _transported(transport, z):
    """`ClassTransport.inverse`."""
    n_leading = transport.n_leading
    white = torch.cat([_mixture(transport.mixture, z[:, :n_leading]), z[:, n_leading:]], dim=1)
    return (white * transport.scales) @ transport.axes.T + transport.mean


def _patches(layer, z):
    """`PatchMixtures.inverse`."""
    parts = z[:, layer.order].split(layer.sizes, dim=1)
    pairs = zip(layer.transports, parts, strict=True)
    return torch.cat([_mixture(map_, part) for map_, part in pairs], dim=1)[
        :, layer.order.argsort()
    ]


def _splines(layer, z):
    """`PixelSplines.inverse`, its cells found by counting knots."""
    cells = (layer.splines.y[None, :, 1:-1] < z[:, :, None]).sum(2)
    return layer.splines.inverse_within(z, cells.T)


def _mixture(transport, z):
    """`MixtureTransport.inverse`, as one operator."""
    from skinvert.flows.quantiles import mixture_inverse

    return mixture_inverse(z, transport.log_weights, transport.means, transport.factors)


def _for_onnx(module):
    """The module in operators that ONNX has, or an error that says why it cannot be."""
    flow = getattr(module, "flow", None)
    if isinstance(flow, SlicedFlow):
        whole = copy.deepcopy(module)
        whole.flow = _SlicedInverse(whole.flow)
        return whole
    if not isinstance(flow, SquareFlow):
        return module
    solved = copy.deepcopy(module)
    solved.flow = _SolvedFlow(flow)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(64, module.means.shape[1], generator=generator, dtype=torch.float64)
    error = float((solved.flow.inverse(flow(rows)[0]) - rows).abs().max())
    if not error <= _MOST_ERROR:
        raise ValueError(
            f"the layers of the flow are so nearly singular that rows come back from it with an "
            f"error of {error:.2g} standard deviations (diagnose says more). Train with "
            "objective='mle', or set linear='bounded'."
        )
    return solved


def write_onnx(module: DecoderModule | FlowModule, n_latents: int, path: str | Path) -> Path:
    """Write a module of latents as an ONNX file, for any number of rows.

    Parameters
    ----------
    module : DecoderModule or FlowModule
        Left as it is.
    n_latents : int
        Length of a latent.
    path : str or Path
        Written in full or not at all.

    Returns
    -------
    path : Path
        Its input is ``latents`` (n, n_latents), its output ``images``: float64 of flows, whose
        classes lie far apart among the latents, float32 of decoders.

    Raises
    ------
    ImportError
        If the packages onnx and onnxscript are not installed.
    ValueError
        If the layers of a "square" flow are nearly singular.
    RuntimeError
        If torch's exporter returns no program.

    Examples
    --------
    >>> import torch
    >>> from skinvert.export import DecoderModule, write_onnx
    >>> module = DecoderModule(torch.nn.Linear(3, 4), (0.0, 1.0))
    >>> write_onnx(module, 3, "decoder.onnx").name  # doctest: +SKIP
    'decoder.onnx'
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs the packages onnx and onnxscript ({error}); install them with "
            "pip install 'skinvert[onnx]'."
        ) from None
    from skinvert.flows.quantiles import OPERATORS

    dtype = torch.float64 if isinstance(module, FlowModule) else torch.float32
    program = torch.onnx.export(
        _for_onnx(module).eval(),
        (torch.zeros(2, n_latents, dtype=dtype),),
        input_names=["latents"],
        output_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        custom_translation_table=OPERATORS,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program; nothing was written.")
    path = Path(path)
    write_atomically(path, program.model_proto.SerializeToString())
    return path
