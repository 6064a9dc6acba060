"""The two backends: what to send to OpenRouter or to another server, and what to check before."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from psyctl_core.budget import Budget
from psyctl_core.components import Context, Estimate, Identity, InferenceBackend
from psyctl_core.errors import BackendError, UsageError
from psyctl_core.records import ChatRequest, Completion
from psyctl_openrouter import OpenAIConfig, OpenRouterConfig, models
from psyctl_openrouter.adapting import Adapter
from psyctl_openrouter.client import Client
from psyctl_openrouter.flow import Flow
from psyctl_openrouter.money import Spending, prices_of, prompt_tokens
from psyctl_openrouter.outcome import Outcome, Service
from psyctl_openrouter.payload import chat_body, encoded, token_limit
from psyctl_openrouter.refusals import words_of
from psyctl_openrouter.replies import parsed, sort_reply
from psyctl_openrouter.retrying import RetryPolicy
from psyctl_openrouter.settings import address_of, check, key_of, names, warn_of_open_key
from psyctl_openrouter.words import Problem, error_of

log = logging.getLogger("psyctl")

THINKING_TOKENS: Mapping[str, int] = {"none": 0, "low": 1024, "medium": 4096, "high": 8192}
"""Tokens allowed for thinking beyond the answer's own, which are too few for any thought."""


class _HttpBackend(InferenceBackend):
    """What both backends share: one client and one flow.

    Args:
        config: The backend's config.
        service: Who is asked.
        policy: How patient to be.
        spending: What may be spent.
        extra: Further fields of each request's body.
        when_begun: Further fields where the answer is begun for the model.
    """

    def __init__(
        self,
        config: OpenRouterConfig | OpenAIConfig,
        service: Service,
        policy: RetryPolicy,
        spending: Spending,
        extra: Mapping[str, Any],
        when_begun: Mapping[str, Any],
    ) -> None:
        self._policy = policy
        self._prefill = config.prefill == "on"
        self._extra = extra
        self._when_begun = when_begun
        self._client = Client(service.base_url, service.key, connections=config.max_workers, timeout=config.timeout)
        self._service = replace(service, proxy=self._client.proxy)
        self._adapter = Adapter(self._service)
        warn_of_open_key(service)
        self._flow = Flow(
            self._exchange,
            abort=self._client.abort,
            workers=config.max_workers,
            policy=policy,
            spending=spending,
            name=service.name.replace("The ", "the "),
        )

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer the requests through as many workers as allowed, in the order in which answers come.

        Raises:
            BackendError: The server refuses everything, is down, or the budget is reached; whatever was
                answered has been yielded before.
        """
        return self._flow.run(requests)

    def close(self) -> None:
        """End the threads and close the connections."""
        self._flow.close()
        self._client.close()

    def stop(self) -> None:
        """Ask nothing more; what is under way is still answered. May be called from a signal handler."""
        self._flow.drain()

    def adaptations(self) -> tuple[str, ...]:
        """What the server was found not to take and is asked without, in words, for the run's settings."""
        return tuple(self._adapter.notes)

    def _exchange(self, request: ChatRequest) -> Outcome:
        """Ask once, and again where the server refuses a field that can be left out; runs in a worker thread."""
        while True:
            dialect = self._adapter.dialect
            body = chat_body(
                request,
                model=self._service.model,
                prefill=self._prefill,
                extra=self._extra,
                when_begun=self._when_begun,
                dialect=dialect,
            )
            reply = self._client.chat(encoded(body))
            limit = token_limit(request, self._extra) if dialect.limit in body else None
            outcome = sort_reply(reply, self._service, limit)
            refused = outcome.kind == "refused" and reply.status >= 400
            if not (refused or (outcome.kind == "retry" and reply.status in (500, 501) and outcome.detail)):
                return outcome
            problem = error_of(parsed(reply.body)) or Problem()
            said = words_of(reply, problem, self._service)
            begun = body["messages"][-1]["role"] == "assistant"
            if not self._adapter.learn(said, problem.fields, dialect, tuple(body), begun=begun):
                return outcome


class OpenRouterBackend(_HttpBackend):
    """Answers through openrouter.ai.

    Args:
        config: Its settings.
        context: Not needed: each request brings its own seed.
        policy: Other waiting times than the settings give, for tests.
    """

    def __init__(self, config: OpenRouterConfig, context: Context, policy: RetryPolicy | None = None) -> None:
        del context
        check(config, "--openrouter")
        if config.max_cost is not None and not config.max_cost > 0:
            raise UsageError(
                f"A budget of ${config.max_cost:g} pays for nothing.", "Give --openrouter-max-cost above 0."
            )
        service = Service(
            name="OpenRouter",
            flag="--openrouter",
            base_url=address_of(config.base_url, "--openrouter"),
            model=config.model.strip(),
            key=key_of(config.api_key, "OpenRouter"),
            priced=True,
            reasoning=config.reasoning,
        )
        if not service.model:
            raise UsageError(
                "No OpenRouter model is named.", "Give --openrouter-model, or leave it out for the default."
            )
        self.max_cost = config.max_cost
        self._spending = Spending()
        self._spending.thinking = THINKING_TOKENS[config.reasoning]
        super().__init__(config, service, policy or _policy(config), self._spending, _routing(config), {})

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """What so many requests would take at the model's listed prices, with answers of full length.

        Asks ``GET /models``, which needs no key; ``None`` where that or the price cannot be had.

        Raises:
            BackendError: There is no such model.
        """
        try:
            listed = models.list_models(self._client, self._service, self._policy, authorized=False)
        except BackendError as error:
            log.warning("No estimate: %s", error.message)
            return None
        prices = prices_of(models.find_model(listed, self._service))
        if prices is None:
            log.warning("No estimate: the price of %s is not listed.", self._service.model)
            return None
        read, made = prompt_tokens(example), example.max_tokens + self._spending.thinking
        return Estimate(read * requests, made * requests, prices.cost(read, made) * requests)

    def start(self, budget: Budget) -> None:
        """Check the key, what it may still spend, and the model.

        Raises:
            UsageError: No key was given.
            BackendError: Something is wrong with them, or the budget is spent.
        """
        if not self._service.key:
            raise UsageError(
                "No OpenRouter key was given.",
                "Set OPENROUTER_API_KEY or give --openrouter-api-key; keys are made at https://openrouter.ai/settings/keys.",
            )
        models.check_key(self._client, self._service, self._policy)
        try:
            listed = models.list_models(self._client, self._service, self._policy, authorized=False)
            self._spending.prices = prices_of(models.find_model(listed, self._service))
        except (
            models.UnreadableError,
            models.RefusedError,
            models.SilentError,
        ) as error:  # the model is named, so that it can be asked without
            log.warning("%s", error.message)
        self._spending.budget = budget
        if budget.is_spent:
            raise self._spending.refusal()
        if budget.limit is not None and self._spending.prices is None:
            log.warning(
                "The price of %s is not known: until a call tells what it cost, requests go out one at a time, and the "
                "first may cost more than the budget of $%g.",
                self._service.model,
                budget.limit,
            )


class OpenAIBackend(_HttpBackend):
    """Answers through any server that speaks ``/v1/chat/completions``.

    Args:
        config: Its settings.
        context: Not needed: each request brings its own seed.
        policy: Other waiting times than the settings give, for tests.
    """

    def __init__(self, config: OpenAIConfig, context: Context, policy: RetryPolicy | None = None) -> None:
        del context
        check(config, "--openai")
        service = Service(
            name="The server",
            flag="--openai",
            base_url=address_of(config.base_url, "--openai"),
            model=config.model.strip(),
            key=key_of(config.api_key, "server"),
            priced=False,
            reasoning=config.reasoning,
        )
        # vLLM's way to have a last assistant message continued instead of answered.
        when_begun = {"add_generation_prompt": False, "continue_final_message": True}
        extra = _thinking(config.reasoning)
        super().__init__(config, service, policy or _policy(config), Spending(), extra, when_begun)

    def identity(self) -> Identity:
        """The model, which the server names where the settings do not.

        Raises:
            BackendError: The server is needed for that and cannot be asked, or has several.
        """
        if not self._service.model:
            listed = models.list_models(self._client, self._service, self._policy, authorized=True)
            self._service = replace(self._service, model=models.only_model(listed, self._service))
        return {"model": self._service.model}

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """About how many tokens so many requests have; a server of one's own asks no price."""
        made = token_limit(example, self._extra)
        return Estimate(prompt_tokens(example) * requests, made * requests, None)

    def start(self, budget: Budget) -> None:
        """See that the server is there and which model it has.

        A model that was named is not looked for: some servers answer to names they do not list, and others have
        no list that can be read, or none for this key.

        Raises:
            BackendError: The server cannot be reached, or the model is not clear.
        """
        if self._service.model:
            models.see_that_it_answers(self._client, self._service, self._policy)
        self.identity()
        if budget.limit is not None:
            log.warning("%s tells no prices: the budget of $%g cannot be kept.", self._service.name, budget.limit)


def _policy(config: OpenRouterConfig | OpenAIConfig) -> RetryPolicy:
    return RetryPolicy(retries=config.retries, outage_timeout=config.patience)


def _routing(config: OpenRouterConfig) -> dict[str, Any]:
    """The fields ``provider`` and ``reasoning`` (OpenRouter: "Provider Routing", "Reasoning Tokens")."""
    provider: dict[str, Any] = {}
    if order := names(config.provider):
        provider["order"] = order
    if not config.allow_fallbacks:
        provider["allow_fallbacks"] = False
    if quantizations := names(config.quantizations):
        provider["quantizations"] = quantizations
    if config.data_collection == "deny":
        provider["data_collection"] = "deny"
    thinking = {"enabled": False} if config.reasoning == "none" else {"effort": config.reasoning}
    fields = {"reasoning": thinking, "max_tokens": THINKING_TOKENS[config.reasoning]}
    return {**fields, "provider": provider} if provider else fields


def _thinking(reasoning: str) -> dict[str, Any]:
    """The fields with which servers are told how much to think, as far as each knows them.

    ``reasoning_effort`` is OpenAI's (API reference, "Create chat completion"), which Ollama takes too;
    ``chat_template_kwargs`` is what vLLM, SGLang and llama.cpp hand to the model's chat template, where Qwen's
    switch is called ``enable_thinking`` and DeepSeek's and Granite's ``thinking``.
    """
    if reasoning == "default":
        return {}
    thinks = reasoning != "none"
    return {
        "reasoning_effort": reasoning,
        "chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks},
        "max_tokens": THINKING_TOKENS[reasoning],
    }
