"""The two backends: what to send to OpenRouter or to another server, and what to check before."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from psyctl_core.budget import Budget
from psyctl_core.components import BackendState, Context, Estimate, Identity, InferenceBackend, RunFolder
from psyctl_core.errors import BackendError, UsageError
from psyctl_core.records import ChatRequest, Completion
from psyctl_openrouter import OpenAIConfig, OpenRouterConfig, models
from psyctl_openrouter.adapting import Adapter, Dialect
from psyctl_openrouter.addresses import addresses_of
from psyctl_openrouter.batch_apis import BatchApi, OpenAIBatches, OpenRouterBatches
from psyctl_openrouter.batch_sending import Batching
from psyctl_openrouter.batch_waiting import Patience
from psyctl_openrouter.batches import SHARE, SMALL, Batches
from psyctl_openrouter.client import Client, Reply
from psyctl_openrouter.flow import Flow, Timing
from psyctl_openrouter.money import Spending, prices_of, prompt_tokens
from psyctl_openrouter.outcome import Outcome, Service
from psyctl_openrouter.payload import chat_body, encoded, token_limit
from psyctl_openrouter.refusals import words_of
from psyctl_openrouter.replies import parsed, sort_reply
from psyctl_openrouter.retrying import RetryPolicy
from psyctl_openrouter.routing import FLEX_SHARE, THINKING_TOKENS, check_reasoning, fields_of, session_of
from psyctl_openrouter.servers import Server
from psyctl_openrouter.settings import address_of, check, key_of, warn_of_open_key
from psyctl_openrouter.several import Agreed, Endpoint, agree, look
from psyctl_openrouter.words import Problem, error_of

log = logging.getLogger("psyctl")


class _HttpBackend(InferenceBackend):
    """What both backends share: connections to each server, and one flow.

    Args:
        config: The backend's config.
        services: Who is asked: one, or several with the same model.
        policy: How patient to be.
        spending: What may be spent.
        extra: Further fields of each request's body.
        when_begun: Further fields where the answer is begun for the model.
        when_chosen: Further fields where the answer is one of some choices.
        session: What the calls are grouped under, or ``""``.
    """

    def __init__(
        self,
        config: OpenRouterConfig | OpenAIConfig,
        services: Sequence[Service],
        policy: RetryPolicy,
        spending: Spending,
        extra: Mapping[str, Any],
        *,
        when_begun: Mapping[str, Any] | None = None,
        when_chosen: Mapping[str, Any] | None = None,
        session: str = "",
    ) -> None:
        self._policy = policy
        self._prefill = config.prefill == "on"
        self._extra = extra
        self._when_begun = when_begun or {}
        self._when_chosen = when_chosen or {}
        self._endpoints: list[Endpoint] = []
        for service in services:
            client = Client(
                service.base_url, service.key, connections=config.max_workers, timeout=config.timeout, session=session
            )
            self._endpoints.append(Endpoint(client, replace(service, proxy=client.proxy)))
        self._adapter = Adapter(self._service if len(services) == 1 else replace(self._service, name="A server"))
        warn_of_open_key(services)
        self._servers = [
            Server(partial(self._exchange, endpoint), config.max_workers, endpoint.service.base_url)
            for endpoint in self._endpoints
        ]
        one = self._service.name.replace("The ", "the ")
        self._flow = Flow(
            self._servers,
            abort=self._abort,
            policy=policy,
            spending=spending,
            name=one if len(services) == 1 else "every server",
        )
        self._api: BatchApi = self._batch_api(self._endpoints[0])
        self._batches = Batches(
            self._api,
            self._flow,
            Batching(config.batch, config.batch_size, config.batch_poll, config.batch_orphan.strip()),
            Patience(lambda: self._service, policy, config.batch_poll, Timing()),
            body=self._batch_body,
            limit=lambda request: token_limit(request, self._extra),
            service=lambda: self._service,
            spending=spending,
        )

    def _batch_api(self, endpoint: Endpoint) -> BatchApi:
        """How its server takes batches."""
        raise NotImplementedError

    @property
    def _service(self) -> Service:
        return self._endpoints[0].service

    @property
    def _client(self) -> Client:
        return self._endpoints[0].client

    def _abort(self) -> None:
        for endpoint in self._endpoints:
            endpoint.client.abort()

    def generate(self, requests: Iterable[ChatRequest]) -> Iterator[Completion]:
        """Answer the requests through as many workers as allowed, in the order in which answers come.

        Raises:
            BackendError: The server refuses everything, is down, or the budget is reached; whatever was
                answered has been yielded before.
        """
        return self._batches.run(requests)

    def use(self, folder: RunFolder) -> None:
        """Keep there what is asked in batches, for the next process of the run."""
        self._batches.use(folder)

    def close(self) -> None:
        """End the threads and close the connections."""
        self._flow.close()
        self._batches.close()
        for endpoint in self._endpoints:
            endpoint.client.close()
        if len(self._servers) > 1 and any(server.answered for server in self._servers):
            log.info("answered by %s", ", ".join(f"{server.name}: {server.answered}" for server in self._servers))

    def stop(self) -> None:
        """Ask nothing more; what is under way is still answered, batches aside. A signal handler may call it."""
        self._flow.drain()
        self._batches.drain()

    def state(self) -> BackendState:
        """What is waited for, and how often something was asked again."""
        return self._batches.state()

    def adaptations(self) -> tuple[str, ...]:
        """What the server was found not to take and is asked without, in words, for the run's settings."""
        return tuple(self._adapter.notes)

    def _exchange(self, endpoint: Endpoint, request: ChatRequest) -> Outcome:
        """Ask once, and again where the server refuses a field that can be left out; runs in a worker thread."""
        service = endpoint.service
        while True:
            dialect = self._adapter.dialect
            body = self._body(request, service, dialect)
            reply = endpoint.client.chat(encoded(body))
            limit = token_limit(request, self._extra) if dialect.limit in body else None
            outcome = sort_reply(reply, service, limit)
            if not self._has_learnt(reply, outcome, body, dialect, service):
                return outcome

    def _body(self, request: ChatRequest, service: Service, dialect: Dialect) -> dict[str, Any]:
        return chat_body(
            request,
            model=service.model,
            prefill=self._prefill,
            extra=self._extra,
            when_begun=self._when_begun,
            when_chosen=self._when_chosen,
            dialect=dialect,
        )

    def _batch_body(self, request: ChatRequest) -> bytes:
        """The body of a request in a batch: as by itself, as far as is known what the server takes."""
        body = self._body(request, self._service, self._adapter.dialect)
        if not self._api.has_model_in_body:
            del body["model"]
        return encoded(body)

    def _has_learnt(
        self, reply: Reply, outcome: Outcome, body: Mapping[str, Any], dialect: Dialect, service: Service
    ) -> bool:
        """Whether a refusal told what to leave out, so that it is worth asking again."""
        is_picky = outcome.kind == "fatal" and reply.status == 404 and "logprobs" in body and bool(self._when_chosen)
        refused = outcome.kind == "refused" and reply.status >= 400
        if not (is_picky or refused or (outcome.kind == "retry" and reply.status in (500, 501) and outcome.detail)):
            return False
        problem = error_of(parsed(reply.body)) or Problem()
        said = words_of(reply, problem, service)
        if is_picky:
            return self._adapter.be_less_picky(said, dialect)
        begun = body["messages"][-1]["role"] == "assistant"
        return self._adapter.learn(said, problem.fields, dialect, tuple(body), begun=begun)


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
            is_router=config.model.strip().startswith("openrouter/"),
        )
        if not service.model:
            raise UsageError(
                "No OpenRouter model is named.", "Give --openrouter-model, or leave it out for the default."
            )
        if config.batch and config.service_tier != "default":
            raise UsageError(
                "A batch has its own price: the flex tier is another way to half of it.",
                "Give either --openrouter-batch or --openrouter-service-tier flex.",
            )
        self.max_cost = config.max_cost
        self._batched = config.batch
        self._spending = Spending()
        self._spending.thinking = THINKING_TOKENS[config.reasoning]
        self._tier = config.service_tier
        self._told_tier = threading.Lock()
        fields = fields_of(config)
        provider = fields.get("provider", {})
        # Many providers tell no probabilities, and would leave the field out in silence.
        picky = {} if config.require_parameters else {"provider": {**provider, "require_parameters": True}}
        super().__init__(
            config,
            [service],
            policy or _policy(config),
            self._spending,
            fields,
            when_chosen=picky,
            session=session_of(config.session_id) or f"psyctl-{uuid.uuid4().hex}",
        )

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """What so many requests would take at the model's listed prices, with answers of full length.

        Asks ``GET /models``, which needs no key; ``None`` where that or the price cannot be had.

        Raises:
            BackendError: There is no such model, or it cannot reason as asked.
        """
        try:
            listed = models.list_models(self._client, self._service, self._policy, authorized=False)
        except BackendError as error:
            log.warning("No estimate: %s", error.message)
            return None
        model = self._found(listed)
        prices = prices_of(model)
        if prices is None:
            log.warning("No estimate: the price of %s is not listed.", self._service.model)
            return None
        read, made = prompt_tokens(example), example.max_tokens + self._spending.thinking
        cost = prices.cost(read, made) * requests
        if self._tier == "flex":
            log.warning(
                "The cost counts on half the listed price, for the flex tier; what is served without it costs the "
                "listed one, $%.4f for all.",
                cost,
            )
            cost *= FLEX_SHARE
        if self._batched and requests >= SMALL:
            log.warning(
                "The cost counts on half the listed price, for batches, which may take up to 24 h; asked one by one "
                "all would cost $%.4f.",
                cost,
            )
            return Estimate(read * requests, made * requests, SHARE * cost, f"half of {prices}, up to 24 h a batch")
        return Estimate(read * requests, made * requests, cost, str(prices))

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
            self._spending.prices = prices_of(self._found(listed))
        except (
            models.UnreadableError,
            models.RefusedError,
            models.SilentError,
        ) as error:  # the model is named, so that it can be asked without
            log.warning("%s", error.message)
        if self._service.is_router:
            log.warning(
                "%s is no model: OpenRouter chooses one for each request, and the dataset mixes them.",
                self._service.model,
            )
        self._spending.budget = budget
        self._batches.start()
        if budget.is_spent and not self._batches.has_answers:
            raise self._spending.refusal()
        if budget.limit is not None and self._spending.prices is None:
            log.warning(
                "The price of %s is not known: until a call tells what it cost, requests go out one at a time, and the "
                "first may cost more than the budget of $%g.",
                self._service.model,
                budget.limit,
            )

    def _batch_api(self, endpoint: Endpoint) -> BatchApi:
        return OpenRouterBatches(endpoint)

    def _found(self, listed: models.Models) -> Mapping[str, Any]:
        """The model as it is listed; notes what else it is called. Raises BackendError."""
        model = models.find_model(listed, self._service)
        check_reasoning(model, self._service)
        canonical = model.get("canonical_slug")
        self._endpoints[0].service = replace(
            self._service,
            canonical=canonical if isinstance(canonical, str) else "",
            is_router=models.is_router(model, self._service.model),
        )
        return model

    def _exchange(self, endpoint: Endpoint, request: ChatRequest) -> Outcome:
        outcome = super()._exchange(endpoint, request)
        if self._tier == "flex" and outcome.tier not in ("", "flex") and self._told_tier.acquire(blocking=False):
            log.warning("OpenRouter served the tier '%s' instead of flex, at that tier's price.", outcome.tier)
        return outcome


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
        addresses = addresses_of(config.base_url, config.api_key, "--openai")
        services = [
            Service(
                name="The server" if len(addresses) == 1 else f"The server {address}",
                flag="--openai",
                base_url=address,
                model=config.model.strip(),
                key=key,
                priced=False,
                reasoning=config.reasoning,
            )
            for address, key in addresses
        ]
        if config.batch and len(addresses) > 1:
            raise UsageError(
                f"A batch goes to one server, and --openai-base-url names {len(addresses)}.",
                "Give one address, or leave --openai-batch out.",
            )
        self._batched = config.batch
        self._agreed: Agreed | None = None
        # vLLM's way to have a last assistant message continued instead of answered.
        when_begun = {"add_generation_prompt": False, "continue_final_message": True}
        super().__init__(
            config,
            services,
            policy or _policy(config),
            Spending(),
            _thinking(config.reasoning),
            when_begun=when_begun,
        )

    def identity(self) -> Identity:
        """The model, which the server names where the settings do not.

        Raises:
            BackendError: The server is needed for that and cannot be asked, or has several; or several servers
                have different ones.
        """
        if not self._service.model and len(self._endpoints) > 1:
            self._agree()
        elif not self._service.model:
            listed = models.list_models(self._client, self._service, self._policy, authorized=True)
            self._use(models.only_model(listed, self._service))
        return {"model": self._service.model}

    def _batch_api(self, endpoint: Endpoint) -> BatchApi:
        return OpenAIBatches(endpoint)

    def _use(self, model: str) -> None:
        for endpoint in self._endpoints:
            endpoint.service = replace(endpoint.service, model=model)

    def _agree(self) -> None:
        """See once that all servers have the same model, and do without those that are not there."""
        if self._agreed is not None:
            return
        agreed = self._agreed = agree(self._endpoints, self._service.model, self._policy)
        self._use(agreed.model)
        for place, (endpoint, server) in enumerate(zip(self._endpoints, self._servers, strict=True)):
            server.look = partial(look, endpoint, place, agreed, self._policy)
        for place, why in agreed.absent.items():
            self._flow.take_out(self._servers[place], why)

    def estimate(self, example: ChatRequest, requests: int) -> Estimate | None:
        """About how many tokens so many requests have; a server of one's own asks no price."""
        made = token_limit(example, self._extra)
        if self._batched and requests >= SMALL:
            log.warning("In batches an answer costs half where the server has them, and may take up to 24 h.")
        return Estimate(prompt_tokens(example) * requests, made * requests, None)

    def start(self, budget: Budget) -> None:
        """See that the server is there and which model it has.

        A model that was named is not looked for: some servers answer to names they do not list, and others have
        no list that can be read, or none for this key.

        Raises:
            BackendError: The server cannot be reached, or the model is not clear; of several servers, none can be
                reached, or they have different models.
        """
        if len(self._endpoints) > 1:
            self._agree()
        elif self._service.model:
            models.see_that_it_answers(self._client, self._service, self._policy)
        self.identity()
        self._batches.start()
        if budget.limit is not None:
            log.warning("%s tells no prices: the budget of $%g cannot be kept.", self._service.name, budget.limit)


def _policy(config: OpenRouterConfig | OpenAIConfig) -> RetryPolicy:
    return RetryPolicy(retries=config.retries, outage_timeout=config.patience)


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
