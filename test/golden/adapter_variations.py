"""The changes of data/adapter-variations.

A change of the tensors is one of
    {"take": NAME, "as": NAME}       a copy of a tensor of the file, or of the base as "base:NAME"; "rows": of these alone
    {"shift": NAME, "row": R, "by": X}   X is added to the even and taken from the odd elements of a row
    {"drop": NAME}
"""

# Adapters of different kinds, so that a key meets others that it depends on. The first is given every value.
CONFIG_ADAPTERS = {
    "patterns": "llama",
    "embedding": "llama",
    "second-layer": "llama",
    "saved-head-of-tied": "llama",
    "bias-all": "llama-bias",
    "dora-bias": "llama-bias",
    "activated": "llama",
}

DROPPED = object()
# Every type, and values that many keys could mean something by.
ANYTHING = [DROPPED, None, True, False, 0, 1, -1, 2.5, "x", "", [], ["x"], [0], {}, {"x": 1}]
SOMETHING = [DROPPED, None, True, False, 1]
# Values that a key could have.
POSSIBLE = {
    "alora_invocation_tokens": [[5, 9], [-1], [7, 11, 7]],
    "alpha_pattern": [{"q_proj": 3}, {"layers.1.self_attn.q_proj": 3}, {"v_proj": 0}, {"nothing": 3}, {"q_proj": "8"}],
    "arrow_config": [{"top_k": 2}],
    "base_model_name_or_path": ["some/other-model"],
    "bias": ["none", "all", "lora_only", "some"],
    "corda_config": [{"corda_method": "kpm"}],
    "ensure_weight_tying": [],
    "eva_config": [{"rho": 3.0}],
    "exclude_modules": [["v_proj"], "v_proj", r".*v_proj", ["nothing"], ["layers.0.self_attn.q_proj"], ["lm_head"]],
    "init_lora_weights": ["gaussian", "eva", "olora", "pissa", "pissa_niter_2", "loftq", "orthogonal", "corda", "mica", "GAUSSIAN"],
    "kasa_config": [{"beta": 0.1}],
    "layer_replication": [[[0, 2]], [[0, 1], [0, 2]]],
    "layers_pattern": ["layers", ["layers"], ["blocks", "layers"], "h", ["h"]],
    "layers_to_transform": [1, [1], [0, 1], [5]],
    "loftq_config": [{"loftq_bits": 4, "loftq_iter": 1}],
    "lora_alpha": [4, 16, 0.5, "8"],
    "lora_dropout": [0.5],
    "lora_ga_config": [{"direction": "ArBr"}],
    "megatron_config": [{"tensor_model_parallel_size": 1}],
    "megatron_core": ["json"],
    "modules_to_save": [["lm_head"], ["nothing"], ["mlp"], ["q_proj"], ["rotary_emb"], "lm_head", ["embed_tokens"]],
    "monteclora_config": [{"num_samples": 2}],
    "peft_type": ["LORA", "LOHA", "lora"],
    "peft_version": ["0.1.0"],
    "qalora_group_size": [8],
    "r": [2, 4, 8, "4"],
    "rank_pattern": [{"q_proj": 2}, {"nothing": 2}, {"layers.0.self_attn.q_proj": 17}],
    "revision": ["main"],
    "runtime_config": [{"ephemeral_gpu_offload": True}, {"ephemeral_gpu_offload": False}],
    "target_modules": [
        ["q_proj"], ["q_proj", "v_proj"], ["q_proj", "v_proj", "query_key_value"], ["query_key_value"], "all-linear",
        "ALL-LINEAR", r".*\.(q|v)_proj", r".*", ["model.layers.0.self_attn.q_proj"], ["norm"], ["mlp"], ["self_attn"],
        ["embed_tokens", "q_proj"], ["lm_head", "q_proj"], ["q_proj", "nothing", "neither"],
    ],
    "target_parameters": [["mlp.down_proj.weight"], ["nothing"]],
    "task_type": ["SEQ_CLS", "CAUSAL_LM", "FEATURE_EXTRACTION"],
    "trainable_token_indices": [[3, 5], {"embed_tokens": [3]}, {"lm_head": [3]}],
    "use_bdlora": [{"nblocks": 2}],
    "use_dora": [],
    "use_qalora": [],
    "use_rslora": [],
    "velora_config": [{"num_groups": 2}],
    "auto_mapping": [{"base_model_class": "LlamaForCausalLM", "parent_library": "transformers"}],
    "fan_in_fan_out": [],
    "inference_mode": [],
    "lora_bias": [],
    "a_key_of_the_future": [],
}


def config_changes(config: dict, everything: bool) -> list[dict]:
    """One key dropped, or set to another value or type."""
    changes = []
    for key in sorted(set(config) | set(POSSIBLE)):
        for value in (ANYTHING if everything else SOMETHING) + POSSIBLE.get(key, []):
            if value is DROPPED:
                if key in config:
                    changes.append({"key": key})
            else:
                changes.append({"key": key, "value": value})
    return changes


M = "base_model.model."
EMBED = M + "model.embed_tokens"
HEAD = M + "lm_head"
BASE_TABLE = "base:model.embed_tokens.weight"


def take(source: str, name: str, **more) -> dict:
    return {"take": source, "as": name} | more


def shift(name: str, row: int, by: float = 0.7) -> dict:
    return {"shift": name, "row": row, "by": by}


def case(name: str, adapter: str, base: str, outcome: str, tensors: list[dict], **more) -> dict:
    """`outcome`: "loads" where the engine must give PEFT's logits, "refused" where it says that it would not."""
    return {"name": name, "adapter": adapter, "base": base, "outcome": outcome, "tensors": tensors} | more


def moved(source: str, name: str) -> list[dict]:
    """The base's table under another name, with rows of tokens that the text has, and of others, changed."""
    return [take(source, name), *[shift(name, row) for row in (3, 5, 17, 200)]]


ROWS = [17, 3, 200, 60]
DELTA = EMBED + ".token_adapter.trainable_tokens_delta"
ROWS_TAKEN = [take(BASE_TABLE, DELTA, rows=ROWS), *[shift(DELTA, row) for row in range(4)]]
Q0 = M + "model.layers.0.self_attn.q_proj"
K0 = M + "model.layers.0.self_attn.k_proj"

TENSOR_CASES = [
    # base_layer.weight: the base's table under a pair.
    case("the base's own table under an embedding", "embedding", "llama", "loads", []),
    case("another table under an embedding, tied", "embedding", "llama", "loads", moved(BASE_TABLE, EMBED + ".base_layer.weight")),
    case("another table under a head, tied", "head-of-tied", "llama", "loads", moved(BASE_TABLE, HEAD + ".base_layer.weight")),
    case(
        "another table under a head, not tied",
        "head",
        "llama-bias",
        "loads",
        moved("base:lm_head.weight", HEAD + ".base_layer.weight"),
    ),
    case(
        "another table under a head with DoRA",
        "dora-bias",
        "llama-bias",
        "loads",
        moved("base:lm_head.weight", HEAD + ".base_layer.weight"),
    ),
    case("another table under Gemma's embedding", "gemma3", "gemma3", "loads", moved(BASE_TABLE, EMBED + ".base_layer.weight")),
    case(
        "tables under both pairs, equal",
        "head-and-embedding-tied",
        "llama",
        "loads",
        [*moved(BASE_TABLE, EMBED + ".base_layer.weight"), take(EMBED + ".base_layer.weight", HEAD + ".base_layer.weight")],
    ),
    case(
        "tables under both pairs, different",
        "head-and-embedding-tied",
        "llama",
        "refused",
        [take(BASE_TABLE, EMBED + ".base_layer.weight"), *moved(BASE_TABLE, HEAD + ".base_layer.weight")],
    ),
    case("a table under no pair", "plain", "llama", "refused", moved(BASE_TABLE, EMBED + ".base_layer.weight")),
    # save_embedding_layers: the base's tables beside modules that were saved.
    case("a table that nothing names, tied", "plain", "llama", "loads", moved(BASE_TABLE, EMBED + ".weight")),
    case(
        "both tables that nothing names, equal",
        "plain",
        "llama",
        "loads",
        [*moved(BASE_TABLE, EMBED + ".weight"), take(EMBED + ".weight", HEAD + ".weight")],
    ),
    case(
        "both tables that nothing names, different",
        "plain",
        "llama",
        "refused",
        [take(BASE_TABLE, EMBED + ".weight"), *moved(BASE_TABLE, HEAD + ".weight")],
    ),
    case("a head that nothing names, not tied", "bias-all", "llama-bias", "loads", moved("base:lm_head.weight", HEAD + ".weight")),
    case("an embedding that nothing names, not tied", "bias-all", "llama-bias", "loads", moved(BASE_TABLE, EMBED + ".weight")),
    case(
        "a saved embedding and the base's table for the head",
        "saved-embedding-of-tied",
        "llama",
        "loads",
        moved(BASE_TABLE, HEAD + ".weight"),
    ),
    case(
        "a saved head and the base's table for the embedding",
        "saved-head-of-tied",
        "llama",
        "loads",
        moved(BASE_TABLE, EMBED + ".weight"),
    ),
    case(
        "original_module of a saved embedding, tied",
        "saved-embedding-of-tied",
        "llama",
        "loads",
        [
            *moved(BASE_TABLE, EMBED + ".original_module.weight"),
            take(EMBED + ".original_module.weight", HEAD + ".weight"),
            take(EMBED + ".weight", EMBED + ".modules_to_save.weight"),
        ],
    ),
    case(
        "original_module of a saved head, tied",
        "saved-head-of-tied",
        "llama",
        "loads",
        moved(BASE_TABLE, HEAD + ".original_module.weight"),
    ),
    case(
        "original_module of a saved embedding, not tied",
        "saved-modules",
        "llama-bias",
        "loads",
        moved(BASE_TABLE, EMBED + ".original_module.weight"),
    ),
    case(
        "a second table of a saved embedding that differs",
        "saved-embedding-of-tied",
        "llama",
        "refused",
        moved(BASE_TABLE, EMBED + ".modules_to_save.weight"),
    ),
    case("original_module of no saved module", "plain", "llama", "refused", moved(BASE_TABLE, EMBED + ".original_module.weight")),
    # trainable_token_indices
    case("rows of a tied table", "plain", "llama", "loads", ROWS_TAKEN, config={"trainable_token_indices": ROWS}),
    case("rows of an embedding", "bias-all", "llama-bias", "loads", ROWS_TAKEN, config={"trainable_token_indices": ROWS}),
    case(
        "rows of an embedding, named",
        "bias-lora-only",
        "llama-bias",
        "loads",
        ROWS_TAKEN,
        config={"trainable_token_indices": {"embed_tokens": ROWS}},
    ),
    case("rows that the configuration lacks", "plain", "llama", "refused", ROWS_TAKEN),
    case(
        "fewer rows than indices",
        "plain",
        "llama",
        "refused",
        [take(BASE_TABLE, DELTA, rows=ROWS[:3])],
        config={"trainable_token_indices": ROWS},
    ),
    case(
        "a row twice",
        "plain",
        "llama",
        "refused",
        ROWS_TAKEN,
        config={"trainable_token_indices": [17, 3, 200, 3]},
    ),
    case(
        "a row beyond the vocabulary",
        "plain",
        "llama",
        "refused",
        ROWS_TAKEN,
        config={"trainable_token_indices": [17, 3, 200, 10_000]},
    ),
    # Biases: of base_layer where a pair lies on the module, plain elsewhere.
    case("a bias of a module with a pair, outside base_layer", "bias-all", "llama-bias", "refused", [take(Q0 + ".base_layer.bias", Q0 + ".bias")]),
    case("a bias in base_layer of a module without a pair", "bias-all", "llama-bias", "refused", [take(K0 + ".bias", K0 + ".base_layer.bias")]),
    # Weights of the base that nobody asked for.
    case("the base's own projection", "plain", "llama", "refused", [take("base:model.layers.0.self_attn.q_proj.weight", Q0 + ".base_layer.weight")]),
    # Activated: what is replaced holds from the first token on.
    case(
        "a table beside activation",
        "activated",
        "llama",
        "refused",
        moved(BASE_TABLE, EMBED + ".weight"),
    ),
    case(
        "the base's own table beside activation",
        "activated",
        "llama",
        "refused",
        [take(BASE_TABLE, EMBED + ".weight")],
    ),
    case(
        "a norm beside activation",
        "activated",
        "llama",
        "refused",
        [take("base:model.norm.weight", M + "model.norm.weight")],
        config={"modules_to_save": ["model.norm"]},
    ),
    # Names of target_modules that the base lacks.
    case(
        "targets that the base lacks",
        "saved-head-of-tied",
        "llama",
        "loads",
        [],
        config={"target_modules": ["v_proj", "query_key_value", "c_attn"]},
    ),
    case("no target that the base has", "saved-head-of-tied", "llama", "refused", [], config={"target_modules": ["c_attn"]}),
]
