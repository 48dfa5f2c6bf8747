"""seqframe: frame sequences, train Keras models on them, roll their predictions out.

Framing needs NumPy alone. What needs Keras or matplotlib is loaded when it is first used, so that
`import seqframe` stays light in data workers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqframe.framer import SequenceFramer
from seqframe.frames import Frames
from seqframe.lanes import Lanes
from seqframe.vocabulary import Vocabulary

if TYPE_CHECKING:
    from seqframe.backtesting import backtest
    from seqframe.evaluation import evaluate, predict
    from seqframe.generator import Generator
    from seqframe.plotting.forecasts import plot_forecast
    from seqframe.plotting.histories import plot_history
    from seqframe.state import carry_state, get_states, reset_states, set_states
    from seqframe.stateful import StatefulTrainer
    from seqframe.tested import Backtest
    from seqframe.training import fit

__version__ = "0.1.0"

# Where the names are that `import seqframe` does not load: they need Keras or matplotlib.
_LOADED_ON_USE = {
    "Backtest": "tested",
    "Generator": "generator",
    "StatefulTrainer": "stateful",
    "backtest": "backtesting",
    "carry_state": "state",
    "evaluate": "evaluation",
    "fit": "training",
    "get_states": "state",
    "plot_forecast": "plotting.forecasts",
    "plot_history": "plotting.histories",
    "predict": "evaluation",
    "reset_states": "state",
    "set_states": "state",
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
