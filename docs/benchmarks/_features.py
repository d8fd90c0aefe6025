"""What is asked of each library for each row of the table of features: see ``features.py``."""

READ = "read in "

# Name on the page: (distribution, package).
DISTRIBUTIONS = {
    "skinvert": ("skinvert", "skinvert"),
    "scikit-learn": ("scikit-learn", "sklearn"),
    "skorch": ("skorch", "skorch"),
    "imbalanced-learn": ("imbalanced-learn", "imblearn"),
    "Captum": ("captum", "captum"),
    "dreamlens": ("dreamlens", "dreamlens"),
    "ART": ("adversarial-robustness-toolbox", "art"),
}

_CLONES = "clone({0}).get_params().keys() == {0}.get_params().keys()"
_SCORES = "len(cross_validate({0}, X, y, cv=2, error_score='raise')['test_score']) == 2"
_LINK = "estimator_html_repr({0}) and not {0}._get_doc_link()"
_TYPED = "(root / 'py.typed').exists()"
_MANUAL = "read in {}: notebooks, which no build runs"

# {feature: (what its code would be called, {library: (word, expression)})}. A library that is not
# named has "no": nothing in its code is called so.
CELLS = {
    "images from a trained classifier": (
        r"[Mm]odel_?[Ii]nversion|[Ff]eature_?[Vv]isuali|[Aa]ctivation_?[Mm]aximi|[Dd]eep_?[Dd]ream",
        {
            "skinvert": ("yes", "generator.generate([3]).shape == (1, 64)"),
            "dreamlens": ("yes", "visualized().as_chw().shape == (3, 32, 32)"),
            "ART": ("yes", "MIFace(wrapped, max_iter=1).infer(X[:1], y[:1]).shape == (1, 64)"),
        },
    ),
    "fit, get_params, clone": (
        r"def get_params\(",
        {
            "skinvert": ("yes", _CLONES.format("generator")),
            "scikit-learn": ("yes", _CLONES.format("logistic")),
            "skorch": ("yes", _CLONES.format("net")),
            "imbalanced-learn": ("yes", _CLONES.format("sampler")),
            "ART": ("partly", "wrapped.get_params() and fails(lambda: clone(wrapped), TypeError)"),
        },
    ),
    "scikit-learn's common checks in the tests": (
        r"check_estimator\b|parametrize_with_checks",
        {
            "skinvert": ("yes", "mentions(repository / 'tests/test_common.py', 'check_estimator')"),
            "scikit-learn": (
                "yes",
                "mentions(root / 'tests/test_common.py', 'parametrize_with_checks')",
            ),
            "skorch": (
                "no",
                "not any(mentions(f, 'check_estimator|parametrize_with_checks')"
                " for f in (root / 'tests').rglob('*.py'))",
            ),
            "imbalanced-learn": (
                "yes",
                "mentions(root / 'tests/test_common.py', 'parametrize_with_checks')",
            ),
        },
    ),
    "cross_validate and searches": (
        r"def get_params\(",
        {
            "skinvert": ("yes", _SCORES.format("generator")),
            "scikit-learn": ("yes", _SCORES.format("logistic")),
            "skorch": ("yes", _SCORES.format("net")),
            "imbalanced-learn": ("yes", _SCORES.format("balanced")),
            "ART": ("no", "fails(lambda: cross_validate(wrapped, X, y), AttributeError)"),
        },
    ),
    "frames of pandas and polars as rows": (
        r"polars|isinstance\(.*DataFrame",
        {
            "skinvert": (
                "yes",
                "clone(generator).fit(pandas.DataFrame(X), y) and"
                " clone(generator).fit(polars.DataFrame(X), y)",
            ),
            "scikit-learn": (
                "yes",
                "logistic.fit(pandas.DataFrame(X), y) and logistic.fit(polars.DataFrame(X), y)",
            ),
            "skorch": (
                "partly",
                "DataFrameTransformer().fit_transform(pandas.DataFrame(X))['X'].shape == X.shape"
                " and fails(lambda: clone(net).fit(polars.DataFrame(X), y), TypeError)",
            ),
            "imbalanced-learn": (
                "partly",
                "isinstance(sampler.fit_resample(pandas.DataFrame(X), y)[0], pandas.DataFrame)"
                " and fails(lambda: sampler.fit_resample(polars.DataFrame(X), y), TypeError)",
            ),
        },
    ),
    "errors of parameters in scikit-learn's wording": (
        r"_parameter_constraints",
        {
            "skinvert": (
                "yes",
                "refuses(lambda: clone(generator).set_params(n_steps=-1).fit(X, y))",
            ),
            "scikit-learn": ("yes", "refuses(lambda: clone(logistic).set_params(C=-1).fit(X, y))"),
            "skorch": (
                "partly",
                "fails(lambda: NeuralNetClassifier(Linear, module__in_features=1,"
                " module__out_features=2, nonsense=1).initialize(), ValueError)",
            ),
            "imbalanced-learn": (
                "yes",
                "refuses(lambda: clone(sampler).set_params(shrinkage='a').fit_resample(X, y))",
            ),
            "Captum": (
                "partly",
                "fails(lambda: attribution.attribute(x, target=0, n_steps=-1), AssertionError)",
            ),
            "dreamlens": ("partly", "fails(lambda: MacoConfig(steps=0), ValueError)"),
            "ART": ("partly", "fails(lambda: MIFace(wrapped, max_iter=-1), ValueError)"),
        },
    ),
    "HTML representation": (
        r"_repr_html_",
        {
            "skinvert": ("partly", _LINK.format("generator")),
            "scikit-learn": (
                "yes",
                "estimator_html_repr(logistic) and logistic._get_doc_link().startswith('http')",
            ),
            "skorch": ("partly", _LINK.format("net")),
            "imbalanced-learn": ("partly", _LINK.format("sampler")),
        },
    ),
    "set_output, get_feature_names_out": (
        r"def (set_output|get_feature_names_out)\(",
        {
            "skinvert": (
                "yes",
                "hasattr(ReGene, 'set_output') and hasattr(ReGene, 'get_feature_names_out')",
            ),
            "scikit-learn": (
                "yes",
                "StandardScaler().set_output(transform='pandas').fit_transform(X).shape == X.shape",
            ),
            "skorch": (
                "partly",
                "hasattr(HuggingfaceTokenizer, 'get_feature_names_out')"
                " and not hasattr(net, 'set_output')",
            ),
            "imbalanced-learn": (
                "partly",
                "hasattr(Pipeline, 'get_feature_names_out') and not hasattr(sampler, 'set_output')",
            ),
        },
    ),
    "metadata routing": (
        r"metadata_rout|set_fit_request",
        {
            "skinvert": (
                "partly",
                "generator.get_metadata_routing() and not hasattr(generator, 'set_fit_request')",
            ),
            "scikit-learn": ("yes", "hasattr(logistic, 'set_fit_request')"),
            "skorch": ("yes", "hasattr(net, 'set_fit_request')"),
            "imbalanced-learn": (
                "partly",
                "Pipeline([('sampler', sampler)]).get_metadata_routing()"
                " and not hasattr(sampler, 'set_fit_request')",
            ),
        },
    ),
    "callbacks, progress bars": (
        r"def set_callbacks|tqdm|show_progress|[Pp]rogress_?[Bb]ar",
        {
            "skinvert": ("yes", "clone(generator).set_callbacks(ProgressBar()) is not None"),
            "scikit-learn": (
                "partly",
                "hasattr(logistic, 'set_callbacks') and not hasattr(forest, 'set_callbacks')",
            ),
            "skorch": ("yes", "net.set_params(callbacks=[skorch.callbacks.ProgressBar()])"),
            "Captum": ("yes", "'show_progress' in signature(FeatureAblation.attribute).parameters"),
            "dreamlens": (
                "partly",
                "'progress_callback' in signature(dreamlens.optimize).parameters and"
                " 'progress_callback' not in signature(FeatureVisualizer.visualize).parameters",
            ),
            "ART": ("yes", "'verbose' in signature(MIFace).parameters"),
        },
    ),
    "fit_resample": (
        r"def fit_resample\(",
        {
            "skinvert": ("yes", "hasattr(skinvert.GenerativeSampler, 'fit_resample')"),
            "imbalanced-learn": ("yes", "sampler.fit_resample(X, y)[0].shape[1] == 64"),
        },
    ),
    "displays with from_estimator": (
        r"def from_estimator\(|def plot\w*\(|def visualize_\w+\(",
        {
            "skinvert": ("yes", "hasattr(skinvert.display.ImageGridDisplay, 'from_estimator')"),
            "scikit-learn": ("yes", "hasattr(ConfusionMatrixDisplay, 'from_estimator')"),
            "skorch": ("partly", "SkorchDoctor.plot_loss and not found('skorch', 'def from_est')"),
            "Captum": (
                "partly",
                "visualization.visualize_image_attr and not found('captum', 'from_estimator')",
            ),
            "ART": ("partly", "plot_3d and not found('art', 'from_estimator')"),
        },
    ),
    "what was fitted as a torch module": (
        r"\.to_torch\b|nn\.Module",
        {
            "skinvert": ("yes", "isinstance(generator.classifier_, torch.nn.Module)"),
            "skorch": ("yes", "isinstance(clone(net).initialize().module_, torch.nn.Module)"),
            "Captum": ("no", "not hasattr(attribution, 'fit')"),
            "dreamlens": ("no", "not hasattr(FeatureVisualizer, 'fit')"),
            "ART": ("yes", "isinstance(torch_wrapped.model, torch.nn.Module)"),
        },
    ),
    "normalisation out of torchvision's weights": (
        r"\.transforms\(\)|weights\.meta|imagenet_normalize|preprocessing=\(",
        {
            "skinvert": (
                "yes",
                "skinvert.InputOptimizationGenerator(torch.nn.Sequential(torch.nn.Flatten(),"
                " torch.nn.Linear(192, 10)), normalize=ResNet50_Weights.DEFAULT.transforms(),"
                " image_shape=(3, 8, 8)).fit(np.tile(X / 16, 3), y).generate([3]).size == 192",
            ),
            "dreamlens": (
                "partly",
                "FeatureVisualizer(network, quiet=True, normalize=True) and"
                " not found('dreamlens', 'weights.transforms')",
            ),
            "ART": (
                "partly",
                "torch_wrapped.preprocessing_operations and not found('art', 'weights.transforms')",
            ),
        },
    ),
    "files without pickle": (
        r"safetensors|\.savez",
        {
            "skinvert": ("yes", "reloaded(generator).generate([3]).shape == (1, 64)"),
            "skorch": ("partly", "'use_safetensors' in signature(net.save_params).parameters"),
        },
    ),
    "export to ONNX": (
        r"torch\.onnx|skl2onnx|def \w*onnx",
        {"skinvert": ("yes", "hasattr(ReGene, 'export_onnx')")},
    ),
    "images in and out": (
        r"def (save|load|read)_images?\(",
        {
            "skinvert": ("yes", "skinvert.save_images and skinvert.load_images"),
            "dreamlens": (
                "partly",
                "visualized().save('a.png') or"
                " dreamlens.image_to_tensor('a.png').shape == (1, 3, 32, 32)",
            ),
            "ART": (
                "partly",
                "callable(save_image) and not found('art', r'def (load|read)_images?\\(')",
            ),
        },
    ),
    "report of a classifier as one HTML file": (
        r"def (audit|to_html|save_html|html_report)\(",
        {"skinvert": ("yes", "callable(skinvert.report.audit)")},
    ),
    "site with an API reference": (
        "",
        {
            "skinvert": ("yes", "mentions(repository / 'docs/api.rst', 'autosummary')"),
            "scikit-learn": ("yes", "read in doc/api_reference.py"),
            "skorch": ("yes", "read in docs/net.rst"),
            "imbalanced-learn": ("yes", "read in doc/references/index.rst"),
            "Captum": ("yes", "read in sphinx/source/index.rst"),
            "dreamlens": ("no", "read in docs/: texts in Markdown, no site"),
            "ART": ("yes", "read in docs/modules/attacks.rst"),
        },
    ),
    "gallery that the site's build runs": (
        "",
        {
            "skinvert": ("yes", "mentions(repository / 'docs/conf.py', 'sphinx_gallery')"),
            "scikit-learn": ("yes", "read in doc/conf.py: sphinx_gallery"),
            "skorch": ("partly", _MANUAL.format("notebooks/")),
            "imbalanced-learn": ("yes", "read in doc/conf.py: sphinx_gallery"),
            "Captum": ("partly", _MANUAL.format("tutorials/")),
            "dreamlens": ("partly", _MANUAL.format("examples/")),
            "ART": ("partly", _MANUAL.format("notebooks/")),
        },
    ),
    "py.typed": (
        "",
        {
            "skinvert": ("yes", _TYPED),
            **dict.fromkeys(list(DISTRIBUTIONS)[1:], ("no", f"not {_TYPED}")),
        },
    ),
    "changelog": (
        "",
        {
            "skinvert": ("yes", "(repository / 'CHANGELOG.md').exists()"),
            "scikit-learn": ("yes", "read in doc/whats_new/"),
            "skorch": ("yes", "read in CHANGES.md"),
            "imbalanced-learn": ("yes", "read in doc/whats_new/"),
            "Captum": ("no", "read in the repository: none but the texts of its releases"),
            "dreamlens": ("no", "read in the repository: none"),
            "ART": ("no", "read in the repository: none but the texts of its releases"),
        },
    ),
    "CITATION.cff": (
        "",
        {
            "skinvert": ("yes", "(repository / 'CITATION.cff').exists()"),
            "scikit-learn": ("yes", "read in CITATION.cff"),
            **dict.fromkeys(list(DISTRIBUTIONS)[2:], ("no", "read in the repository: none")),
        },
    ),
}
