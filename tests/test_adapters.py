"""tf.data, PyTorch's DataLoader and Grain give the same frames as NumPy batches."""

import json
import pickle
import sys
import time
from itertools import islice

import numpy as np
import pytest

from seqframe import SequenceFramer
from seqframe.framing.order import epoch_order

STEPS = np.linspace(-1, 1, 40, dtype="float32")
KINDS = {
    "one sequence": lambda: SequenceFramer(3).frame(STEPS),
    "several sequences": lambda: SequenceFramer(2, horizon=2).frame([STEPS, 0.3 * STEPS[:9]]),
    "prefixes": lambda: SequenceFramer(4, mode="prefixes").frame(STEPS),
    "future and weight": lambda: SequenceFramer(3).frame(
        STEPS, future=STEPS**2, sample_weight=abs(STEPS)
    ),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS.keys())
# Libraries that are loaded together warn, and so do processes forked from one with threads.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore:Your input ran out:UserWarning"
)


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow", reason="the adapter's library")


@pytest.fixture
def data():
    torch = pytest.importorskip("torch", reason="the adapter's library")
    return torch.utils.data


@pytest.fixture
def grain():
    return pytest.importorskip("grain", reason="the adapter's library")


def drawn():
    return SequenceFramer(5, mode="subsequences", num_samples=20, seed=7).frame(STEPS)


def flat(batch):
    """Return the arrays of a batch of any library, in a list."""
    x, *others = batch
    inputs = [x["past"], x["future"]] if isinstance(x, dict) else [x]
    return [np.asarray(array) for array in (*inputs, *others)]


def key(arrays):
    """Return bytes that identify a frame."""
    return b"".join(array.tobytes() for array in arrays)


def assert_same(batch, expected):
    assert isinstance(batch[0], dict) == isinstance(expected[0], dict)
    if isinstance(batch[0], dict):
        assert batch[0].keys() == expected[0].keys()
    for array, other in zip(flat(batch), flat(expected), strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def assert_all_same(batches, expected):
    for batch, other in zip(batches, expected, strict=True):
        assert_same(batch, other)


# --- tf.data.


@every_kind
@pytest.mark.parametrize("drop_last", [False, True])
def test_tf_dataset_has_spec_and_cardinality(tf, make, drop_last):
    frames = make()
    dataset = frames.to_tf(4, drop_last=drop_last)
    size = 4 if drop_last else None

    def spec(shape):
        return tf.TensorSpec((size, *shape), tf.float32)

    shapes = frames.x_shape
    x = {name: spec(s) for name, s in shapes.items()} if isinstance(shapes, dict) else spec(shapes)
    weight = () if frames.sample_weight_shape is None else (spec(frames.sample_weight_shape),)
    assert dataset.element_spec == (x, spec(frames.y_shape), *weight)
    batches = frames.batches(4, drop_last=drop_last)
    assert int(dataset.cardinality()) == len(dataset) == len(batches)
    assert_all_same(dataset, batches)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "uint16", "int64", "bool"])
def test_tf_dataset_keeps_the_dtype(tf, dtype):
    frames = SequenceFramer(2, horizon=2).frame(STEPS.astype(dtype), sample_weight=np.arange(40))
    dataset = frames.to_tf(7)
    assert [spec.dtype.name for spec in dataset.element_spec] == [dtype, dtype, "float32"]
    assert_all_same(dataset, frames.batches(7))  # with averaged weights


def passes(dataset, count):
    return [np.concatenate([batch[1] for batch in dataset]).tolist() for _ in range(count)]


def test_a_tf_dataset_may_have_no_batch(tf):
    dataset = SequenceFramer(3).frame(np.arange(6.0)).to_tf(8, drop_last=True)
    assert len(dataset) == 0
    assert [list(dataset) for _ in range(2)] == [[], []]


def test_each_pass_over_a_tf_dataset_is_an_epoch(tf):
    frames = KINDS["one sequence"]()

    def expected(epoch):
        batches = frames.batches(4, shuffle=True, seed=3, epoch=epoch)
        return np.concatenate([y for _, y in batches]).tolist()

    dataset = frames.to_tf(4, shuffle=True, seed=3, epoch=1)
    assert passes(dataset, 3) == [expected(1), expected(2), expected(3)]
    repeated = frames.to_tf(4, shuffle=True, seed=3).repeat(3)
    assert int(repeated.cardinality()) == 30
    assert passes(repeated, 1) == [expected(0) + expected(1) + expected(2)]
    looked_at = frames.to_tf(4, shuffle=True, seed=3)
    assert len(looked_at) == 10
    for taken in 1, 9:  # a pass that ends before its last batch is no epoch
        for _ in looked_at.take(taken):
            pass
    time.sleep(0.1)  # tf.data may run ahead of the loop
    assert passes(looked_at, 2) == [expected(0), expected(1)]
    ordered = frames.to_tf(4)
    assert passes(ordered, 2) == [frames[:][1].tolist()] * 2
    one, other = frames.to_tf(4, shuffle=True), frames.to_tf(4, shuffle=True)
    assert passes(one, 1) != passes(other, 1)  # a seed is drawn


def test_tf_dataset_redraws_for_each_pass(tf):
    frames = drawn()
    found = passes(frames.to_tf(4, redraw=True), 2)
    assert found == [frames[:][1].tolist(), frames.redraw(1)[:][1].tolist()]
    assert passes(frames.to_tf(4), 2) == [frames[:][1].tolist()] * 2


# --- PyTorch's DataLoader.

COLLATE = pytest.mark.parametrize("own", [True, False], ids=["own collate", "default collate"])


def collate_of(dataset, own):
    return {"collate_fn": dataset.collate} if own else {}


@every_kind
@COLLATE
def test_loader_gives_the_frames_of_its_sampler(data, make, own):
    frames = make()
    dataset = frames.to_torch()
    given = collate_of(dataset, own)
    assert len(dataset) == len(frames)
    assert_all_same(data.DataLoader(dataset, 7, **given), frames.batches(7))
    shuffled = list(data.DataLoader(dataset, 7, shuffle=True, drop_last=True, **given))
    assert len(shuffled) == len(frames) // 7
    seen = [key(frame) for batch in shuffled for frame in zip(*flat(batch), strict=True)]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= {key(flat(frame)) for frame in frames}


@COLLATE
def test_loader_works_with_workers(data, own):
    frames = KINDS["future and weight"]()
    dataset = frames.to_torch()
    loader = data.DataLoader(dataset, 7, num_workers=2, **collate_of(dataset, own))
    for _ in range(2):
        assert_all_same(loader, frames.batches(7))


@pytest.mark.parametrize("dtype", ["float64", "int8", "uint16", "bool", ">f4"])
def test_torch_dataset_keeps_the_dtype(data, dtype):
    frames = SequenceFramer(2).frame(STEPS.astype(dtype))
    native = SequenceFramer(2).frame(STEPS.astype(np.dtype(dtype).newbyteorder("=")))
    dataset = frames.to_torch()
    for own in (True, False):
        loader = data.DataLoader(dataset, 7, **collate_of(dataset, own))
        assert_all_same(loader, native.batches(7))  # in the byte order of this machine


def test_torch_dataset_can_be_pickled(data):
    frames = KINDS["future and weight"]()
    dataset, collate = pickle.loads(pickle.dumps((frames.to_torch(), frames.to_torch().collate)))
    assert_all_same(data.DataLoader(dataset, 7, collate_fn=collate), frames.batches(7))


def test_batches_work_as_a_torch_dataset(data):
    frames = KINDS["one sequence"]()
    batches = frames.batches(7, shuffle=True, seed=1)
    assert_all_same(
        data.DataLoader(batches, batch_size=None), frames.batches(7, shuffle=True, seed=1)
    )


def loaded(data, sampler, frames, **given):
    dataset = frames.to_torch()
    loader = data.DataLoader(dataset, batch_sampler=sampler, collate_fn=dataset.collate, **given)
    return [flat(batch)[-1].tolist() for batch in loader]


def shares(make, num_shards, **given):
    """Return the samplers of all ranks."""
    arguments = {"shuffle": True, "seed": 3, "num_shards": num_shards, **given}
    return [make().to_torch().sampler(4, index=index, **arguments) for index in range(num_shards)]


@every_kind
@pytest.mark.parametrize("drop_last", [False, True])
def test_samplers_deal_out_the_order_of_each_epoch(data, make, drop_last):
    """All ranks have as many batches; without `drop_last`, some take the last frame again."""
    frames = make()
    for num_shards in 1, 2, 3:
        samplers = shares(make, num_shards, drop_last=drop_last)
        for epoch in range(2):
            order = epoch_order(len(frames), 3, epoch, np.arange(len(frames)))
            seen = [list(sampler) for sampler in samplers]
            assert {len(batches) for batches in seen} == {len(sampler) for sampler in samplers}
            each = [[one for batch in batches for one in batch] for batches in seen]
            assert len({*map(len, each)}) == 1
            dealt = np.transpose(each).ravel()
            size = len(frames) // num_shards // 4 * 4 * num_shards if drop_last else len(frames)
            assert dealt[:size].tolist() == order[:size].tolist()
            assert len(dealt) - size < num_shards
            assert all(dealt[size:] == order[-1])
            assert {sampler.epoch for sampler in samplers} == {epoch + 1}


def test_a_loader_takes_the_batches_of_its_sampler(data):
    frames = KINDS["future and weight"]()
    expected = [list(frames.batches(4, shuffle=True, seed=3, epoch=k)) for k in range(2)]
    for workers in 0, 2:
        (sampler,) = shares(KINDS["future and weight"], 1)
        for epoch in range(2):
            seen = loaded(data, sampler, frames, num_workers=workers)
            assert seen == [flat(batch)[-1].tolist() for batch in expected[epoch]]


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_sampler_resumes_in_mid_epoch_with_any_number_of_ranks(data, after):
    """As torchdata's StatefulDataLoader does it: by the state of the iterator, at each batch."""
    make = KINDS["one sequence"]
    order = epoch_order(len(make()), 3, 1, np.arange(len(make())))
    for taken in range(5):
        stopped = shares(make, 2)[1]
        stopped.set_epoch(1)
        running = iter(stopped)
        list(islice(running, taken))
        state = json.loads(json.dumps(running.state_dict()))
        again = shares(make, after)
        for sampler in again:
            running = iter(sampler)
            running.load_state_dict(state)
            sampler.set_epoch(1)  # as a loop over epochs does
        each = [[one for batch in sampler for one in batch] for sampler in again]
        rest = order[8 * taken :]
        assert np.transpose(each).ravel()[: len(rest)].tolist() == rest.tolist()
        whole = [len(list(sampler)) for sampler in again]  # the next epoch
        assert {sampler.epoch for sampler in again} == {3}
        assert {*whole} == {len(again[0])}


def test_a_pass_that_is_given_up_begins_anew(data):
    (sampler,) = shares(KINDS["one sequence"], 1)
    first = next(iter(sampler))
    assert next(iter(sampler)) == first
    assert sampler.epoch == 0
    sampler.load_state_dict(sampler.state_dict())
    assert next(iter(sampler)) != first


def test_sampler_checks_its_arguments(data):
    dataset = KINDS["one sequence"]().to_torch()
    for given, message in (
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2, "num_shards": 2, "index": 2}, "index=2"),
        ({"batch_size": 2, "num_shards": 2, "shuffle": True}, "`seed`"),
    ):
        with pytest.raises(ValueError, match=message):
            dataset.sampler(**given)
    state = dataset.sampler(2).state_dict()
    other = KINDS["prefixes"]().to_torch().sampler(2)
    with pytest.raises(ValueError, match="fingerprint"):
        other.load_state_dict(state)


def test_collate_raises_for_single_frames(data):
    dataset = KINDS["one sequence"]().to_torch()
    loader = data.DataLoader(dataset, batch_size=None, collate_fn=dataset.collate)
    with pytest.raises(TypeError, match="`batch_size`"):
        next(iter(loader))
    single = data.DataLoader(dataset, batch_size=None)
    assert [float(y) for _, y in single] == dataset.frames[:][1].tolist()


# --- Grain.


@every_kind
def test_grain_dataset_has_the_frames(grain, make):
    frames = make()
    dataset = frames.to_grain()
    assert isinstance(dataset, grain.MapDataset)
    assert len(dataset) == len(frames)
    assert_all_same(dataset, frames)
    assert_all_same(dataset.batch(7), frames.batches(7))
    assert_all_same(dataset.batch(7, drop_remainder=True), frames.batches(7, drop_last=True))


@pytest.mark.parametrize("kind", ["one sequence", "future and weight"])
def test_grain_dataset_can_be_shuffled(grain, kind):
    frames = KINDS[kind]()
    keys = [key(flat(frame)) for frame in frames]
    order = [keys.index(key(flat(frame))) for frame in frames.to_grain().shuffle(seed=7)]
    assert sorted(order) == list(range(len(frames)))
    assert order != sorted(order)
    batches = frames.batches(4, shuffle=True, seed=3)
    assert_all_same(grain.MapDataset.source(batches), frames.batches(4, shuffle=True, seed=3))


@every_kind
def test_grain_dataset_has_an_order_for_each_epoch(grain, make):
    frames = make()
    for drop_last in (False, True):
        dataset = frames.to_grain(4, shuffle=True, seed=3, epochs=3, drop_last=drop_last)
        given = {"shuffle": True, "seed": 3, "drop_last": drop_last}
        batches = [frames.batches(4, epoch=epoch, **given) for epoch in range(3)]
        assert len(dataset) == 3 * len(batches[0])
        assert_all_same(dataset, [batch for epoch in batches for batch in epoch])
    assert_all_same([dataset[-1], dataset[0]], [batches[-1][-1], batches[0][0]])  # in any order
    last = dataset[1::2]  # the share of one of two processes
    assert_all_same(last, [dataset[k] for k in range(1, len(dataset), 2)])


def test_grain_dataset_draws_each_epoch_anew(grain):
    frames = SequenceFramer(3, mode="subsequences", num_samples=8, seed=1).frame(np.arange(50))
    dataset = frames.to_grain(8, epochs=2, redraw=True)
    assert_all_same(dataset, [frames.batches(8, epoch=e, redraw=True)[0] for e in (0, 1)])
    assert dataset[0][1].tolist() != dataset[1][1].tolist()


@pytest.mark.parametrize(
    "given", [{"shuffle": True}, {"seed": 1}, {"epochs": 2}, {"drop_last": True}, {"redraw": True}]
)
def test_arguments_of_batches_need_a_batch_size(given):
    with pytest.raises(ValueError, match="Pass `batch_size`"):
        KINDS["one sequence"]().to_grain(**given)


@pytest.mark.parametrize(("epochs", "error"), [(0, ValueError), (1.5, TypeError)])
def test_grain_needs_a_number_of_epochs(epochs, error):
    with pytest.raises(error, match="epochs"):
        KINDS["one sequence"]().to_grain(4, epochs=epochs)


@every_kind
@pytest.mark.parametrize("of_batches", [False, True])
def test_grain_dataset_can_be_resumed(grain, make, of_batches):
    def iterator():
        if of_batches:
            dataset = make().to_grain(4, shuffle=True, seed=1, epochs=2)
        else:
            dataset = make().to_grain().shuffle(seed=7).batch(4)
        return iter(dataset.to_iter_dataset())

    stopped, again = iterator(), iterator()
    first = list(islice(stopped, 3))
    next(again)
    again.set_state(json.loads(json.dumps(stopped.get_state())))
    rest = list(stopped)
    assert_all_same(again, rest)
    assert_all_same(iterator(), first + rest)


# --- Missing libraries.

ADAPTERS = {
    "tensorflow": lambda frames: frames.to_tf(4),
    "torch": lambda frames: frames.to_torch(),
    "grain": lambda frames: frames.to_grain(),
}


@pytest.mark.parametrize(
    ("library", "method"), [("tensorflow", "to_tf"), ("torch", "to_torch"), ("grain", "to_grain")]
)
def test_adapter_names_the_missing_library(library, method, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"`{method}`.*pip install {library}") as raised:
        ADAPTERS[library](KINDS["one sequence"]())
    extra = f"seqframe[{library}]"
    assert (extra in str(raised.value)) == (library != "tensorflow")  # which is always installed
