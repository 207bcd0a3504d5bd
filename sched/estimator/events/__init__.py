"""Events of a launch, from its instructions alone: what the hardware's counters must show, and energy models price.

Nothing here knows of time. The one thing that time decides is how many blocks of instructions the fetch units read
behind the END of a stream (`Events.ahead`).
"""

from estimator.events.network import Routes, routes_of
from estimator.events.predict import predict, predict_parts
from estimator.events.record import UPDATES, Events

__all__ = ["UPDATES", "Events", "Routes", "predict", "predict_parts", "routes_of"]
