"""Says whose fault it is when what a plugin supplies fails or breaks its contract."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from psyctl_core.errors import PluginError, PsyctlError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Who supplies something.

    Attributes:
        kind: ``source``, ``prompter``, ``backend``, ``judge``, ``runner``, ``sink``, ``exporter``, ``command`` or
            ``check``; ``plugin`` where it is none of them.
        name: The component's name, or the entry point's.
        distribution: The pip name of who supplies it.
        version: That distribution's version; empty for a component that a program handed over, whose
            distribution is its module.
    """

    kind: str
    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' (from {f'{self.distribution} {self.version}'.strip()})"

    def fault(self, error: BaseException) -> PluginError:
        """The error to raise in place of what the component raised."""
        return PluginError(
            f"The {self} failed: {type(error).__name__}: {error}",
            "Run again with --debug for the traceback; what was written so far is kept.",
        )

    def misdeed(self, text: str) -> PluginError:
        """The error for something that the component did against its contract."""
        return PluginError(
            f"The {self} {text}.", f"Tell {self.distribution}'s authors; what is written so far is kept."
        )


@contextmanager
def blamed(origin: Origin) -> Iterator[None]:
    """Turns whatever a component raises, psyctl's own errors aside, into an error that names it."""
    try:
        yield
    except PsyctlError:
        raise
    except Exception as error:
        raise origin.fault(error) from error


def blamed_items(origin: Origin, items: Iterable[T]) -> Generator[T, None, None]:
    """Iterate over what a component yields, with :func:`blamed` around each step."""
    with blamed(origin):
        yield from items


def checked_instance(instance: Any, protocol: type[Any], origin: Origin) -> Any:
    """What a factory returned, if it holds to its protocol.

    Raises:
        PluginError: It does not; the message names what it lacks.
    """
    if isinstance(instance, protocol):
        return instance
    members = [name for name in vars(protocol) if not name.startswith("_")]
    lacking = ", ".join(name for name in members if not hasattr(instance, name))
    raise origin.misdeed(
        f"returned a {type(instance).__name__}, which is not {_article(protocol.__name__)}: it lacks {lacking}"
    )


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
