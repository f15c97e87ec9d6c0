"""VisRAG-Ret against the official implementation; tests/golden/visrag_ret/README.md tells of its numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from ragkit.devices import Placement
from ragkit.indexers.models.pooling import weighted_mean
from ragkit.indexers.models.visrag_embedder import QUERY_PROMPT, VisragEmbedder
from ragkit.indexers.models.visrag_model import VisragModel
from ragkit.indexers.models.visrag_slicing import SliceRule, cut, plan_slices
from ragkit.indexers.models.visrag_tokens import VisragTokenizer, page_prompt
from tests.deviations import Deviations
from tests.indexers.models.tiny_visrag import GOLDEN, array, copy_checkpoint, page, picture, read

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sentencepiece")

DOCS: dict[str, dict[str, Any]] = {doc["name"]: doc for doc in read("expected/docs.json")}
QUERIES: list[str] = read("queries.json")["queries"]
HIDDEN, VECTORS = 2e-5, 2e-6

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> VisragEmbedder:
    folder = copy_checkpoint(tmp_path_factory.mktemp("visrag"))
    return VisragEmbedder(str(folder), Placement("cpu", "float32"))


@pytest.fixture(scope="module")
def model(embedder: VisragEmbedder) -> VisragModel:
    return embedder._model


@pytest.fixture(scope="module")
def tokenizer() -> VisragTokenizer:
    return VisragTokenizer(GOLDEN / "tokenizer")


@pytest.fixture(scope="module")
def slices() -> dict[str, list[Image.Image]]:
    pages = {name: page(name) for name in DOCS}
    return {name: cut(image, plan_slices(image.size, SliceRule())) for name, image in pages.items()}


@pytest.fixture(scope="module")
def features(model: VisragModel, slices: dict[str, list[Image.Image]]) -> dict[str, Any]:
    with torch.inference_mode():
        return {name: model.visual_features(images) for name, images in slices.items()}


@pytest.fixture(scope="module")
def vectors(embedder: VisragEmbedder) -> NDArray[np.float32]:
    return np.concatenate([embedder.embed_passages([picture(page(name))]) for name in DOCS])


@pytest.fixture(scope="module")
def expected() -> dict[str, NDArray[Any]]:
    with np.load(GOLDEN / "expected" / "embeddings.npz") as file:
        return dict(file)


def digest(image: Image.Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def pair(value: list[int] | None) -> tuple[int, int] | None:
    return (value[0], value[1]) if value else None


def test_slices_of_240_sizes(deviations: Deviations):
    for case in read("expected/geometry_240.json"):
        plan = plan_slices(tuple(case["size"]), SliceRule())
        found = (plan.source, plan.grid, plan.refined)
        deviations.assert_equal(
            "visrag slice grids", found, tuple(pair(case[key]) for key in ("source", "grid", "refine"))
        )
        if plan.grid and plan.refined:
            sides = tuple(side // count for side, count in zip(plan.refined, plan.grid, strict=True))
            assert sides == pair(case["slice"])


def test_slices_of_180_sizes_with_fewer_cells(deviations: Deviations):
    for case in read("expected/geometry_max_slices.json"):
        plan = plan_slices(tuple(case["size"]), SliceRule(max_slices=case["max_slice_nums"]))
        wanted = (pair(case["source"]), pair(case["grid"]))
        deviations.assert_equal("visrag slice grids", (plan.source, plan.grid), wanted)


def test_resized_pixels(slices: dict[str, list[Image.Image]], deviations: Deviations):
    for name, doc in DOCS.items():
        images = slices[name]
        for image, wanted in zip(images, doc["slice_rgb_sha256"], strict=True):
            deviations.assert_equal("visrag resized pictures", digest(image), wanted)
        sizes = [list(image.size) for image in images]
        assert sizes == [doc["source_size"], *doc["slice_sizes"]]
        assert [[height // 14, width // 14] for width, height in sizes] == doc["tgt_sizes_hw"]


@pytest.mark.skipif(not PIL.__version__.startswith("13."), reason="tells of Pillow 13 alone")
def test_one_call_of_pillow_13_would_give_other_pixels():
    name = "p4_900x3000"
    plan = plan_slices(page(name).size, SliceRule())
    thumbnail = page(name).resize(plan.source, Image.Resampling.BICUBIC)
    assert digest(thumbnail) == read("expected/p4_with_pillow13.json")["slice_rgb_sha256"][0]
    assert digest(thumbnail) != DOCS[name]["slice_rgb_sha256"][0]


def test_page_tokens(tokenizer: VisragTokenizer, deviations: Deviations):
    for doc in DOCS.values():
        prompt = page_prompt(pair(doc["grid_cols_rows"]), 64)
        ids = tokenizer.encode(prompt)
        deviations.assert_equal("visrag token ids", (prompt, ids), (doc["prompt"], doc["input_ids"]))
        bounds = [list(bound) for bound in tokenizer.image_bounds(ids)]
        deviations.assert_equal("visrag image bounds", bounds, doc["image_bound"])
        assert tokenizer.image_slots(ids, 64) == [
            i for start, end in doc["image_bound"] for i in range(start, end)
        ]


def test_query_tokens(tokenizer: VisragTokenizer, deviations: Deviations):
    assert read("queries.json")["instruction"] == QUERY_PROMPT
    for query, wanted in zip(QUERIES, read("expected/query_inputs.json"), strict=True):
        found = (QUERY_PROMPT + query, tokenizer.encode(QUERY_PROMPT + query))
        deviations.assert_equal("visrag token ids", found, (wanted["text"], wanted["input_ids"]))


@pytest.mark.parametrize("variant", ["A_primary", "B_sp_only_legacy", "C_special_nodummy", "D_special_nonlegacy"])
def test_tokenizer_settings(variant: str, deviations: Deviations):
    folder = GOLDEN / "tokenizer" if variant == "A_primary" else GOLDEN / "tokenizer_variants" / variant
    tokenizer = VisragTokenizer(folder)
    golden = read("expected/tokenizer_variants.json")
    for text, wanted in zip(golden["texts"], golden["variants"][variant], strict=True):
        ids = tokenizer.encode(text)
        deviations.assert_equal("visrag token ids", ids, wanted["ids"])
        found = [list(ends) for ends in zip(*tokenizer.image_bounds(ids), strict=True)] or [[], []]
        deviations.assert_equal("visrag image bounds", found, [wanted["starts"], wanted["ends"]])


@pytest.mark.parametrize(
    ("name", "place"), [("p0_448x448", 0), ("p1_300x200", 0), ("p6_1280x720", 0), ("p6_1280x720", 1)]
)
def test_vision_features(
    name: str, place: int, model: VisragModel, slices: dict[str, list[Image.Image]], deviations: Deviations
):
    with torch.inference_mode():
        seen = model.vision(model._pixels([slices[name][place]]))[0]
    wanted = array("hidden_states", f"{name}.vpm_features_slice{place}")
    deviations.assert_near("visrag vision tower", seen, wanted, HIDDEN)


def test_resampler_features(features: dict[str, Any], deviations: Deviations):
    for name, found in features.items():
        deviations.assert_near("visrag resampler", found, array("resampler_features", name), HIDDEN)
        doc = DOCS[name]
        deviations.assert_near("visrag resampler", found.flatten()[:8], doc["resampler_first8"], HIDDEN)
        deviations.assert_near("visrag resampler", found.flatten()[-8:], doc["resampler_last8"], HIDDEN)
        count = found.numel()
        sums = (float(found.double().sum()), float(found.double().abs().sum()))
        wanted = (doc["resampler_sum"], doc["resampler_abs_sum"])
        deviations.assert_near("visrag resampler, means", np.divide(sums, count), np.divide(wanted, count), HIDDEN)


@contextmanager
def recorded(modules: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What each module gave out, by name, in the calls inside the block."""
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def test_every_stage_of_one_page(
    model: VisragModel, slices: dict[str, list[Image.Image]], tokenizer: VisragTokenizer, deviations: Deviations
):
    name = "p7_60x900"
    trace = {
        stage: array("layer_trace_p7_60x900", stage)
        for stage in (path.stem for path in (GOLDEN / "expected" / "layer_trace_p7_60x900").iterdir())
    }
    resampler, network = model.resampler.layers, model.decoder.network
    modules = {"resampler_kv_proj": resampler["kv_proj"], "resampler_attn_out_LND": resampler["attn"]}
    modules |= {"vpm_norm_out": model.vision.norm, "decoder_norm_out": network.norm}
    modules |= {f"vit_block{i}": block for i, block in enumerate(model.vision.blocks)}
    modules |= {f"decoder_layer{i}": layer for i, layer in enumerate(network.layers)}
    ids = tokenizer.encode(DOCS[name]["prompt"])
    pixels = np.asarray(slices[name][0]).transpose(2, 0, 1)
    deviations.assert_equal("visrag resized pictures", pixels.tolist(), trace["pixel_values"].tolist())
    with torch.inference_mode(), recorded(modules) as outputs:
        patches = model.vision.patches(model.vision.cells(model._pixels(slices[name])))
        seen = model.visual_features(slices[name])
        model.hidden_states([ids], [tokenizer.image_slots(ids, 64)], seen)
    outputs["patch_embed_out_NHWC"] = patches
    outputs["after_pos_embed"] = patches + model.vision.positions(124, 8)
    outputs["resampler_out"] = seen
    assert set(outputs) == set(trace) - {"pixel_values"}
    for stage, found in outputs.items():
        every = 8 if stage.startswith(("vit", "patch", "after")) else 1
        ours = found[0, ::every]
        ours = ours.unsqueeze(1) if stage.endswith("LND") else ours
        deviations.assert_near("visrag stages of one page", ours, trace[stage], HIDDEN)


def test_hidden_states_of_pages(
    model: VisragModel, tokenizer: VisragTokenizer, features: dict[str, Any], deviations: Deviations
):
    for name, doc in DOCS.items():
        ids = tokenizer.encode(doc["prompt"])
        with torch.inference_mode():
            hidden, mask = model.hidden_states([ids], [tokenizer.image_slots(ids, 64)], features[name])
        assert int(mask.sum()) == doc["n_tokens"] == doc["attention_mask_sum"]
        sums = (float(hidden.double().sum()), float(hidden.double().abs().sum()))
        wanted = (doc["last_hidden_sum"], doc["last_hidden_abs_sum"])
        count = hidden.numel()
        deviations.assert_near(
            "visrag hidden states, means", np.divide(sums, count), np.divide(wanted, count), HIDDEN
        )
        if name in {"p0_448x448", "p6_1280x720"}:
            kept = array("hidden_states", f"{name}.last_hidden_state")
            deviations.assert_near("visrag hidden states", hidden[0], kept, HIDDEN)


@pytest.mark.parametrize("name", ["p0_448x448", "p6_1280x720"])
def test_decoder_inputs(
    name: str, model: VisragModel, tokenizer: VisragTokenizer, features: dict[str, Any], deviations: Deviations
):
    ids = tokenizer.encode(DOCS[name]["prompt"])
    given: list[Any] = []
    handle = model.decoder.network.layers[0].register_forward_pre_hook(lambda module, args: given.append(args[0]))
    with torch.inference_mode():
        model.hidden_states([ids], [tokenizer.image_slots(ids, 64)], features[name])
    handle.remove()
    deviations.assert_near(
        "visrag decoder inputs", given[0][0], array("hidden_states", f"{name}.inputs_embeds"), HIDDEN
    )
    deviations.assert_equal("visrag token ids", ids, array("hidden_states", f"{name}.input_ids").tolist())
    bounds = [list(bound) for bound in tokenizer.image_bounds(ids)]
    deviations.assert_equal("visrag image bounds", bounds, array("hidden_states", f"{name}.image_bound").tolist())


@pytest.mark.parametrize("number", [0, 5])
def test_hidden_states_of_queries(
    number: int, model: VisragModel, tokenizer: VisragTokenizer, deviations: Deviations
):
    ids = tokenizer.encode(QUERY_PROMPT + QUERIES[number])
    deviations.assert_equal("visrag token ids", ids, array("hidden_states", f"query{number}.input_ids").tolist())
    with torch.inference_mode():
        hidden, _ = model.hidden_states([ids], [[]], model.visual_features([]))
    kept = array("hidden_states", f"query{number}.last_hidden_state")
    deviations.assert_near("visrag hidden states", hidden[0], kept, HIDDEN)


def test_embeddings_and_scores(
    embedder: VisragEmbedder,
    vectors: NDArray[np.float32],
    expected: dict[str, NDArray[Any]],
    deviations: Deviations,
):
    queries = np.concatenate([embedder.embed_queries([query]) for query in QUERIES])
    together = embedder.embed_queries(QUERIES)
    deviations.assert_near("visrag embeddings of pages", vectors, expected["docs"], VECTORS)
    deviations.assert_near("visrag embeddings of queries", queries, expected["queries"], VECTORS)
    deviations.assert_near("visrag embeddings of queries", together, expected["queries_batched"], VECTORS)
    deviations.assert_near("visrag scores", queries @ vectors.T, expected["scores"], VECTORS)


def test_masks_of_a_batch(
    model: VisragModel, tokenizer: VisragTokenizer, expected: dict[str, NDArray[Any]], deviations: Deviations
):
    ids = [tokenizer.encode(QUERY_PROMPT + query) for query in QUERIES]
    with torch.inference_mode():
        _, mask = model.hidden_states(ids, [[] for _ in ids], model.visual_features([]))
    deviations.assert_equal("visrag masks", mask.tolist(), expected["batched_attention_mask"].tolist())


def test_pages_of_mixed_sizes_in_one_batch(
    embedder: VisragEmbedder,
    vectors: NDArray[np.float32],
    expected: dict[str, NDArray[Any]],
    deviations: Deviations,
):
    batched = VisragEmbedder(embedder.name, embedder.placement, batch_pages=8)
    found = batched.embed_passages([picture(page(name)) for name in DOCS])
    deviations.assert_near("visrag mixed batch against one by one", found, vectors, 1e-6)
    deviations.assert_near("visrag embeddings of pages", found, expected["docs"], VECTORS)
    three = [list(DOCS).index(name) for name in ("p0_448x448", "p6_1280x720", "p7_60x900")]
    deviations.assert_near("visrag embeddings of pages", found[three], expected["docs_batched_p0_p6_p7"], VECTORS)


def test_pages_and_a_query_in_one_batch(
    model: VisragModel,
    tokenizer: VisragTokenizer,
    features: dict[str, Any],
    expected: dict[str, NDArray[Any]],
    deviations: Deviations,
):
    mixed = read("expected/mixed_batch_inputs.json")
    ids, slots, seen = [], [], []
    for text, name in zip(mixed["texts"], mixed["images"], strict=True):
        prompt = page_prompt(pair(DOCS[name]["grid_cols_rows"]), 64) if name else ""
        ids.append(tokenizer.encode(prompt + text))
        slots.append(tokenizer.image_slots(ids[-1], 64))
        seen += [features[name]] if name else []
    deviations.assert_equal("visrag token ids", ids, mixed["input_ids"])
    bounds = [[list(bound) for bound in tokenizer.image_bounds(row)] for row in ids]
    deviations.assert_equal("visrag image bounds", bounds, mixed["image_bound"])
    with torch.inference_mode():
        pooled = weighted_mean(*model.hidden_states(ids, slots, torch.cat(seen)))
    found = torch.nn.functional.normalize(pooled, dim=1)
    wanted = expected["mixed_batch_p1_query0_p5withtext"]
    deviations.assert_near("visrag embeddings of a mixed batch", found, wanted, VECTORS)
