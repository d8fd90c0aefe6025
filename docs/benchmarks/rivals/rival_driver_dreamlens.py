"""dreamlens' ``maximize``, in batches, and its ``maco``, which takes one image at a time."""

import numpy as np
from _rig import Rig
from dreamlens import FeatureTarget, FeatureVisualizer, MacoConfig, RenderConfig
from dreamlens.image_parameters import FourierCanvas
from dreamlens.objectives import PerSampleObjective, TargetObjective


def maximize(rig, visualizer):
    defaults = RenderConfig()
    side = rig.side(defaults.width)
    config = RenderConfig(width=side, height=side, steps=rig.n_passes or defaults.steps)
    images = []
    for labels in rig.parts():
        targets = [FeatureTarget.for_class(label, layer="logits") for label in labels]
        objective = PerSampleObjective([TargetObjective([target]) for target in targets])
        result = visualizer.maximize(
            targets[0],
            config=config,
            image_parameter=FourierCanvas(height=side, batch_size=len(labels)),
            objective=objective,
        )
        images.append(result.image.as_nchw().numpy())
    return np.concatenate(images)


def maco(rig, visualizer):
    defaults = MacoConfig()
    side, crops = rig.side(defaults.width), rig.options.get("crops", defaults.crops)
    config = MacoConfig(
        width=side,
        height=side,
        input_shape=(3, *rig.shape[1:]),
        steps=defaults.steps if rig.n_passes is None else round(rig.n_passes / crops),
        crops=crops,
        box_size=rig.options.get("box_size"),
    )
    images = []
    for label in rig.labels:
        target = FeatureTarget.for_class(label, layer="logits")
        images.append(visualizer.visualize(target, method="maco", config=config).as_chw().numpy())
    return np.stack(images)


if __name__ == "__main__":
    rig = Rig()
    visualizer = FeatureVisualizer(rig.classifier, quiet=True, device="cpu", normalize=False)
    method = {"maximize": maximize, "maco": maco}[rig.options["method"]]
    rig.run(lambda: method(rig, visualizer))
