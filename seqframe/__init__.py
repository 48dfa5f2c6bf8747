"""seqframe: frame sequences, train Keras models on them, roll their predictions out.

Framing needs NumPy only. Names that need Keras or matplotlib are loaded on first use, so that
`import seqframe` stays light in data workers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqframe.framing.batches import Batches
from seqframe.framing.framer import SequenceFramer
from seqframe.framing.frames import Frames, FrameSteps
from seqframe.framing.lanes import Lanes
from seqframe.framing.left_out import LeftOut
from seqframe.framing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from seqframe import datasets, processors, samplers
    from seqframe.framing.forecast_pictures import plot_forecast
    from seqframe.model.state import carry_state, get_states, reset_states, set_states
    from seqframe.plot.histories import plot_history
    from seqframe.rollout.backtest import Backtest, backtest
    from seqframe.rollout.generator import Generator
    from seqframe.rollout.prompts import GeneratorState
    from seqframe.rollout.stepper import Stepper
    from seqframe.training.checkpoint import Checkpoint
    from seqframe.training.fit import evaluate, fit, predict
    from seqframe.training.stateful import StatefulTrainer

__version__ = "0.1.0"

# The modules of the names that `import seqframe` does not load.
_LOADED_ON_USE = {
    "Backtest": "rollout.backtest",
    "Checkpoint": "training.checkpoint",
    "Generator": "rollout.generator",
    "GeneratorState": "rollout.prompts",
    "StatefulTrainer": "training.stateful",
    "Stepper": "rollout.stepper",
    "backtest": "rollout.backtest",
    "carry_state": "model.state",
    "datasets": "datasets",
    "evaluate": "training.fit",
    "fit": "training.fit",
    "get_states": "model.state",
    "plot_forecast": "framing.forecast_pictures",
    "plot_history": "plot.histories",
    "predict": "training.fit",
    "processors": "processors",
    "reset_states": "model.state",
    "samplers": "samplers",
    "set_states": "model.state",
}
_MODULES = ("datasets", "processors", "samplers")

__all__ = [
    "Backtest",
    "Batches",
    "Checkpoint",
    "FrameSteps",
    "Frames",
    "Generator",
    "GeneratorState",
    "Lanes",
    "LeftOut",
    "SequenceFramer",
    "StatefulTrainer",
    "Stepper",
    "Vocabulary",
    "backtest",
    "carry_state",
    "datasets",
    "evaluate",
    "fit",
    "get_states",
    "plot_forecast",
    "plot_history",
    "predict",
    "processors",
    "reset_states",
    "samplers",
    "set_states",
]


if not TYPE_CHECKING:  # a type checker would accept any name that `__getattr__` might return

    def __getattr__(name: str) -> Any:
        if name not in _LOADED_ON_USE:
            raise AttributeError(f"module 'seqframe' has no attribute {name!r}")
        try:
            module = import_module(f"seqframe.{_LOADED_ON_USE[name]}")
        except ModuleNotFoundError as error:
            backend = (error.name or "").partition(".")[0]
            if backend not in ("tensorflow", "jax", "torch"):
                raise
            raise ImportError(
                f"Keras's backend {backend!r} is not installed. Install it with `pip install "
                f"{backend}`, or set the environment variable KERAS_BACKEND to one that is."
            ) from error
        value = module if name in _MODULES else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
