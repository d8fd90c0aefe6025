"""An environment for each rival, on the running one's torch: all share its version."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

# What each rival imports and the running environment may lack. kornia 0.4.1 is the newest that
# torch-lucent allows; horama declares neither einops nor tqdm.
PACKAGES = {
    "art": ["adversarial-robustness-toolbox==1.20.1", "six", "packaging"],
    "dreamlens": ["dreamlens==0.1.1"],
    "horama": ["horama==0.3.0", "einops", "matplotlib"],
    "torch_dreams": ["torch-dreams==4.0.0", "opencv-python"],
    "torch_lucent": ["torch-lucent==0.1.8", "kornia==0.4.1", "decorator", "ipython"],
    "imstack": ["imstack==0.1.8", "matplotlib"],
}
WITH_DEPENDENCIES = ("ipython", "matplotlib")  # none of them needs torch


def interpreter(folder, name):
    return Path(folder) / name / "bin" / "python"


def install(folder):
    """Make the environments; those that cannot be made are told, and left out of the tables."""
    for name, packages in PACKAGES.items():
        place = Path(folder) / name
        venv.create(place, with_pip=False)
        ours = sysconfig.get_path("purelib")
        (own,) = place.glob("lib/python*/site-packages")
        (own / "shared.pth").write_text(ours + os.linesep)
        pip = [sys.executable, "-m", "pip", "--python", interpreter(folder, name), "install", "-q"]
        for package in packages:
            alone = [] if package in WITH_DEPENDENCIES else ["--no-deps"]
            if subprocess.run([*pip, *alone, package], check=False).returncode:
                print(f"{name}: {package} does not install")
