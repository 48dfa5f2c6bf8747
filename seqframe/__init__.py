"""seqframe: frame sequences, train Keras models on them, roll their predictions out.

Framing needs NumPy alone. What needs Keras or matplotlib is loaded when it is first used, so that
`import seqframe` stays light in data workers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqframe.framing.framer import SequenceFramer
from seqframe.framing.frames import Frames
from seqframe.framing.lanes import Lanes
from seqframe.framing.vocabulary import Vocabulary

if TYPE_CHECKING:
    from seqframe.model.state import carry_state, get_states, reset_states, set_states
    from seqframe.plotting.forecasts import plot_forecast
    from seqframe.plotting.histories import plot_history
    from seqframe.rollout.backtest import Backtest, backtest
    from seqframe.rollout.generator import Generator
    from seqframe.training.evaluation import evaluate, predict
    from seqframe.training.fit import fit
    from seqframe.training.stateful import StatefulTrainer

__version__ = "0.1.0"

# Where the names are that `import seqframe` does not load: they need Keras or matplotlib.
_LOADED_ON_USE = {
    "Backtest": "rollout.backtest",
    "Generator": "rollout.generator",
    "StatefulTrainer": "training.stateful",
    "backtest": "rollout.backtest",
    "carry_state": "model.state",
    "evaluate": "training.evaluation",
    "fit": "training.fit",
    "get_states": "model.state",
    "plot_forecast": "plotting.forecasts",
    "plot_history": "plotting.histories",
    "predict": "training.evaluation",
    "reset_states": "model.state",
    "set_states": "model.state",
}

__all__ = [
    "Backtest",
    "Frames",
    "Generator",
    "Lanes",
    "SequenceFramer",
    "StatefulTrainer",
    "Vocabulary",
    "backtest",
    "carry_state",
    "evaluate",
    "fit",
    "get_states",
    "plot_forecast",
    "plot_history",
    "predict",
    "reset_states",
    "set_states",
]


if not TYPE_CHECKING:  # who reads types would take any name for one that is here

    def __getattr__(name: str) -> Any:
        if name not in _LOADED_ON_USE:
            raise AttributeError(f"module 'seqframe' has no attribute {name!r}")
        try:
            value = getattr(import_module(f"seqframe.{_LOADED_ON_USE[name]}"), name)
        except ModuleNotFoundError as error:
            backend = (error.name or "").partition(".")[0]
            if backend not in ("tensorflow", "jax", "torch"):
                raise
            raise ImportError(
                f"Keras's backend {backend!r} is not installed. Install it, for instance with "
                f'`pip install "seqframe[{backend}]"`, or set the environment variable '
                "KERAS_BACKEND to one that is."
            ) from error
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
