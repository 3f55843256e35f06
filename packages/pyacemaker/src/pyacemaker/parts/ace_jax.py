"""ace-jax (MIT): Bayesian linear ACE, in an environment of its own.

Its JAX and extxyz reader are nothing the rest of the program wants to depend on.
"""

from __future__ import annotations

from pyacemaker.parts.environments import Environment, EnvironmentSpec, Say, environment

# Everything the pin below pulls in, as it was when the fit was tested.
_CONSTRAINTS = """
absl-py==2.5.1 ace-jax-coupling==0.2.0 ase==3.29.0 ase-extxyz==0.1.2 contourpy==1.3.3
cycler==0.12.1 equinox==0.13.8 extxyz==0.4.6 fonttools==4.68.0 jax==0.10.2 jaxlib==0.10.2
jaxtyping==0.3.11 kiwisolver==1.5.1 lineax==0.1.1 matplotlib==3.11.2 ml-dtypes==0.6.0
multipledispatch==1.0.0 numpy==2.4.6 numpyro==0.22.0 opt-einsum==3.4.0 optax==0.2.8
packaging==26.3 pillow==13.0.0 pyleri==1.5.1 pyparsing==3.3.3
scipy==1.17.1 tqdm==4.70.1 typing-extensions==4.16.0 wadler-lindig==0.1.8
"""

_SMOKE_TEST = """
import jax
jax.config.update("jax_enable_x64", True)
import ace_jax, ace_jax.cli, ace_jax.export.yace, ace_jax.fit.pipeline.run
import ace_jax_coupling
"""

ACE_JAX = EnvironmentSpec(
    name="ace-jax",
    pins=("ace-jax==0.4.1",),
    constraints=tuple(_CONSTRAINTS.split()),
    smoke_test=_SMOKE_TEST,
    size_MB=900,
)


def ace_jax(say: Say = lambda _: None, timeout_s: float = 1800.0) -> Environment:
    """Return ace-jax's environment, made first where it is missing.

    Raises PartError (see `parts.environments.environment`).
    """
    return environment(ACE_JAX, say, timeout_s)
