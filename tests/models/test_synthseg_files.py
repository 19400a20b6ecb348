import h5py
import keras_files
import numpy as np
import pytest
import torch

from brainldm.core.errors import DataError
from brainldm.models import synthseg


def test_loading_draws_no_random_numbers(tmp_path):
    path = keras_files.write(tmp_path / "weights.h5", keras_files.random_layers())
    before = torch.random.get_rng_state()
    synthseg.load(path)
    assert torch.equal(torch.random.get_rng_state(), before)


def without(layer, name=None):
    def change(layers):
        layers.pop(layer) if name is None else layers[layer].pop(name)

    return change


def changed(layer, name, edit):
    def change(layers):
        layers[layer][name] = edit(layers[layer][name].copy())

    return change


def first_is(value):
    def edit(array):
        array.flat[0] = value
        return array

    return edit


@pytest.mark.parametrize(
    ("change", "layer", "reason"),
    [
        (without("unet_conv_downarm_1_1"), "unet_conv_downarm_1_1", "no such layer"),
        (without("unet_bn_up_0"), "unet_bn_up_0", "no such layer"),
        (without("unet_conv_uparm_3_0"), "unet_conv_uparm_3_0", "no such layer"),
        (without("unet_likelihood"), "unet_likelihood", "no such layer"),
        (without("unet_conv_downarm_0_1", "bias"), "unet_conv_downarm_0_1", "the weight bias"),
        (without("unet_bn_down_2", "moving_mean"), "unet_bn_down_2", "the weight moving_mean"),
        (changed("unet_conv_downarm_0_0", "kernel", lambda a: a.repeat(2, 3)), "unet_conv_downarm_0_0", r"\(3, 3, 3, 2, 2\)"),
        (changed("unet_conv_uparm_4_0", "kernel", lambda a: a[..., :-1, :]), "unet_conv_uparm_4_0", "after a tensor of 5 channels"),
        (changed("unet_conv_uparm_3_1", "kernel", lambda a: a[:2, :2, :2]), "unet_conv_uparm_3_1", "k odd"),
        (changed("unet_conv_uparm_3_1", "kernel", lambda a: a[0]), "unet_conv_uparm_3_1", "kernel"),
        (changed("unet_conv_downarm_2_0", "kernel", lambda a: 0 * a), "unet_conv_downarm_2_0", "only zeros"),
        (changed("unet_conv_downarm_2_0", "bias", lambda a: a[:-1]), "unet_conv_downarm_2_0", "bias"),
        (changed("unet_bn_down_1", "gamma", lambda a: a[:-1]), "unet_bn_down_1", "gamma"),
        (changed("unet_bn_down_1", "moving_variance", first_is(-1)), "unet_bn_down_1", "nowhere negative"),
        (changed("unet_bn_up_1", "beta", first_is(np.nan)), "unet_bn_up_1", "finite"),
        (changed("unet_conv_downarm_2_1", "kernel", first_is(np.inf)), "unet_conv_downarm_2_1", "finite"),
        (changed("unet_conv_downarm_2_1", "bias", lambda a: np.full(a.shape, b"none")), "unet_conv_downarm_2_1", "damaged"),
    ],
)
def test_a_wrong_file_is_refused_with_its_layer(tmp_path, change, layer, reason):
    layers = keras_files.random_layers((2, 3, 4))
    change(layers)
    path = keras_files.write(tmp_path / "weights.h5", layers)
    with pytest.raises(DataError, match=rf"weights\.h5: .*{layer}\b.*{reason}"):
        synthseg.load(path)


def test_another_number_of_labels_is_refused(tmp_path):
    path = keras_files.write(tmp_path / "weights.h5", keras_files.random_layers(labels=31))
    with pytest.raises(DataError, match=r"unet_likelihood: expected 32 labels .*33 labels .*found 31"):
        synthseg.load(path)


def test_an_array_that_the_file_only_lists_is_refused_with_its_layer(tmp_path):
    path = keras_files.write(tmp_path / "weights.h5", keras_files.random_layers())
    with h5py.File(path, "a") as handle:
        del handle["unet_bn_down_1/unet_bn_down_1/beta:0"]
    with pytest.raises(DataError, match=r"layer unet_bn_down_1: expected weights that can be read"):
        synthseg.load(path)


@pytest.mark.parametrize(("prefix", "kind"), [("unet2_", "robust"), ("l2l_", "robust"), ("unet_parc_", "parcellation"), ("qc_", "quality")])
def test_other_networks_of_synthseg_are_named(tmp_path, prefix, kind):
    layers = keras_files.random_layers()
    layers[f"{prefix}conv_downarm_0_0"] = layers["unet_conv_downarm_0_0"]
    with pytest.raises(DataError, match=rf"expected the weights of SynthSeg 1.0 or 2.0, found .*{kind}"):
        synthseg.load(keras_files.write(tmp_path / "weights.h5", layers))


def test_a_truncated_file_is_refused_with_its_layer(tmp_path):
    path = keras_files.write(tmp_path / "weights.h5", keras_files.random_layers((8, 16, 32)))
    content = path.read_bytes()
    for share in (0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match=rf"weights\.h5: layer unet_\w+: .* truncated to {int(share * len(content))}\b"):
            synthseg.load(path)


def test_the_layer_named_is_the_one_that_is_cut(tmp_path):
    """Where the index survives, because the array stands at the end."""
    path = keras_files.write(tmp_path / "weights.h5", keras_files.random_layers((2, 3, 4)))
    name = "unet_conv_uparm_4_0/unet_conv_uparm_4_0/kernel:0"
    with h5py.File(path, "a") as handle:
        del handle[name]
        handle[name] = np.ones((500, 500), np.float32)
    path.write_bytes(path.read_bytes()[:-500_000])
    with pytest.raises(DataError, match=r"layer unet_conv_uparm_4_0: .*truncated"):
        synthseg.load(path)


def test_what_is_no_weight_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.h5: expected .* found none"):
        synthseg.load(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(DataError, match=r"text\.h5: expected an HDF5 file"):
        synthseg.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as handle:
        handle["dense_1"] = np.zeros(3)
    with pytest.raises(DataError, match=r"other\.h5: expected layers of SynthSeg .*found \['dense_1'\]"):
        synthseg.load(tmp_path / "other.h5")
