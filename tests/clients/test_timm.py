"""A network of timm, with the normalisation that its configuration names."""

import numpy as np
import pytest
import torch

from skinvert import InputOptimizationGenerator

timm = pytest.importorskip("timm", reason="timm is optional")


@pytest.fixture(scope="module", params=["test_resnet", "test_vit"])
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(request.param, pretrained=False, num_classes=3).eval()


def test_a_network_of_timm_is_inverted_in_the_units_of_the_data(network):
    config = timm.data.resolve_data_config(model=network)
    shape = config["input_size"]
    images = np.random.default_rng(0).uniform(size=(3, *shape)).astype(np.float32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = InputOptimizationGenerator(
        network,
        normalize=(config["mean"], config["std"]),
        prior=None,
        init="noise",
        n_steps=1,
        random_state=0,
        device="cpu",
    ).fit(images, [0, 1, 2])
    mean, std = (torch.tensor(config[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    expected = network((torch.from_numpy(images) - mean) / std)
    found = generator.classifier_(torch.from_numpy(images))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-3, atol=1e-4)
    assert generator.generate([2]).shape == (1, *shape)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
