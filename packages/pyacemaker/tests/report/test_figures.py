import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from pyacemaker.report import (
    CheckEntry,
    CycleRow,
    LabelRow,
    MDTrace,
    ParitySet,
    ReportData,
    figures,
    properties,
)
from pyacemaker.report.elasticity import elastic_tables
from pyacemaker.report.panels import by_temperature, panels


def test_every_axis_of_every_figure_has_a_title(campaign: ReportData) -> None:
    made = panels(campaign)
    assert [p.key for p in made] == [
        "learning-energy", "learning-force", "learning-stress",
        "parity-energy", "parity-force", "parity-stress",
        "gamma-0", "gamma-1", "gamma-2", "eos-0", "phonons-1",
        "label-times", "time-by-generator", "provenance",
    ]  # fmt: skip
    for panel in made:
        layout = panel.figure.to_plotly_json()["layout"]
        horizontal_bars = panel.key in {"time-by-generator", "provenance"}
        assert layout["xaxis"]["title"]["text"]
        assert layout["yaxis"]["title"]["text"] or horizontal_bars
        assert {trace.type for trace in panel.figure.data} <= {"scatter", "bar"}
        assert panel.caption and panel.alt


@pytest.mark.parametrize("value", [0.000613, 0.05, 6.2, 64.123456, 1e5])
def test_one_value_between_two_ticks_is_drawn(value: float) -> None:
    rows = [CycleRow(iteration=1, labels=10, energy_rmse_eV_per_atom=value)]
    axis = figures.learning_curve(rows, figures.ENERGY, None).to_plotly_json()["layout"]["yaxis"]
    low, high = axis["range"]
    assert axis["tickvals"]
    for tick in axis["tickvals"]:
        assert low <= np.log10(tick) <= high


def test_learning_curve_draws_the_numbers_in_their_unit() -> None:
    rows = [
        CycleRow(iteration=1, labels=10, energy_rmse_eV_per_atom=0.03),
        CycleRow(iteration=2, labels=None, energy_rmse_eV_per_atom=0.02),
        CycleRow(iteration=3, labels=40, energy_rmse_eV_per_atom=0.004),
    ]
    figure = figures.learning_curve(rows, figures.ENERGY, target=0.002)
    test = next(trace for trace in figure.data if trace.name == "test")
    assert list(test.x) == [10, 40]
    assert list(test.y) == pytest.approx([30.0, 4.0])
    assert figure.layout.yaxis.type == "log"
    low, high = figure.layout.yaxis.range
    assert low < np.log10(2.0) and high > np.log10(30.0), "the target line lies inside the axis"


def test_parity_thins_large_data_and_keeps_the_worst() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=50_000)
    y = x + 0.01 * rng.normal(size=x.size)
    y[123] = x[123] + 2.0
    figure = figures.parity(
        {"test": ParitySet(force_reference=x, force_predicted=y)}, figures.FORCE
    )
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert [len(trace.x) for trace in points] == [figures.POINTS_PER_SPLIT] * 2
    assert np.max(points[1].y) == pytest.approx(2000.0, rel=1e-4), "error in meV/angstrom"


def test_a_halt_is_marked_and_zero_gamma_stays_visible() -> None:
    trace = MDTrace(
        iteration=1, temperature_K=300, status="halted", gamma_select=2, gamma_halt=5,
        samples=[(0, 0.0, 300), (10, 1.0, 300), (20, 6.0, 310)],
    )  # fmt: skip
    figure = figures.gamma_traces([trace])
    line, cross = figure.data[0], figure.data[1]
    assert line.y[0] == figures.GAMMA_FLOOR
    assert line.customdata[0][0] == 0.0
    assert (cross.marker.symbol, cross.x[0], cross.y[0]) == ("x-thin", 0.02, 6.0)
    assert {a.text for a in figure.layout.annotations} == {"select 2", "halt 5"}


def test_many_temperatures_become_at_most_six_figures() -> None:
    traces = [
        MDTrace(iteration=1, temperature_K=100 + 17 * i, samples=[(0, 1, 300)]) for i in range(40)
    ]
    groups = by_temperature([*traces, MDTrace(iteration=1)])
    assert len(groups) <= 6
    assert sum(len(of) for _, of in groups) == 40


@pytest.mark.parametrize("shape", ["segments", "points", "bands"])
def test_phonon_bands_in_any_usual_shape(shape: str) -> None:
    x = np.linspace(0, 1, 5)
    bands = np.array([x, -x, 2 * x])
    series = {
        "segments": {"distances": [x, x + 1], "frequencies_THz": [bands.T, bands.T]},
        "points": {"distances": x, "frequencies_THz": bands.T},
        "bands": {"distances": x, "frequencies_THz": bands},
    }[shape]
    drawn = properties.phonon_bands(CheckEntry(name="phonons", series=series))
    assert drawn is not None
    lines = [trace for trace in drawn[0].data if trace.mode == "lines"]
    assert len(lines) == (6 if shape == "segments" else 3)
    assert list(lines[1].y) == pytest.approx(list(-x))


def test_broken_series_draw_nothing_rather_than_raise() -> None:
    for series in (
        {"frequencies_THz": [[]]},
        {"frequencies_THz": [1.0, 2.0]},
        {"frequencies_THz": [[None, None]]},
        {"frequencies_THz": "none"},
        {"volumes_A3": [1.0], "energies_eV": [None]},
        {"volumes_A3": [], "energies_eV": []},
        {"volume_ratio": [1.0, 1.1], "total_energy_eV_per_atom": [0.1, 0.2]},  # of MD: no curve
        {"volumes_A3": [1.0, 2.0], "energies_eV": [0.1, 0.2, 0.3]},
    ):
        check = CheckEntry(name="x", series=series)
        assert properties.equation_of_state(check) is None
        properties.phonon_bands(check)


def test_elastic_tables_from_a_matrix_or_from_numbers() -> None:
    C = np.diag([3.0] * 6)
    table = elastic_tables(CheckEntry(name="elastic", series={"C_GPa": C}))
    assert table is not None and table.matrix[0][:2] == ["3.0", "0.0"]
    numbers = {f"C{i}{j}_GPa": 1.0 for i in range(1, 7) for j in range(i, 7)}
    table = elastic_tables(CheckEntry(name="elastic", numbers=numbers))
    assert table is not None and table.matrix[5][0] == "1.0"
    assert elastic_tables(CheckEntry(name="eos", numbers={"B0_GPa": 1.0})) is None


def test_what_the_validator_makes_is_drawn() -> None:
    """The real checks on a real (EMT) crystal: nothing of theirs is lost on the way."""
    from pyacemaker.validator.elastic import ElasticCheck
    from pyacemaker.validator.eos import EosCheck
    from pyacemaker.validator.phonons import PhononCheck

    calculator, crystal = EMT(), bulk("Cu")
    found = [
        CheckEntry(
            name=result.name,
            passed=result.passed,
            reason=result.reason,
            numbers=dict(result.numbers),
            series=dict(result.series),
        )
        for check in (EosCheck(), ElasticCheck(), PhononCheck())
        for result in [check.run(calculator, crystal, ())]
    ]
    assert all(check.passed for check in found), [check.reason for check in found]
    drawn = properties.equation_of_state(found[0])
    assert drawn is not None and [t.name for t in drawn[0].data] == ["fit", "potential"]
    tables = elastic_tables(found[1])
    assert tables is not None and len(tables.born) >= 3
    assert tables.crystal_system == "cubic"
    assert float(tables.matrix[0][0]) == pytest.approx(found[1].numbers["C11_GPa"], abs=0.06)
    drawn = properties.phonon_bands(found[2])
    assert drawn is not None
    assert "Γ" in drawn[0].layout.xaxis.ticktext
    lines = [trace for trace in drawn[0].data if trace.mode == "lines"]
    assert len(lines) % 3 == 0
    highest = max(max(trace.y) for trace in lines)
    assert highest == pytest.approx(found[2].numbers["highest_frequency_THz"], rel=0.1)


def test_time_by_generator_adds_up() -> None:
    rows = [LabelRow(key=str(i), generator="ab"[i % 2], wall_s=30.0 * i) for i in range(6)]
    bars = figures.time_by_generator(rows).data[0]
    assert dict(zip(bars.y, bars.x, strict=True)) == pytest.approx({"a": 3.0, "b": 4.5})


def test_reliability_of_gamma_is_drawn_and_told():
    import numpy as np

    from pyacemaker.report.data import CheckEntry
    from pyacemaker.report.properties import reliability as draw
    from pyacemaker.validator.reliability import reliability

    rng = np.random.default_rng(0)
    gamma = rng.uniform(0.1, 10, 400)
    found = reliability(gamma, 0.05 * gamma, limit_eV_per_A=0.15)
    check = CheckEntry(name="test_error", series={"uncertainty": found.as_dict()})
    figure, alt, caption = draw(check)
    assert [trace.name for trace in figure.data] == ["RMS", "nine in ten below"]
    assert len(figure.data[0].x) == 10
    assert "Rank correlation of γ with the error: 1.00" in caption
    assert "of which 0 % have an error above 0.15 eV/Å" in caption
    assert "grade" in alt
    assert draw(CheckEntry(name="test_error")) is None


def test_a_predicted_spread_is_drawn_beside_the_error_and_told():
    import numpy as np

    from pyacemaker.report.data import CheckEntry
    from pyacemaker.report.properties import reliability as draw
    from pyacemaker.validator.reliability import reliability, spread_coverage

    rng = np.random.default_rng(0)
    gamma = rng.uniform(0.1, 2, 400)
    std = 0.03 * gamma
    errors = rng.normal(scale=std[:, None], size=(400, 3))
    found = reliability(
        gamma, np.linalg.norm(errors, axis=1), 0.15, predicted_eV_per_A=np.sqrt(3) * std
    ).as_dict()
    coverage, _ = spread_coverage(np.repeat(std, 3), errors.ravel())
    found["spread"] = [vars(item) for item in coverage]
    figure, _, caption = draw(CheckEntry(name="test_error", series={"uncertainty": found}))
    rms, predicted = figure.data[0], figure.data[2]
    assert predicted.name == "RMS, as the fit predicts it"
    np.testing.assert_allclose(predicted.y, rms.y, rtol=0.35)
    assert "within one standard deviation (68 % expected)" in caption
