"""Effects other than incidents: one file each, every one with apply and undo."""

from scenariogen.injection.effects.contract import ActiveEffect, Scene
from scenariogen.injection.effects.group import Effects
from scenariogen.injection.effects.registry import active_effect

__all__ = ["ActiveEffect", "Effects", "Scene", "active_effect"]
