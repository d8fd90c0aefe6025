"""A row's result depends on its own seed and start, whoever sits in the slots beside it."""

import pickle

import numpy as np
import pytest
import torch

from skinvert.inversion.loop import DivergenceError, Problem, optimize
from skinvert.inversion.optimizers import SGD, Adam, AdaMax, Cooldown, Langevin

N_ROWS, N_VALUES = 7, 5


def wavy(params, rows):
    """A bowl with ripples, other ones for each row: rows need different numbers of steps."""
    (x,) = params
    centre = torch.linspace(-1, 1, N_VALUES) + rows[:, None].float()
    bowl = (x - centre).square().sum(1) * (1 + rows)
    return {"bowl": bowl, "ripples": 0.1 * torch.sin(5 * x).sum(1)}


def wavy_problem(first=0, noisy=False):
    """Rows `first`, `first` + 1 …: the row numbers of a request cut out of a longer one."""

    def objective(params, rows, steps, noise):
        values = wavy(params, rows + first)
        if noisy:
            values["noise"] = (params[0] * noise.normal(N_VALUES)).sum(1)
        return values

    return Problem(
        start=lambda row, noise: (noise.normal(N_VALUES),),
        objective=objective,
        render=lambda params: params[0],
    )


SEEDS = [11 * row + 3 for row in range(N_ROWS)]
RULES = {
    "sgd": SGD(0.01),
    "momentum": SGD(0.01, momentum=0.9),
    "nesterov": SGD(0.01, momentum=0.9, nesterov=True),
    "adam": Adam(0.05),
    "adamax": AdaMax(0.05),
    "langevin": Langevin(0.01),
}
REFERENCES = {
    "sgd": lambda x: torch.optim.SGD([x], lr=0.01),
    "momentum": lambda x: torch.optim.SGD([x], lr=0.01, momentum=0.9),
    "nesterov": lambda x: torch.optim.SGD([x], lr=0.01, momentum=0.9, nesterov=True),
    "adam": lambda x: torch.optim.Adam([x], lr=0.05),
    "adamax": lambda x: torch.optim.Adamax([x], lr=0.05),
}


@pytest.mark.parametrize("rule", REFERENCES)
def test_rules_equal_their_namesakes_in_torch(rule):
    # Two slots for seven rows: five of the rows start beside neighbours that are under way.
    result = optimize(wavy_problem(), SEEDS, batch_size=2, n_steps=40, optimizer=RULES[rule])
    for row, seed in enumerate(SEEDS):
        x = torch.randn(1, N_VALUES, generator=torch.Generator().manual_seed(seed))
        x.requires_grad_()
        reference = REFERENCES[rule](x)
        for _ in range(40):
            reference.zero_grad()
            sum(wavy((x,), torch.tensor([row])).values()).sum().backward()
            reference.step()
        np.testing.assert_allclose(result.images[row], x.detach()[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tol", [None, 1e-3])
@pytest.mark.parametrize("rule", RULES)
def test_a_row_beside_others_is_the_row_alone(rule, tol):
    settings = {"batch_size": 3, "n_steps": 60, "optimizer": RULES[rule], "tol": tol}
    together = optimize(wavy_problem(noisy=True), SEEDS, **settings)
    for row, seed in enumerate(SEEDS):
        alone = optimize(wavy_problem(row, noisy=True), [seed], **settings)
        np.testing.assert_array_equal(together.images[row], alone.images[0])
        assert together.n_steps[row] == alone.n_steps[0]
        assert together.status[row] == alone.status[0]
        for name, history in together.history.items():
            np.testing.assert_array_equal(history[row], alone.history[name][0])


def matrix_problem():
    """Rows that go through a matrix product, whose bits may depend on the slot."""
    weight = torch.randn(N_VALUES, 16, generator=torch.Generator().manual_seed(0))

    def objective(params, rows, steps, noise):
        scores = torch.tanh(params[0] @ weight) @ weight.T
        return {"scores": (scores - rows[:, None]).square().sum(1) * 0.01}

    return Problem(
        start=lambda row, noise: (noise.normal(N_VALUES) * (1 + row),),
        objective=objective,
        render=lambda params: params[0],
    )


@pytest.mark.parametrize("tol", [None, 1e-2])
def test_the_first_rows_of_a_request_are_the_request_of_the_first_rows(tol):
    settings = {"batch_size": 3, "n_steps": 50, "optimizer": Adam(0.05), "tol": tol}
    whole = optimize(matrix_problem(), SEEDS, **settings)
    if tol is not None:
        assert len(set(whole.n_steps.tolist())) > 1, "refills at different times are meant"
    for n_rows in range(1, N_ROWS):
        part = optimize(matrix_problem(), SEEDS[:n_rows], **settings)
        np.testing.assert_array_equal(part.images, whole.images[:n_rows])
        np.testing.assert_array_equal(part.n_steps, whole.n_steps[:n_rows])


def test_slots_are_filled_first_in_first_out():
    admitted = []

    def start(row, noise):
        admitted.append(row)
        return (torch.full((1, 1), float(row % 3)),)

    problem = Problem(
        start=start,
        objective=lambda params, rows, steps, noise: {"square": params[0].square().sum(1)},
        render=lambda params: params[0],
    )
    optimize(problem, range(8), batch_size=3, n_steps=30, optimizer=SGD(0.3), tol=1e-4)
    assert admitted == list(range(8))


def test_idle_slots_count_as_work():
    result = optimize(wavy_problem(), SEEDS[:5], batch_size=4, n_steps=10, optimizer=SGD(0.01))
    assert result.n_sample_steps == 2 * 10 * 4
    assert result.n_steps.sum() == 5 * 10


def test_a_converged_row_frees_its_slot():
    fixed = optimize(wavy_problem(), SEEDS, batch_size=2, n_steps=600, optimizer=SGD(0.03))
    early = optimize(
        wavy_problem(), SEEDS, batch_size=2, n_steps=600, optimizer=SGD(0.03), tol=1e-5
    )
    assert (fixed.status == "completed").all()
    assert (fixed.n_steps == 600).all()
    assert (early.status == "converged").all()
    assert (early.n_steps < 600).all()
    # Never idle but at the end: the work is that of the rows, shared by two slots.
    assert early.n_sample_steps < early.n_steps.sum() + 2 * early.n_steps.max()
    # What is left to gain is of the order of tol a step.
    for name in ("bowl", "ripples"):
        np.testing.assert_allclose(early.terms[name], fixed.terms[name], atol=1e-2)


def test_convergence_waits_for_patience():
    # At its minimum from the start, a row has improved once: on the infinity before it.
    still = Problem(
        start=lambda row, noise: (torch.zeros(1, 1),),
        objective=lambda params, rows, steps, noise: {"square": params[0].square().sum(1)},
        render=lambda params: params[0],
    )
    for patience in (1, 4):
        result = optimize(
            still,
            [0],
            batch_size=1,
            n_steps=20,
            optimizer=SGD(0.1),
            tol=0.0,
            patience=patience,
        )
        assert result.n_steps.tolist() == [1 + patience]


def test_history_ends_with_the_row():
    result = optimize(
        wavy_problem(), SEEDS, batch_size=2, n_steps=300, optimizer=SGD(0.02), tol=1e-5
    )
    for name, history in result.history.items():
        assert history.shape == (N_ROWS, 300)
        for row, n_steps in enumerate(result.n_steps):
            assert np.isfinite(history[row, :n_steps]).all()
            assert np.isnan(history[row, n_steps:]).all()
            assert history[row, n_steps - 1] == result.terms[name][row]


def test_no_steps_render_the_start():
    result = optimize(wavy_problem(), SEEDS, batch_size=3, n_steps=0, optimizer=Adam(0.1))
    starts = [
        torch.randn(N_VALUES, generator=torch.Generator().manual_seed(seed)) for seed in SEEDS
    ]
    np.testing.assert_array_equal(result.images, torch.stack(starts))
    assert result.n_sample_steps == 0
    assert (result.n_steps == 0).all()
    assert (result.status == "completed").all()


@pytest.mark.parametrize("tol", [None, 1e-4])
def test_the_callback_hears_of_every_step_once(tol):
    heard = []
    optimize(
        wavy_problem(),
        SEEDS,
        batch_size=2,
        n_steps=200,
        optimizer=SGD(0.02),
        tol=tol,
        callback=heard.append,
    )
    assert sum(heard) == N_ROWS * 200


def test_projection_follows_every_step():
    def project(params):
        params[0].clamp_(0, 0.5)

    problem = wavy_problem()
    problem.project = project
    result = optimize(problem, SEEDS, batch_size=2, n_steps=20, optimizer=SGD(0.05))
    assert result.images.min() >= 0
    assert result.images.max() <= 0.5


def test_parameters_may_be_several_and_some_unused():
    problem = Problem(
        start=lambda row, noise: (torch.ones(1, 2), torch.full((1, 3, 1), 2.0), torch.ones(1)),
        objective=lambda params, rows, steps, noise: {
            "sum": params[0].square().sum(1) + params[1].flatten(1).square().sum(1)
        },
        render=lambda params: torch.cat(
            [params[0], params[1].flatten(1), params[2][:, None]], dim=1
        ),
    )
    result = optimize(problem, [0, 1], batch_size=2, n_steps=3, optimizer=Adam(0.1))
    assert (result.images[:, :5] < [1, 1, 2, 2, 2]).all()
    assert (result.images[:, 5] == 1).all()


def falling_problem(starts):
    """Rows fall by one a step; below zero the root is no number."""
    return Problem(
        start=lambda row, noise: (torch.full((1, 1), starts[row]),),
        objective=lambda params, rows, steps, noise: {
            "height": params[0].sum(1),
            "root": 0 * params[0].detach().sqrt().sum(1),
        },
        render=lambda params: params[0],
    )


def fall(starts, n_steps=5, **settings):
    settings = {"batch_size": 2, "optimizer": SGD(1.0)} | settings
    return optimize(falling_problem(starts), range(len(starts)), n_steps=n_steps, **settings)


def test_a_row_that_diverges_is_taken_back_and_given_up():
    # Above zero it may fall by a tenth of a step, a hundredth, a thousandth: then no more.
    result = fall([9.337, 9.337, 9.337, 1.337, 9.337], n_steps=60, optimizer=SGD(0.5))
    assert result.status.tolist() == ["diverged"] * 5
    patient = fall([9.5, 9.5, 9.5, 1.5, 9.5])
    assert patient.status.tolist() == ["completed"] * 5
    assert patient.diagnostics["n_rollbacks"].tolist() == [0, 0, 0, 1, 0]
    np.testing.assert_allclose(patient.images.ravel(), [4.5, 4.5, 4.5, 0.3, 4.5], atol=1e-6)
    assert (result.diagnostics["n_rollbacks"] == 3).all()
    assert (result.images >= 0).all()
    assert (result.images < 1e-3).all(), "three returns leave steps of a thousandth"
    step, term, row = min(result.divergences)
    assert (step, term, row) == (4, "root", 3)


def test_history_has_holes_where_steps_were_taken_back():
    result = fall([1.5, 9.5])
    assert np.isnan(result.history["root"]).tolist() == [
        [False, False, True, False, False],
        [False] * 5,
    ]
    np.testing.assert_allclose(result.history["height"][0], [1.5, 0.5, np.nan, 0.5, 0.4])


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam", "langevin"])
@pytest.mark.parametrize("spoilt", [0, 3, 6])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_lost_row_changes_no_bit_of_the_others(value, spoilt, rule):
    def problem(is_spoilt):
        whole = matrix_problem()

        def objective(params, rows, steps, noise):
            values = whole.objective(params, rows, steps, noise)
            bad = is_spoilt & (rows == spoilt) & (steps >= 4)
            return {"scores": values["scores"] + torch.where(bad, value, 0.0)}

        return Problem(start=whole.start, objective=objective, render=whole.render)

    settings = {"batch_size": 3, "n_steps": 20, "optimizer": RULES[rule]}
    sound, broken = (optimize(problem(k), SEEDS, **settings) for k in (False, True))
    others = np.arange(N_ROWS) != spoilt
    np.testing.assert_array_equal(broken.images[others], sound.images[others])
    np.testing.assert_array_equal(broken.history["scores"][others], sound.history["scores"][others])
    assert broken.status.tolist() == np.where(others, "completed", "diverged").tolist()
    np.testing.assert_array_equal(
        broken.history["scores"][spoilt, :4], sound.history["scores"][spoilt, :4]
    )
    assert np.isfinite(broken.images).all()


def test_a_gradient_that_is_no_number_is_divergence_too():
    # The root is finite where its slope is not.
    problem = Problem(
        start=lambda row, noise: (torch.full((1, 2), float(row)),),
        objective=lambda params, rows, steps, noise: {"root": params[0].sqrt().sum(1)},
        render=lambda params: params[0],
    )
    result = optimize(problem, range(3), batch_size=3, n_steps=9, optimizer=SGD(1e-3))
    assert result.status.tolist() == ["diverged", "completed", "completed"]
    assert result.images[0].tolist() == [0, 0]
    assert result.divergences == [(9, "gradient", 0)]


def divergence(n_steps=9):
    with pytest.raises(DivergenceError) as caught:
        fall([-1.0, -2.0, -3.0], n_steps)
    return caught.value


@pytest.mark.parametrize("n_steps", [1, 2, 9])
def test_where_nothing_ever_worked_an_error_says_where(n_steps):
    error = divergence(n_steps)
    assert isinstance(error, FloatingPointError)
    assert (error.step, error.term, error.rows) == (1, "root", [0, 1, 2])
    for word in ("'root'", "step 1", "[0, 1, 2]", "learning_rate"):
        assert word in str(error)
    assert error.result.status.tolist() == ["unfinished"] * 3


def test_a_batch_that_never_worked_does_not_wait():
    error = divergence(1000)
    assert error.result.n_sample_steps == 2 * 4 * 2


def test_divergence_survives_a_worker_process():
    error = divergence()
    error.images = np.arange(3)
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error)
    assert (copied.step, copied.term, copied.rows) == (error.step, error.term, error.rows)
    np.testing.assert_array_equal(copied.result.images, error.result.images)
    np.testing.assert_array_equal(copied.images, error.images)


def test_idle_slots_may_diverge_unheard():
    # Row 0 ends at once; its slot idles below zero while row 1 goes on.
    problem = falling_problem([2.5, 2.5, 8.5])
    result = optimize(problem, range(3), batch_size=2, n_steps=3, optimizer=SGD(1.0))
    assert (result.status == "completed").all()
    np.testing.assert_array_equal(result.images.ravel(), [-0.5, -0.5, 5.5])


def test_langevin_steps_have_the_law_of_their_energy():
    mean, variance, rate = 1.5, 0.8, 0.1
    problem = Problem(
        start=lambda row, noise: (torch.zeros(1, 2000),),
        objective=lambda params, rows, steps, noise: {
            "energy": (params[0] - mean).square().sum(1) / (2 * variance)
        },
        render=lambda params: params[0],
    )
    result = optimize(problem, range(8), batch_size=4, n_steps=120, optimizer=Langevin(rate))
    drawn = result.images.astype(np.float64).ravel()
    # The unadjusted chain on a Gaussian is autoregressive: its stationary variance is known.
    stationary = variance / (1 - rate / (2 * variance))
    n = len(drawn)
    assert abs(drawn.mean() - mean) < 4 * np.sqrt(stationary / n)
    assert abs(drawn.var() - stationary) < 4 * stationary * np.sqrt(2 / n)
    centred = (drawn - drawn.mean()) / drawn.std()
    assert abs((centred**3).mean()) < 4 * np.sqrt(6 / n)
    assert abs((centred**4).mean() - 3) < 4 * np.sqrt(24 / n)


def test_langevin_without_noise_is_gradient_descent():
    still = optimize(
        wavy_problem(), SEEDS, batch_size=2, n_steps=20, optimizer=Langevin(0.01, noise_scale=0.0)
    )
    descent = optimize(wavy_problem(), SEEDS, batch_size=2, n_steps=20, optimizer=SGD(0.01))
    np.testing.assert_array_equal(still.images, descent.images)


def test_a_cooling_rate_is_torchs_linear_schedule():
    parameter = torch.nn.Parameter(torch.full((3,), 5.0))
    reference = torch.optim.SGD([parameter], lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(reference, lambda s: min(1, (10 - s) / 4))
    ours = torch.full((2, 3), 5.0)
    rule = SGD(Cooldown(0.1, n_steps=10, share=0.4))
    for step in range(10):
        (parameter**2).sum().backward()
        reference.step()
        reference.zero_grad()
        schedule.step()
        rule.update(ours, 2 * ours, [], rule.factors(torch.full((2,), step + 1)), None)
    torch.testing.assert_close(ours, parameter.detach().expand(2, 3))
