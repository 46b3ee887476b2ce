"""Tiny random models of every family that capture supports, with attention that is far from uniform."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dashboard.capture.loader import LoadedModel, wrap_model

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = tuple(f"w{index}" for index in range(59))
VOCABULARY = len(SPECIAL) + len(WORDS)
LAYERS, HEADS, WIDTH = 2, 4, 32
PEAKED = (  # made larger: peaked attention
    *("query", "key", "q_proj", "k_proj", "q_lin", "k_lin", "qkv", "c_attn"),
    *("in_proj", "pos_proj", "pos_q_proj", "attn.q.", "attn.k."),
)
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


@dataclass(frozen=True)
class Tiny:
    """How one tiny model is made.

    Attributes:
        build: its class, without weights.
        config: its configuration.
        masked: whether it predicts masked tokens ([CLS] and [SEP] are then put around a text).
        layers, key_heads, windows, final_norm: what capture must find.
    """

    build: Callable[[Any], Any]
    config: Any
    masked: bool = False
    layers: int = LAYERS
    key_heads: int = HEADS
    windows: tuple[int | None, ...] = (None, None)
    final_norm: bool = True


def _common(**more: Any) -> dict[str, Any]:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    tokens = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return {**sizes, **tokens, "intermediate_size": 48, "max_position_embeddings": 64, **more}


def _grouped(**more: Any) -> dict[str, Any]:
    return _common(num_key_value_heads=2, head_dim=8, **more)


def _specs() -> dict[str, Tiny]:
    small = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    return {
        "gpt2": Tiny(
            hf.GPT2LMHeadModel,
            hf.GPT2Config(
                n_embd=WIDTH, n_layer=2, n_head=4, n_positions=64, scale_attn_by_inverse_layer_idx=True, **small
            ),
        ),
        "gpt_neox": Tiny(hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig(**_common(rotary_pct=0.5))),
        "opt": Tiny(
            hf.OPTForCausalLM,
            hf.OPTConfig(
                hidden_size=WIDTH,
                ffn_dim=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=64,
                word_embed_proj_dim=16,
                **small,
            ),
        ),
        "opt_post_norm": Tiny(
            hf.OPTForCausalLM,
            hf.OPTConfig(
                hidden_size=WIDTH,
                ffn_dim=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=64,
                word_embed_proj_dim=16,
                do_layer_norm_before=False,
                **small,
            ),
            final_norm=False,
        ),
        "llama": Tiny(hf.LlamaForCausalLM, hf.LlamaConfig(**_grouped()), key_heads=2),
        "mistral": Tiny(
            hf.MistralForCausalLM, hf.MistralConfig(**_grouped(sliding_window=7)), key_heads=2, windows=(7, 7)
        ),
        "qwen3": Tiny(hf.Qwen3ForCausalLM, hf.Qwen3Config(**_grouped()), key_heads=2),
        "phi": Tiny(hf.PhiForCausalLM, hf.PhiConfig(**_common())),
        "cohere": Tiny(
            hf.CohereForCausalLM, hf.CohereConfig(**_common(num_key_value_heads=2, logit_scale=0.3)), key_heads=2
        ),
        "granite": Tiny(
            hf.GraniteForCausalLM,
            hf.GraniteConfig(**_common(num_key_value_heads=2, logits_scaling=3.0, attention_multiplier=0.5)),
            key_heads=2,
        ),
        "gemma2": Tiny(
            hf.Gemma2ForCausalLM,
            hf.Gemma2Config(
                **_grouped(
                    sliding_window=9, attn_logit_softcapping=2.0, final_logit_softcapping=5.0, query_pre_attn_scalar=8
                )
            ),
            key_heads=2,
            windows=(9, None),
        ),
        "gpt_oss": Tiny(
            hf.GptOssForCausalLM,
            hf.GptOssConfig(
                **_grouped(sliding_window=8, num_local_experts=2, num_experts_per_tok=1, rope_parameters=ROPE)
            ),
            key_heads=2,
            windows=(8, None),
        ),
        "bert": Tiny(hf.BertForMaskedLM, hf.BertConfig(**_common()), masked=True, final_norm=False),
        "roberta": Tiny(hf.RobertaForMaskedLM, hf.RobertaConfig(**_common()), masked=True, final_norm=False),
        "distilbert": Tiny(
            hf.DistilBertForMaskedLM,
            hf.DistilBertConfig(
                vocab_size=VOCABULARY, dim=WIDTH, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=64
            ),
            masked=True,
            final_norm=False,
        ),
        "albert": Tiny(
            hf.AlbertForMaskedLM,
            hf.AlbertConfig(**_common(num_hidden_layers=3, embedding_size=16)),
            masked=True,
            layers=3,
            windows=(None, None, None),
            final_norm=False,
        ),
        "electra": Tiny(
            hf.ElectraForMaskedLM, hf.ElectraConfig(**_common(embedding_size=16)), masked=True, final_norm=False
        ),
        "modernbert": Tiny(
            hf.ModernBertForMaskedLM,
            hf.ModernBertConfig(
                **_common(
                    cls_token_id=2,
                    sep_token_id=3,
                    local_attention=8,
                    layer_types=["full_attention", "sliding_attention"],
                )
            ),
            masked=True,
            windows=(None, 4),
        ),
    }


def _own_attention() -> dict[str, Tiny]:
    """Families with their own attention code."""
    gpt = {"n_embd": WIDTH, "n_layer": 2, "n_head": 4, "n_positions": 64}
    ends = {"vocab_size": VOCABULARY, "bos_token_id": 2, "eos_token_id": 3}
    relative = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
    return {
        "deberta": Tiny(hf.DebertaForMaskedLM, hf.DebertaConfig(**_common(**relative)), masked=True, final_norm=False),
        "deberta_own_head": Tiny(
            hf.DebertaForMaskedLM, hf.DebertaConfig(**_common(**relative, legacy=False)), masked=True, final_norm=False
        ),
        "deberta_v2": Tiny(  # with all that v2 and v3 may have: buckets, shared keys, a convolution beside layer 0
            hf.DebertaV2ForMaskedLM,
            hf.DebertaV2Config(
                **_common(
                    **relative,
                    position_buckets=8,
                    share_att_key=True,
                    norm_rel_ebd="layer_norm",
                    conv_kernel_size=3,
                    conv_act="gelu",
                    position_biased_input=False,
                    legacy=False,
                )
            ),
            masked=True,
            final_norm=False,
        ),
        "mpnet": Tiny(
            hf.MPNetForMaskedLM,
            hf.MPNetConfig(**{**_common(), "max_position_embeddings": 66, "pad_token_id": 1}),
            masked=True,
            final_norm=False,
        ),
        "roformer": Tiny(
            hf.RoFormerForMaskedLM,
            hf.RoFormerConfig(**_common(embedding_size=16, rotary_value=True)),
            masked=True,
            final_norm=False,
        ),
        "rembert": Tiny(
            hf.RemBertForMaskedLM,
            hf.RemBertConfig(**_common(input_embedding_size=16, output_embedding_size=24)),
            masked=True,
            final_norm=False,
        ),
        "megatron_bert": Tiny(hf.MegatronBertForMaskedLM, hf.MegatronBertConfig(**_common()), masked=True),
        "gpt_neo": Tiny(
            hf.GPTNeoForCausalLM,
            hf.GPTNeoConfig(
                hidden_size=WIDTH,
                num_layers=2,
                num_heads=4,
                intermediate_size=48,
                max_position_embeddings=64,
                attention_types=[[["global", "local"], 1]],
                window_size=7,
                **ends,
            ),
            windows=(None, 7),
        ),
        "gptj": Tiny(hf.GPTJForCausalLM, hf.GPTJConfig(**gpt, rotary_dim=4, **ends)),
        "codegen": Tiny(hf.CodeGenForCausalLM, hf.CodeGenConfig(**gpt, rotary_dim=4, **ends)),
        "bloom": Tiny(hf.BloomForCausalLM, hf.BloomConfig(hidden_size=WIDTH, n_layer=2, n_head=4, **ends)),
        "falcon": Tiny(hf.FalconForCausalLM, hf.FalconConfig(**_common(num_kv_heads=2, new_decoder_architecture=True))),
        "falcon_alibi": Tiny(
            hf.FalconForCausalLM,
            hf.FalconConfig(**_common(alibi=True, multi_query=False, parallel_attn=False, bias=True)),
        ),
        "mpt": Tiny(hf.MptForCausalLM, hf.MptConfig(d_model=WIDTH, n_layers=2, n_heads=4, max_seq_len=64, **ends)),
        "xglm": Tiny(
            hf.XGLMForCausalLM,
            hf.XGLMConfig(
                d_model=WIDTH,
                num_layers=2,
                attention_heads=4,
                ffn_dim=48,
                max_position_embeddings=64,
                pad_token_id=0,
                **ends,
            ),
        ),
    }


OWN = tuple(_own_attention())  # their weights are stored, because there is no query and key
NAMES = (*_specs(), *OWN)


def spec(name: str) -> Tiny:
    """How the tiny model `name` is made."""
    return {**_specs(), **_own_attention()}[name]


def tiny(name: str) -> LoadedModel:
    """The tiny model `name`, as loaded; the same weights every time."""
    made = spec(name)
    eager = name in ("gpt_oss", "gemma2", *OWN) and not name.startswith("falcon")
    model = randomised(made.build(_config(made, "eager" if eager else "sdpa")))
    loaded = wrap_model(model, tokenizer(made.masked), f"tiny-{name}", title=f"Tiny {name}", fingerprint=name * 3)
    if loaded.info.layers != made.layers or loaded.info.heads != HEADS or loaded.info.parameters > 100_000:
        raise AssertionError(f"{loaded.info} is not the tiny model that was asked for.")
    return loaded


def eager_twin(name: str, loaded: LoadedModel) -> Any:
    """The same weights in a model of its own that Hugging Face runs eagerly."""
    made = spec(name)
    model = made.build(_config(made, "eager"))
    model.load_state_dict(loaded.model.state_dict())
    return model.eval()


def _config(made: Tiny, implementation: str) -> Any:
    config = copy.deepcopy(made.config)
    config._attn_implementation = implementation
    return config


def randomised(model: Any, seed: int = 0) -> Any:
    """The model with weights large enough for peaked attention, none of them at a special value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("embed_positions.weight") and not parameter.requires_grad:
                continue  # RoFormer's sines and cosines
            if parameter.ndim == 1:
                parameter.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise * (0.5 if any(word in name for word in PEAKED) else 0.17))
    return model.eval()


def tokenizer(around: bool) -> hf.PreTrainedTokenizerFast:
    """Whole words w0, w1, … as tokens; with [CLS] and [SEP] around a text, or as it is."""
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if around:
        raw.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"} if around else {}
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def adapter_of(model: Any, folder: Path, base: str, **config: Any) -> Path:
    """Save a random LoRA of a model, which this changes; `base` is what its settings call the base."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft has to say of resized and tied embeddings
        adapted = peft.get_peft_model(
            model, peft.LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["c_attn"], **config})
        )
        torch.manual_seed(3)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data += 0.2 * torch.randn_like(parameter)
        resized = model.config.vocab_size != VOCABULARY
        adapted.save_pretrained(folder, save_embedding_layers=resized or "auto")
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": base}))
    return folder


def words(count: int, seed: int = 1) -> str:
    """A text of `count` words, with repeats."""
    generator = torch.Generator().manual_seed(seed)
    return " ".join(WORDS[i] for i in torch.randint(len(WORDS), (count,), generator=generator).tolist())
