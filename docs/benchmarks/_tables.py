"""Which script makes which table: the one list of everything that the project measures."""

from dataclasses import dataclass

__all__ = ["BENCHMARKS", "Benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """A script and what it leaves behind.

    Parameters
    ----------
    name : str
        What the entry point calls it.
    script : str
        Below docs/.
    results : tuple of str
        Its tables below docs/, without the endings ``.json`` and ``.rst``.
    minutes : int
        About how long it takes on one idle core.
    arguments : tuple of str
        Environment variables in them are filled in.
    has_quick : bool
        Whether the script knows ``--quick``.
    """

    name: str
    script: str
    results: tuple
    minutes: int
    arguments: tuple = ()
    has_quick: bool = False


def _benchmark(name, folder, script, tables, minutes, *arguments, has_quick=False):
    results = tuple(f"{folder}/results/{table}" for table in tables)
    return Benchmark(name, f"{folder}/{script}.py", results, minutes, arguments, has_quick)


_RIVALS = "$SKINVERT_RIVALS"
_INPUT = "benchmarks/input_optimization"
_PEERS = "benchmarks/rivals"
_SCALE = "benchmarks/scale"
_JUDGING = "benchmarks/judging"
_FLOWS = "benchmarks/invertible_flow"
_NETWORKS = "reproductions/invertible_networks"
_REGENE = "reproductions/regene"
_COUPLED = "reproductions/coupled_dreamer"
_IMAGINE = "reproductions/imagine"
_REGENE_TABLES = ("trials", "distances", "generations", "fits")

BENCHMARKS = [
    _benchmark("choosing", "benchmarks/choosing", "costs", ["costs"], 5),
    _benchmark("input-quality", _INPUT, "quality", ["quality"], 40),
    _benchmark(
        "input-imagenet",
        _INPUT,
        "imagenet",
        ["imagenet"],
        60,
        "--rival",
        f"{_RIVALS}/dreamlens/bin/python",
    ),
    _benchmark("input-search", _INPUT, "search", ["search"], 5),
    _benchmark("input-speed", _INPUT, "speed", ["speed_steps", "speed_early_stopping"], 5),
    _benchmark("input-memory", _INPUT, "memory", ["memory"], 2),
    _benchmark("input-miface", _INPUT, "miface", ["miface"], 30, f"{_RIVALS}/art/bin/python"),
    _benchmark("judging-generators", _JUDGING, "generators", ["generators_mnist"], 10, "mnist"),
    _benchmark("judging-fashion", _JUDGING, "generators", ["generators_fashion"], 40, "fashion"),
    _benchmark("judging-ranking", _JUDGING, "ranking", ["ranking"], 10),
    _benchmark("judging-biases", _JUDGING, "biases", ["biases"], 5),
    _benchmark("judging-speed", _JUDGING, "speed", ["speed"], 5),
    _benchmark("flow-quality", _FLOWS, "quality", ["quality_mnist_5k"], 15, "mnist_5k"),
    _benchmark("flow-quality-fashion", _FLOWS, "quality", ["quality_fashion"], 40, "fashion"),
    _benchmark(
        "flow-choice",
        _FLOWS,
        "quality",
        ["quality_fashion_choice"],
        15,
        "fashion",
        "--choose",
    ),
    _benchmark(
        "flow-likelihood", _FLOWS, "likelihood", ["bits_mnist_5k", "epoch_mnist_5k"], 5, "mnist_5k"
    ),
    _benchmark(
        "flow-likelihood-fashion",
        _FLOWS,
        "likelihood",
        ["bits_fashion", "epoch_fashion"],
        15,
        "fashion",
    ),
    _benchmark("invertible-networks", _NETWORKS, "figures", ["stages"], 25),
    _benchmark("regene", _REGENE, "quality", [f"{t}_mnist" for t in _REGENE_TABLES], 10),
    _benchmark("regene-samplers", _REGENE, "samplers", ["samplers_mnist"], 8),
    _benchmark("regene-rivals", _REGENE, "rivals", ["rivals_mnist"], 5),
    _benchmark("regene-case-study", _REGENE, "case_study", ["case_study_mnist"], 3),
    _benchmark("regene-speed", _REGENE, "speed", ["speed_mnist"], 2),
    _benchmark(
        "regene-classifiers",
        _REGENE,
        "classifiers",
        ["depth_fashion", "losses_fashion", "mixtures_fashion"],
        12,
    ),
    _benchmark("regene-augmentation", _REGENE, "augmentation", ["augmentation_fashion"], 9),
    _benchmark(
        "regene-fashion",
        _REGENE,
        "quality",
        [f"{t}_fashion" for t in _REGENE_TABLES],
        30,
        "--data",
        "fashion",
    ),
    _benchmark(
        "regene-samplers-fashion",
        _REGENE,
        "samplers",
        ["samplers_fashion"],
        30,
        "--data",
        "fashion",
    ),
    _benchmark(
        "regene-rivals-fashion", _REGENE, "rivals", ["rivals_fashion"], 20, "--data", "fashion"
    ),
    _benchmark("coupled", _COUPLED, "quality", ["quality_mnist"], 40, has_quick=True),
    _benchmark(
        "coupled-fashion",
        _COUPLED,
        "quality",
        ["quality_fashion"],
        45,
        "--data",
        "fashion",
        has_quick=True,
    ),
    _benchmark("coupled-compounds", _COUPLED, "compounds", ["compounds_mnist"], 8, has_quick=True),
    _benchmark("coupled-bias", _COUPLED, "bias", ["bias"], 10, has_quick=True),
    _benchmark("coupled-filters", _COUPLED, "filters", ["filters_mnist"], 5, has_quick=True),
    _benchmark("coupled-speed", _COUPLED, "speed", ["speed"], 5, has_quick=True),
    _benchmark(
        "coupled-imagenet",
        _COUPLED,
        "imagenet",
        ["imagenet"],
        60,
        "--rival",
        f"{_RIVALS}/dreamlens/bin/python",
        has_quick=True,
    ),
    _benchmark("counterfactual", _IMAGINE, "counterfactual", ["counterfactual_mnist"], 10),
    _benchmark(
        "counterfactual-fashion",
        _IMAGINE,
        "counterfactual",
        ["counterfactual_fashion"],
        10,
        "--data",
        "fashion",
    ),
    _benchmark(
        "deep-inversion",
        _IMAGINE,
        "deep_inversion_imagenet",
        ["deep_inversion_imagenet"],
        90,
        "--seeds",
        "1",
        "--rival",
        f"{_RIVALS}/dreamlens/bin/python",
        has_quick=True,
    ),
    _benchmark(
        "deep-inversion-digits",
        _IMAGINE,
        "deep_inversion_digits",
        ["deep_inversion_mnist"],
        15,
        has_quick=True,
    ),
    _benchmark(
        "deep-inversion-fashion",
        _IMAGINE,
        "deep_inversion_digits",
        ["deep_inversion_fashion"],
        20,
        "--data",
        "fashion",
        has_quick=True,
    ),
    _benchmark(
        "deep-inversion-speed",
        _IMAGINE,
        "deep_inversion_speed",
        ["deep_inversion_speed"],
        5,
        has_quick=True,
    ),
    _benchmark(
        "imagine-synthesis",
        _IMAGINE,
        "synthesis",
        ["synthesis"],
        60,
        "--seeds",
        "2",
        has_quick=True,
    ),
    _benchmark("imagine-position", _IMAGINE, "position", ["position"], 15, has_quick=True),
    _benchmark(
        "rivals-mnist",
        _PEERS,
        "rivals",
        ["mnist_equal", "mnist_defaults"],
        25,
        "mnist",
        "--environments",
        _RIVALS,
        has_quick=True,
    ),
    _benchmark(
        "rivals-lite0",
        _PEERS,
        "rivals",
        ["lite0_equal", "lite0_defaults"],
        170,
        "lite0",
        "--environments",
        _RIVALS,
        has_quick=True,
    ),
    _benchmark(
        "rivals-hundred",
        _PEERS,
        "rivals",
        ["hundred_equal"],
        25,
        "hundred",
        "--environments",
        _RIVALS,
        has_quick=True,
    ),
    _benchmark("gpu", "benchmarks/gpu", "gpu", ["passes", "inversion"], 10, has_quick=True),
    _benchmark("throughput", _SCALE, "throughput", ["throughput", "plan"], 10, has_quick=True),
    _benchmark("sizes", _SCALE, "sizes", ["sizes"], 15, has_quick=True),
    _benchmark(
        "scale",
        _SCALE,
        "scale",
        ["killed", "throughput_of_workers", "out_of_core"],
        30,
        has_quick=True,
    ),
    _benchmark(
        "reliability",
        "benchmarks/reliability",
        "reliability",
        ["kills", "fuzz", "leaks", "threads", "files", "copies"],
        120,
        has_quick=True,
    ),
    _benchmark("imagine-speed", _IMAGINE, "speed", ["speed"], 5, has_quick=True),
]
