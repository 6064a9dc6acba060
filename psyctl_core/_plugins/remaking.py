"""Makes the chosen backend anew in another process: by name and options, without secrets, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from psyctl_core._plugins.guard import GuardedBackend, as_backend
from psyctl_core._plugins.installed import version_of
from psyctl_core._plugins.registry import HOME, discover
from psyctl_core._plugins.selection import Choice, Selection, config_of, resolve
from psyctl_core.components import BackendMaker, Context, Identity, InferenceBackend
from psyctl_core.errors import UsageError
from psyctl_core.options import OptionValue


@dataclass(frozen=True, slots=True)
class Maker:
    """What it takes to make a backend anew; see :class:`~psyctl_core.components.BackendMaker`.

    Attributes:
        name: ``DISTRIBUTION:NAME``.
        values: Its options, without those that hold a secret.
        secrets: The options that do, with the environment variable that each is read from.
        context: What the factory is told besides.
        identity: What it says of itself here.
        versions: Of psyctl and of the plugin, by distribution.
    """

    name: str
    values: Mapping[str, OptionValue]
    secrets: Mapping[str, str]
    context: Context
    identity: Identity
    versions: Mapping[str, str]

    def make(self, is_stopping: Callable[[], bool]) -> InferenceBackend:
        """The backend, not started.

        Raises:
            UsageError: It would not be the same; the message says what differs.
            PsyctlError: It cannot be made.
        """
        self._check_versions()
        registry = discover()
        config = config_of(registry.get("backend", self.name), self.values)
        for option, variable in self.secrets.items():
            if not getattr(config, option):
                raise UsageError(
                    f"The option '{option}' is a secret, which is not sent, and {variable} is not set.",
                    f"Set {variable} for every process of the cluster.",
                )
        backend: GuardedBackend = resolve(registry, "backend", Selection(self.name, config)).make(self.context)
        backend.is_stopping = is_stopping
        own = backend.identity()
        if own != self.identity:
            differing = sorted(key for key in {**own, **self.identity} if own.get(key) != self.identity.get(key))
            told = "; ".join(
                f"{key}: {own.get(key)!r:.80} instead of {self.identity.get(key)!r:.80}" for key in differing
            )
            backend.close()
            raise UsageError(
                f"The {backend.origin} is another one ({told}).",
                "Give every machine the same model, or pin its revision.",
            )
        return as_backend(backend)

    def _check_versions(self) -> None:
        for distribution, wanted in self.versions.items():
            if (found := version_of(distribution)) != wanted:
                raise UsageError(
                    f"{distribution} {wanted} is wanted, and {found or 'none'} is installed.",
                    f"Install it there: pip install '{distribution}=={wanted}'",
                )


def maker_of(choice: Choice, context: Context, backend: GuardedBackend) -> BackendMaker | None:
    """What makes a chosen backend anew; ``None`` where a program handed over an object."""
    if choice.registered is None or choice.config is None:
        return None
    values: dict[str, OptionValue] = {}
    secrets: dict[str, str] = {}
    for field in dataclasses.fields(choice.config):
        value = getattr(choice.config, field.name)
        saved = field.metadata.get("saved")
        if field.metadata.get("secret") or (saved is not None and saved(value) != value):
            if value:
                secrets[field.name] = field.metadata.get("env", "")
        elif field.init:
            values[field.name] = value
    versions = {HOME: version_of(HOME), choice.origin.distribution: choice.origin.version}
    return Maker(choice.registered.full_name, values, secrets, context, backend.identity(), versions)
