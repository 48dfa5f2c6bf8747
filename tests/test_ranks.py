"""Two processes of a PyTorch group train one model, and get what one process gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the ranks are PyTorch's")
pytest.importorskip("keras", reason="they train models of Keras")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Return what each of two ranks found, how it ended, and what it said."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(HERE / "ranks.py")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    }
    running = [
        subprocess.Popen(
            [*command, str(rank), str(folder / "store"), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    ended = [process.communicate(timeout=300) for process in running]
    for out, err in ended:
        assert out, err
    found = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    return found, [process.returncode for process in running], [err for _, err in ended]


CASES = ["frames", "weights", "a stream", "arrays", "lanes"]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one_process(case, ranks):
    (first, second), _, _ = ranks
    assert np.isfinite(first["one"][case]).all()
    np.testing.assert_allclose(first["two"][case], first["one"][case], atol=1e-5)
    assert first["two"][case] == second["two"][case]
    assert set(first["one"]) == set(CASES)


def test_ranks_go_on_where_one_process_stopped_in_mid_epoch(ranks):
    (first, second), _, _ = ranks
    np.testing.assert_allclose(first["resumed"], first["whole run"], atol=1e-5)
    assert first["resumed"] == second["resumed"]


def test_ranks_agree_on_a_seed(ranks):
    (first, second), _, _ = ranks
    assert first["unseeded"] == second["unseeded"]


REFUSED = {
    "data": "data of the training",
    "seed": "order of the training",
    "epochs": "epochs",
    "weights": "weights",
    "dataset": "the data are a DataLoader.*`DistributedDataParallel`",
    "validation": "`validation_data`",
    "eager": "`run_eagerly=True`",
    "compiled": "`jit_compile`",
    "normalization": "`LayerNormalization`",
    "sum": "sum_over_batch_size",
    "stateful": "stateful",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_ranks_cannot_share_is_refused_in_each(what, ranks):
    found, _, _ = ranks
    for rank in found:
        assert rank["refused"].keys() == REFUSED.keys()
        with pytest.raises(ValueError, match=REFUSED[what]):
            raise ValueError(rank["refused"][what])


def test_a_rank_evaluates_and_predicts_alone(ranks):
    (first, _), _, _ = ranks
    losses, size = first["alone"]
    assert np.isfinite(losses).all()
    assert size == 9


@pytest.mark.parametrize("shuffle", [False, True])
def test_samplers_share_the_order_of_each_epoch(shuffle, ranks):
    from seqframe import SequenceFramer

    found, _, _ = ranks
    steps = np.random.default_rng(0).normal(size=11).astype("float32")
    frames = SequenceFramer(2).frame(steps)
    for epoch in range(2):
        batches = frames.batches(1, shuffle=shuffle, seed=7, epoch=epoch)
        order = [float(y[0]) for _, y in batches]
        order.append(order[-1])  # rank 1 has one less, so it takes the last one again
        for rank, each in enumerate(found):
            seen = each["sampled"][shuffle][epoch]
            assert [len(batch) for batch in seen] == [2, 2, 1]
            assert [one for batch in seen for one in batch] == order[rank::2]


def test_a_rank_whose_other_died_ends_with_an_error(ranks):
    _, codes, errors = ranks
    assert codes == [0, 3]
    assert "RuntimeError" in errors[0]
