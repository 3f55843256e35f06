"""The `pacemaker` command with its tensorpot backend, in an environment of its own.

Its TensorFlow, numpy and pandas do not go with ours, and its default dependency is the CUDA
build of TensorFlow (gigabytes): here it is the CPU build, and `tensorpotential` is installed
without its dependencies, which are named instead. python-ace carries an academic,
non-commercial licence.
"""

from __future__ import annotations

from pyacemaker.parts.environments import Environment, EnvironmentSpec, Say, environment

# Everything the pins below pull in, as it was when the fit was tested.
_CONSTRAINTS = """
absl-py==2.5.1 ase==3.29.0 astunparse==1.6.3 certifi==2026.10.18 charset-normalizer==3.5.2
cloudpickle==3.1.2 contourpy==1.3.3 cycler==0.12.1 flatbuffers==25.12.19 fonttools==4.68.0
gast==0.7.0 google-pasta==0.2.0 grpcio==1.85.1 h5py==3.16.0 idna==3.20 joblib==1.6.0
keras==3.15.1 kiwisolver==1.5.1 libclang==18.1.1 markdown==3.11.3 markdown-it-py==4.3.0
markupsafe==3.0.4 matplotlib==3.11.2 matscipy==1.3.1 mdurl==0.1.2 ml-dtypes==0.6.0
mpmath==1.3.0 namex==0.1.0 narwhals==2.29.0 opt-einsum==3.4.0 optree==0.20.0 packaging==26.3
pillow==13.0.0 prompt-toolkit==3.0.53 protobuf==7.36.2 psutil==7.2.2 pygments==2.21.0
pyparsing==3.3.3 python-dateutil==4.0.0 pytz==2026.6 pyyaml==6.0.3 questionary==2.1.1
requests==2.34.2 rich==15.0.0 ruamel-yaml==0.19.1 scikit-learn==1.9.1 scipy==1.17.1
setuptools==84.2.1 six==1.17.0 sympy==1.14.0 tensorboard==2.20.0
tensorboard-data-server==0.7.2 termcolor==3.3.0 threadpoolctl==3.8.0 tqdm==4.70.1
typing-extensions==4.16.0 tzdata==2026.6 urllib3==2.8.0 wcwidth==0.9.4 werkzeug==3.1.9
wheel==0.48.0 wrapt==2.5.2
"""

# Deep in the fitting code, for what is missing shows only there.
_SMOKE_TEST = """
import pandas, ruamel.yaml
from pyace.atomicenvironment import generate_tp_atoms
from pyace.generalfit import GeneralACEFit
from tensorpotential.compat.pace.fit import FitTensorPotential
from tensorpotential.compat.pace.potentials.ace import ACE
from tensorpotential.compat.pace.tensorpot import TensorPotential
"""

TENSORPOT = EnvironmentSpec(
    name="tensorpot",
    pins=(
        "numpy==2.2.6",
        "pandas==2.3.3",
        "tensorflow-cpu==2.20.0",
        "python-ace==0.4.0rc1",
        # What tensorpotential wants besides TensorFlow.
        "matscipy",
        "pyyaml",
        "questionary",
        "scikit-learn",
        "sympy",
        "tqdm",
    ),
    pins_alone=("tf_keras==2.20.1", "tensorpotential==0.6.2.1"),
    constraints=tuple(_CONSTRAINTS.split()),
    smoke_test=_SMOKE_TEST,
    size_MB=2000,
)


def tensorpot(say: Say = lambda _: None, timeout_s: float = 3600.0) -> Environment:
    """Return the environment of the tensorpot backend, made first where it is missing.

    Raises PartError (see `parts.environments.environment`).
    """
    return environment(TENSORPOT, say, timeout_s)
