"""jaxcert as a contender, used as its README says: jit of map_examples, mean_gradient or a training step."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxcert as jc
from benchmarks import jaxcert_autoattack
from benchmarks import work as works
from benchmarks.compilations import counted
from benchmarks.contender import Prepared
from benchmarks.jaxcert_weights import flat, model, variables
from benchmarks.work import Work
from jaxcert.losses import worst_case_cross_entropy
from jaxcert.train import Adversarial, CrownIbp, Ibp, Objective, Recipe, Threat, TrainState, make_step
from jaxcert.train.schedules import constant

METHODS: Mapping[str, Callable[[], Any]] = {
    "ibp": jc.ibp,
    "crown-ibp": jc.crown_ibp,
    "crown": jc.crown,
    "fast-lin": jc.fast_lin,
    "alpha-crown": lambda: jc.alpha_crown(steps=works.ALPHA_STEPS),
}
OBJECTIVES: Mapping[str, Objective] = {
    "train-ibp": Ibp(Threat()),
    "train-crown-ibp": CrownIbp(Threat()),
    "train-pgd": Adversarial(jc.pgd(steps=works.TRAIN_PGD_STEPS, keep_best=False), Threat()),
}


class Jaxcert:
    """See `benchmarks.contender.Contender`."""

    name = "jaxcert"

    def version(self) -> str:
        return f"jaxcert {jc.__version__}, jax {jax.__version__}"

    def refuses(self, work: Work) -> str | None:
        return None

    def prepare(
        self, work: Work, weights: Sequence[np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> Prepared:
        params, xs, ys = variables(work.network, weights), jnp.asarray(images), jnp.asarray(labels)
        if work.operation == "autoattack":
            return jaxcert_autoattack.prepared(work, params, images, labels)
        if work.operation in OBJECTIVES:
            return _training(work, params, xs, ys)
        if work.operation == "forward":
            apply = model(work.network).apply
            return _prepared(jax.jit(apply), (params, xs), np.asarray)
        eps = jnp.asarray(work.eps, xs.dtype)
        if work.operation == "pgd":
            keys = jax.random.split(jax.random.key(0), work.batch)
            return _prepared(jax.jit(attack(work)), (params, xs, eps, ys, keys), np.asarray)
        if work.operation.endswith("-grad"):
            return _prepared(
                jax.jit(gradient(work)), (params, xs, eps, ys), lambda tree: flat(work.network, tree)
            )
        return _prepared(jax.jit(bounds(work)), (params, xs, eps, ys), np.asarray)


def bounds(work: Work) -> Callable[..., jax.Array]:
    """(variables, images, eps, labels) -> margins [B, K-1]."""
    one = certify(work)
    return lambda variables, xs, eps, ys: jc.map_examples(lambda x, y: one(variables, x, eps, y), xs, ys)


def certify(work: Work) -> Callable[..., jax.Array]:
    """(variables, image, eps, label) -> margins [K-1]."""
    net, method = model(work.network), METHODS[work.base]()

    def one(variables, x, eps, label):
        return jc.margins(method, lambda x: net.apply(variables, x), jc.linf_ball(x, eps), label)

    return one


def gradient(work: Work) -> Callable[..., Any]:
    """(variables, images, eps, labels) -> gradient of the mean worst-case loss, like the parameters."""
    one = certify(work)

    def of(variables, xs, eps, ys):
        rest = {name: value for name, value in variables.items() if name != "params"}

        def loss(params, x, y):
            return worst_case_cross_entropy(one({"params": params, **rest}, x, eps, y)), ()

        return jc.mean_gradient(loss, variables["params"], xs, ys)[1]

    return of


def attack(work: Work) -> Callable[..., jax.Array]:
    """(variables, images, eps, labels, keys) -> [share of successes, mean margin]."""
    net, pgd = model(work.network), jc.pgd(steps=works.PGD_STEPS, keep_best=False)

    def one(variables, x, eps, label, key):
        fn = lambda x: net.apply(variables, x)
        found = pgd(fn, jc.linf_ball(x, eps, clip=(0.0, 1.0)), label, key=key)
        return jnp.stack([found.success.astype(x.dtype), found.margin])

    mapped = jax.vmap(one, in_axes=(None, 0, None, 0, 0))
    return lambda *arguments: jnp.mean(mapped(*arguments), axis=0)


def training(work: Work) -> tuple[Callable[..., Any], optax.GradientTransformation]:
    """The step of (state, images, labels), and its optimiser."""
    optimizer = optax.adam(works.LEARNING_RATE)
    recipe = Recipe(
        OBJECTIVES[work.operation],
        eps=constant(work.eps),
        kappa=constant(works.KAPPA),
        beta=constant(works.BETA),
        learning_rate=constant(works.LEARNING_RATE),
    )
    return make_step(model(work.network), recipe, optimizer), optimizer


def initial(variables: Mapping[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    rest = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, rest, optimizer.init(params), jax.random.key(0))


def _training(work: Work, variables: Mapping[str, Any], xs: jax.Array, ys: jax.Array) -> Prepared:
    step, optimizer = training(work)
    state = initial(variables, optimizer)
    jitted = jax.jit(step, donate_argnums=0)
    facts = _compiled(jitted, (state, xs, ys))

    def call() -> Any:
        nonlocal state
        state, metrics = jax.block_until_ready(jitted(state, xs, ys))
        return metrics

    values = lambda metrics: np.array([float(metrics["loss"]), float(metrics["gradient_norm"])])
    return Prepared(call, values, **facts)


def _prepared(jitted: Any, arguments: tuple[Any, ...], values: Callable[[Any], np.ndarray]) -> Prepared:
    facts = _compiled(jitted, arguments)
    return Prepared(lambda: jax.block_until_ready(jitted(*arguments)), values, **facts)


def _compiled(jitted: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Traces and compiles, and says what that took and what XLA says of the program."""
    start = time.perf_counter()
    lowered = jitted.lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    done = time.perf_counter()
    memory, cost = program.memory_analysis(), program.cost_analysis() or {}
    return {
        "trace_s": traced - start,
        "compile_s": done - traced,
        "temp_bytes": None if memory is None else int(memory.temp_size_in_bytes),
        "flops": cost.get("flops"),
        "compilations": counted,
        "program": program.as_text,
    }


CONTENDER = Jaxcert()
