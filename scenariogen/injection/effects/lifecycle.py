"""One effect of a scenario from before its start to after its end."""

from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.injection.occurrence import Phase
from scenariogen.injection.records import RealisedEffect
from scenariogen.units import clock_text


class EffectOccurrence:
    """Applies an effect at its time and undoes it at its end. Safe to end at any moment."""

    def __init__(self, effect: ActiveEffect, *, step_s: float) -> None:
        self.effect = effect
        self.phase = Phase.WAITING
        self._step_s = step_s
        self._start_s: float | None = None
        self._end_s: float | None = None
        self._reason = ""
        self._updated_s = float("-inf")

    @property
    def due_s(self) -> float:
        """When :meth:`update` has something to do next."""
        if self.phase is Phase.OVER:
            return float("inf")
        if self.phase is Phase.WAITING:
            return self.effect.asked.start_s
        return min(self.effect.asked.end_s, self._updated_s + max(self.effect.every_s, self._step_s))

    def update(self, now_s: float) -> None:
        """Do what is due."""
        asked = self.effect.asked
        if self.phase is Phase.WAITING and now_s >= asked.start_s - 1e-6:
            if now_s >= asked.end_s:
                self.end(now_s, f"the simulation was stepped past it and is at {clock_text(now_s)}")
                return
            why = self.effect.apply(now_s)
            if why:
                self.end(now_s, why)
                return
            self.phase = Phase.STANDING
            self._start_s = self._updated_s = now_s
            if now_s > asked.start_s + self._step_s:
                self._reason = f"the simulation was stepped past its start, it began at {clock_text(now_s)}"
        elif self.phase is Phase.STANDING:
            if now_s >= asked.end_s - 1e-6:
                self.end(now_s, "")
            elif now_s >= self._updated_s + self.effect.every_s - 1e-6:
                self._updated_s = now_s
                self.effect.update(now_s)

    def end(self, now_s: float, reason: str, *, simulation_is_gone: bool = False) -> None:
        """End it, now, whatever phase it is in."""
        if self.phase is Phase.OVER:
            return
        stood = self.phase is Phase.STANDING
        self.phase = Phase.OVER
        self._reason = "; ".join(part for part in (self._reason, reason) if part)
        if stood:
            self._end_s = now_s
            if not simulation_is_gone:
                self.effect.undo(early=now_s < self.effect.asked.end_s - 1e-6)

    def report(self) -> RealisedEffect:
        """What became of it so far."""
        effect, stood = self.effect, self._start_s is not None
        counts = effect.counts() if stood else {}
        if effect.overwrites:
            counts["overwritten_by_others"] = effect.overwrites
        return RealisedEffect(
            number=effect.number,
            asked=effect.asked,
            realised=stood,
            reason="; ".join([*effect.notes, *([self._reason] if self._reason else [])])
            or ("" if stood else "its time has not come yet"),
            start_s=self._start_s,
            end_s=self._end_s,
            counts=counts,
        )
