import torch

from services.generator.training.averaging import MovingAverage, warm_decay


def test_decay_warms_up_to_its_end_value() -> None:
    decays = [warm_decay(0.99, step) for step in range(1, 2000)]
    assert decays == sorted(decays)
    assert decays[0] == 2 / 11
    assert decays[-1] == 0.99


def test_average_meets_its_closed_form() -> None:
    """For weights that jump from w0 to w and stay, the average is w + (w0 - w) * product of the decays."""
    network = torch.nn.Linear(3, 2).double()
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    average = MovingAverage(network, 0.95)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.5)
    product = 1.0
    for step in range(1, 301):
        average.update(step)
        product *= warm_decay(0.95, step)
    for name, parameter in network.named_parameters():
        expected = parameter + (start[name] - parameter) * product
        # 300 float64 updates, each rounding by 1.1e-16 of values near 1.
        torch.testing.assert_close(average.state()[name], expected.detach(), rtol=0, atol=1e-13)
    assert 0 < product < 1e-5


def test_a_loaded_average_goes_on_alike() -> None:
    network = torch.nn.Linear(3, 2)
    first, second = MovingAverage(network, 0.9), MovingAverage(network, 0.9)
    with torch.no_grad():
        network.weight.add_(1)
    first.update(1)
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    first.update(2)
    second.update(2)
    assert all(torch.equal(tensor, second.state()[name]) for name, tensor in first.state().items())
