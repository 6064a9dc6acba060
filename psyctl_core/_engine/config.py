"""The whole job as one frozen value: the command line builds it, run.json holds it, and it can be sent elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path

from psyctl_core._caa.contrast import Sampling
from psyctl_core._caa.given import PersonaChoice
from psyctl_core._caa.traits import Trait, parse_traits
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.selection import Selection
from psyctl_core.components import KindName
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.options import settings
from psyctl_core.records import JsonValue, Metadata

CHECKPOINT_INTERVAL = 100
CHECKPOINT_INTERVAL_ENV = "PSYCTL_CHECKPOINT_INTERVAL"


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What to build.

    Attributes:
        personality: One trait or several, comma-separated.
        output: The folder the datasets go to; several traits get a folder each in it.
        components: The components to use, by kind; a kind that is left out takes its default.
        limit_samples: Records wanted in each dataset; ``None`` for all the source gives.
        sampling: How answers are drawn.
        max_cost: US dollars that the run may cost in all, resumes included; ``None`` for any sum.
        checkpoint_interval: Records between two checkpoints; ``None`` reads ``PSYCTL_CHECKPOINT_INTERVAL``
            or takes 100.
        block_size: Requests that a backend with blocks is handed at once; ``None`` goes by its speed.
        judge_backend: Who answers the judge; ``None`` is whoever answers the scenarios.
        max_scenarios: Scenarios that are asked about at most; ``None`` for all that the limit takes.
        gives_up: Whether the run ends where hardly any scenario gives a pair.
        strict: Whether it ends where the first pairs' sides hardly differ.
        personas: Who answers, and what the trait is compared with.
        answers_per_scene: Pairs made of each scenario.
        notes: What pairs' metadata hold besides, by the scenario's id: what a dataset that is judged anew said of
            who answered.
        parent: The run.json of the dataset that is judged anew, or ``None`` where one is made.
    """

    personality: str
    output: Path
    components: Mapping[KindName, Selection]
    limit_samples: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_cost: float | None = None
    checkpoint_interval: int | None = None
    block_size: int | None = None
    judge_backend: Selection | None = None
    max_scenarios: int | None = None
    gives_up: bool = True
    strict: bool = False
    personas: PersonaChoice = field(default_factory=PersonaChoice)
    answers_per_scene: int = 1
    notes: Mapping[str, Metadata] = field(default_factory=dict)
    parent: Mapping[str, JsonValue] | None = None

    def traits(self) -> tuple[Trait, ...]:
        """The traits that are named. Raises UsageError."""
        return parse_traits(self.personality)

    @property
    def kinds(self) -> list[KindName]:
        """The kinds of component that the job uses: all but the optional ones that are left out."""
        return [kind for kind in KINDS if kind in self.components or not KINDS[kind].is_optional]

    def selection(self, kind: KindName) -> Selection:
        """The component of a kind.

        Raises:
            UsageError: None is given, and nothing is guessed for this kind.
        """
        if kind not in self.components and not KINDS[kind].default:
            raise UsageError(f"No {kind} is given.", f"Name one, or pass its config: {KINDS[kind].help.lower()}.")
        return self.components.get(kind) or Selection(KINDS[kind].default)

    def _goes_without_saying(self, kind: KindName) -> bool:
        """Whether it decides nothing, and is what is used where nothing is said."""
        return not KINDS[kind].decides and self.selection(kind).name.rpartition(":")[2] == KINDS[kind].default

    def interval(self) -> int:
        """Records between two checkpoints. Raises UsageError."""
        text = os.environ.get(CHECKPOINT_INTERVAL_ENV, "").strip()
        if self.checkpoint_interval is None and not text:
            return CHECKPOINT_INTERVAL
        try:
            number = int(text) if self.checkpoint_interval is None else self.checkpoint_interval
        except ValueError:
            number = 0
        if number < 1:
            given = text if self.checkpoint_interval is None else self.checkpoint_interval
            raise UsageError(
                f"The checkpoint interval {given!r} is not a whole number above 0.",
                f"Set {CHECKPOINT_INTERVAL_ENV} or --checkpoint-interval to one, such as {CHECKPOINT_INTERVAL}.",
            )
        return number

    def check(self) -> None:
        """See that the numbers make sense, and that all texts can be written down.

        Raises:
            UsageError: One does not.
        """
        limit, sampling = self.limit_samples, self.sampling
        if not str(self.output).strip() or str(self.output) == ".":
            raise UsageError("The output names no folder of its own.", "Give --output a folder, such as ./dataset.")
        self._check_texts()
        if limit is not None and limit < 1:
            raise UsageError(
                f"The limit of {counted(limit, 'sample')} leaves nothing to do.", "Give --limit-samples 1 or more."
            )
        if sampling.max_tokens < 1:
            raise UsageError(
                f"{counted(sampling.max_tokens, 'new token')} leave no room for an answer.",
                "Give --max-tokens 1 or more.",
            )
        if not 0 <= sampling.temperature <= 2:
            raise UsageError(
                f"The temperature {sampling.temperature} is out of range.", "Give --temperature from 0 to 2."
            )
        if self.max_cost is not None and not self.max_cost > 0:
            raise UsageError(f"A budget of ${self.max_cost:g} pays for nothing.", "Give --max-cost above 0.")
        if self.block_size is not None and self.block_size < 1:
            raise UsageError(
                f"A block of {counted(self.block_size, 'request')} is empty.", "Give --block-size 1 or more."
            )
        if self.max_scenarios is not None and self.max_scenarios < 1:
            raise UsageError(
                f"{counted(self.max_scenarios, 'scenario')} leave nothing to ask.", "Give --max-scenarios 1 or more."
            )
        if self.judge_backend is not None and "judge" not in self.components:
            raise UsageError("A backend is given for a judge, and no judge.", "Add --judge NAME, such as rubric.")
        self.interval()

    def _check_texts(self) -> None:
        """See that no text holds bytes that are no UTF-8, as a file's name may: a run written down differs from it."""
        text = json.dumps([str(self.output), self.as_json()], ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"What is given is not UTF-8: …{text[max(0, error.start - 30) : error.end + 10]}…",
                "Type it in UTF-8; a file or folder with such a name must be renamed.",
            ) from error

    def check_repeats(self, pairs: int) -> None:
        """See that several answers to one scene can differ.

        Args:
            pairs: How many pairs of personas there are to answer.

        Raises:
            UsageError: They cannot.
        """
        if self.answers_per_scene < 1:
            raise UsageError(
                f"{counted(self.answers_per_scene, 'answer')} a scene leave nothing to do.",
                "Give --answers-per-scene 1 or more.",
            )
        if self.answers_per_scene > pairs and not self.sampling.temperature:
            who = counted(pairs, "persona")
            raise UsageError(
                f"{counted(self.answers_per_scene, 'answer')} a scene at temperature 0 by {who} a side "
                "would be the same again.",
                f"Give --temperature 0.7, or --personas {self.answers_per_scene}.",
            )

    def as_json(self) -> dict[str, JsonValue]:
        """The job as JSON values: options under their names, components with their options, no secrets."""
        row: dict[str, JsonValue] = {
            "personality": self.personality,
            "limit_samples": self.limit_samples,
            **asdict(self.sampling),
            "max_cost": self.max_cost,
            "checkpoint_interval": self.checkpoint_interval,
            "block_size": self.block_size,
            **({"max_scenarios": self.max_scenarios} if self.max_scenarios else {}),
            **({"strict": True} if self.strict else {}),
            **{kind: _as_json(self.selection(kind)) for kind in self.kinds if not self._goes_without_saying(kind)},
        }
        if self.judge_backend is not None:
            row["judge_backend"] = _as_json(self.judge_backend)
        if personas := self.personas.as_json():
            row["personas"] = personas
        if self.answers_per_scene != 1:
            row["answers_per_scene"] = self.answers_per_scene
        return row


def _as_json(selection: Selection) -> JsonValue:
    config = selection.config  # what is no config of a component's is refused by name when it is resolved
    options = settings(config) if is_dataclass(config) else {}
    return {"component": selection.name, "settings": options}
