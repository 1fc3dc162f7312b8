"""What a network takes over from a trained one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archfit.errors import WeightsError
from archfit.nn.inheritance import Blocks, inherit
from archfit.nn.mbconv import LayerSpec, Network


def network(layers: list[tuple[LayerSpec, ...]], *, stem: int = 8, channels: int = 3, head: int = 16) -> Blocks:
    built = Network(
        channels=channels,
        classes=4,
        stem=stem,
        stem_stride=2,
        layers=[spec for block in layers for spec in block],
        head=head,
    )
    return Blocks(built, tuple(len(block) for block in layers))


def trained(layers: list[tuple[LayerSpec, ...]], **settings: int) -> Blocks:
    """With batch norms that are not the identity."""
    torch.manual_seed(1)
    blocks = network(layers, **settings)
    for module in blocks.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return blocks


def features(blocks: Blocks, channels: int = 3) -> torch.Tensor:
    torch.manual_seed(2)
    image = torch.randn(2, channels, 16, 16)
    built = blocks.network.eval()
    found: torch.Tensor = built.head(built.layers(built.stem(image)))
    return found


def mbconv(filters: int, *, op: str = "mbconv6", kernel: int = 3, stride: int = 1, skip: str = "none", se: float = 0.0):
    return LayerSpec(op, kernel, stride, se, skip, filters)


SOURCE = [
    (mbconv(8, op="dconv"),),
    (mbconv(12, stride=2), mbconv(12, kernel=5, skip="identity")),
    (mbconv(16, stride=2, se=0.25),),
]


def test_equal_networks_give_equal_features() -> None:
    source = trained(SOURCE)
    target = network(SOURCE)
    assert inherit(target, source) > 0.9
    torch.testing.assert_close(features(target), features(source))


def test_wider_network_keeps_all_of_the_source() -> None:
    source = trained(SOURCE)
    wider = [(mbconv(16, op="dconv"),), (mbconv(24, stride=2),), (mbconv(32, stride=2),)]
    target = network(wider, stem=16)
    inherit(target, source)
    stem = target.network.stem[0].weight
    torch.testing.assert_close(stem[:8], source.network.stem[0].weight)


def test_narrower_stem_keeps_the_strongest_filters_in_their_order() -> None:
    source = trained(SOURCE)
    convolution, norm = source.network.stem[0], source.network.stem[1]
    with torch.no_grad():
        convolution.weight.fill_(0.01)
        norm.weight.fill_(1.0)
        norm.running_var.fill_(1.0)
        for strong in (1, 4, 5, 6):
            convolution.weight[strong] = 1.0 + strong
        norm.weight[7] = 1000.0  # folded in, it is the strongest of all
    target = network([(mbconv(8, op="dconv"),), (mbconv(12, stride=2),), (mbconv(16, stride=2),)], stem=4)
    inherit(target, source)
    torch.testing.assert_close(target.network.stem[0].weight, convolution.weight[[4, 5, 6, 7]])
    torch.testing.assert_close(target.network.stem[1].running_mean, norm.running_mean[[4, 5, 6, 7]])


def test_channels_that_a_block_dropped_are_dropped_where_the_next_one_reads_them() -> None:
    source = trained(SOURCE)
    target = network([(mbconv(8, op="dconv"),), (mbconv(8, stride=2),), (mbconv(16, stride=2),)])
    inherit(target, source)
    strength = sum(
        (
            layer.body[-2].weight
            * (layer.body[-1].weight / (layer.body[-1].running_var + 1e-5).sqrt())[:, None, None, None]
        )
        .abs()
        .sum((1, 2, 3))
        for layer in list(source.network.layers)[1:3]
    )
    kept = strength.topk(8).indices.sort().values
    own, theirs = target.network.layers[1].body[-2].weight, source.network.layers[1].body[-2].weight
    torch.testing.assert_close(own, theirs[kept])
    reads, their_reads = target.network.layers[2].body[0].weight, source.network.layers[3].body[0].weight[:, kept]
    rows = {tuple(row.flatten().tolist()) for row in their_reads}
    assert all(tuple(row.flatten().tolist()) in rows for row in reads)


@pytest.mark.parametrize(("own", "their"), [(3, 5), (5, 3)])
def test_kernels_are_cropped_from_the_centre_or_set_into_zeros(own: int, their: int) -> None:
    source = trained([(mbconv(8, op="dconv", kernel=their),)])
    target = network([(mbconv(8, op="dconv", kernel=own),)])
    inherit(target, source)
    mine, others = target.network.layers[0].body[0].weight, source.network.layers[0].body[0].weight
    small, large = (mine, others) if own < their else (others, mine)
    torch.testing.assert_close(small, large[:, :, 1:4, 1:4])
    if own > their:
        assert (mine != 0).sum() == small.numel()


def test_layer_beyond_the_sources_depth_adds_nothing_at_first() -> None:
    source = trained(SOURCE)
    deeper = [*SOURCE[:2], (*SOURCE[2], mbconv(16, skip="identity"), mbconv(16, kernel=5, skip="identity"))]
    target = network(deeper)
    inherit(target, source)
    torch.testing.assert_close(features(target), features(source))


def test_gate_that_the_source_lacks_begins_open() -> None:
    source = trained([(mbconv(8),)])
    target = network([(mbconv(8, se=0.5),)])
    inherit(target, source)
    gate = target.network.layers[0].body[-3]
    x = torch.randn(2, 48, 4, 4)
    torch.testing.assert_close(gate(x), x * torch.sigmoid(torch.tensor(3.0)))


def test_plain_convolution_takes_the_product_of_the_three_filters() -> None:
    source = trained([(mbconv(8, kernel=3),)])
    target = network([(mbconv(8, op="conv"),)])
    inherit(target, source)
    expand, spread, out = (source.network.layers[0].body[place] for place in (0, 3, 6))
    norms = [source.network.layers[0].body[place] for place in (1, 4)]
    scale = [norm.weight / (norm.running_var + norm.eps).sqrt() for norm in norms]
    whole = torch.zeros(8, 8, 3, 3)
    for o in range(8):
        for i in range(8):
            for h in range(48):
                factor = out.weight[o, h, 0, 0] * scale[1][h] * scale[0][h] * expand.weight[h, i, 0, 0]
                whole[o, i] += factor.detach() * spread.weight[h, 0].detach()
    own = target.network.layers[0].body[0].weight.detach()
    torch.testing.assert_close(own / own.std(), whole / whole.std(), rtol=1e-3, atol=1e-4)


def test_grey_images_take_the_sum_over_rgb() -> None:
    source = trained(SOURCE)
    target = network(SOURCE, channels=1)
    inherit(target, source)
    torch.testing.assert_close(target.network.stem[0].weight, source.network.stem[0].weight.sum(1, keepdim=True))


def test_block_left_out_leaves_what_reads_it_random() -> None:
    source = trained(SOURCE)
    target = network([SOURCE[0], (), (mbconv(16, stride=2),)])
    before = target.network.layers[1].body[0].weight.clone()
    inherit(target, source)
    torch.testing.assert_close(target.network.layers[1].body[0].weight, before)
    kernels = {tuple(kernel.flatten().tolist()) for kernel in source.network.layers[3].body[3].weight}
    assert all(tuple(kernel.flatten().tolist()) in kernels for kernel in target.network.layers[1].body[3].weight)


def test_classifier_stays_random() -> None:
    source = trained(SOURCE)
    target = network(SOURCE)
    before = target.network.classifier.weight.clone()
    inherit(target, source)
    assert torch.equal(target.network.classifier.weight, before)


def test_another_number_of_blocks_is_refused() -> None:
    with pytest.raises(WeightsError, match="3 blocks, the space has 2"):
        inherit(network(SOURCE[:2]), trained(SOURCE))


@pytest.mark.parametrize("op", ["conv", "dconv", "separable", "mbconv3", "mbconv6"])
@pytest.mark.parametrize("their", ["conv", "dconv", "separable", "mbconv3", "mbconv6"])
def test_every_operation_can_inherit_from_every_other(op: str, their: str) -> None:
    source = trained([(mbconv(8, op=their, kernel=5, se=0.25), mbconv(8, op=their, skip="identity"))], stem=6)
    target = network([(mbconv(12, op=op, se=0.25), mbconv(12, op=op, skip="pool"))], stem=4)
    share = inherit(target, source)
    assert 0 <= share <= 1
    assert torch.isfinite(features(target)).all()
