//! The LLaMA family: Llama 1-3, Mistral, Qwen2, SmolLM2.

use moreline_formats::ModelConfig;
use moreline_formats::model_config::Activation;
use tch::Tensor;

use super::adapter::Weight;
use super::layers::{Attend, Heads, Rotary, activate, rms_norm, rms_norm_linear, swiglu_linear};
use super::layout::{Segment, View};

/// The parameters of block `layer`, in the order [`block`] reads them.
pub(super) fn block_segment(config: &ModelConfig, layer: usize) -> Segment {
    let hidden = config.hidden_size as i64;
    let inner = config.intermediate_size as i64;
    let q = (config.heads * config.head_dim) as i64;
    let kv = (config.kv_heads * config.head_dim) as i64;
    let name = |part: &str| format!("model.layers.{layer}.{part}");
    let qkv = [("q", q), ("k", kv), ("v", kv)];
    let mut views = vec![
        View::single(name("input_layernorm.weight"), &[hidden]),
        View::stacked(qkv.map(|(letter, rows)| {
            (
                name(&format!("self_attn.{letter}_proj.weight")),
                vec![rows, hidden],
            )
        })),
        View::single(name("self_attn.o_proj.weight"), &[hidden, q]),
        View::single(name("post_attention_layernorm.weight"), &[hidden]),
        View::stacked(["gate", "up"].map(|part| {
            (
                name(&format!("mlp.{part}_proj.weight")),
                vec![inner, hidden],
            )
        })),
        View::single(name("mlp.down_proj.weight"), &[hidden, inner]),
    ];
    if config.qkv_bias {
        views.push(View::stacked(qkv.map(|(letter, rows)| {
            (name(&format!("self_attn.{letter}_proj.bias")), vec![rows])
        })));
    }
    if config.attention_output_bias {
        views.push(View::single(name("self_attn.o_proj.bias"), &[hidden]));
    }
    if config.mlp_bias {
        views.push(View::stacked(
            ["gate", "up"].map(|part| (name(&format!("mlp.{part}_proj.bias")), vec![inner])),
        ));
        views.push(View::single(name("mlp.down_proj.bias"), &[hidden]));
    }
    Segment { views }
}

/// The final norm.
pub(super) fn norm_segment(config: &ModelConfig) -> Segment {
    Segment {
        views: vec![View::single(
            "model.norm.weight",
            &[config.hidden_size as i64],
        )],
    }
}

/// One block on `x` `[T, H]`.
pub(super) fn block(
    config: &ModelConfig,
    layer: usize,
    parameters: &[Weight],
    x: &Tensor,
    rotary: &Rotary,
    attention: &dyn Attend,
) -> Tensor {
    let [norm1, qkv, out, norm2, gate_up, down, biases @ ..] = parameters else {
        unreachable!("a block has six weights");
    };
    let mut biases = biases.iter();
    let mut bias = |present: bool| if present { biases.next() } else { None };
    let qkv_bias = bias(config.qkv_bias);
    let out_bias = bias(config.attention_output_bias);
    let gate_up_bias = bias(config.mlp_bias);
    let down_bias = bias(config.mlp_bias);

    let heads = Heads {
        queries: config.heads as i64,
        keys: config.kv_heads as i64,
        size: config.head_dim as i64,
    };
    let qkv = rms_norm_linear(x, (norm1, config.norm_eps), qkv, qkv_bias);
    let attended = attention.attend_fused(layer, &qkv, heads, rotary);
    let x = x + out.apply(&attended, out_bias);
    let gate_up = rms_norm_linear(&x, (norm2, config.norm_eps), gate_up, gate_up_bias);
    let y = match config.activation {
        Activation::Silu => swiglu_linear(&gate_up, down, down_bias),
        other => {
            let halves = gate_up.chunk(2, 1);
            down.apply(&(activate(&halves[0], other) * &halves[1]), down_bias)
        }
    };
    x + y
}

/// The final norm on `[.., H]`.
pub(super) fn norm(config: &ModelConfig, parameters: &[Tensor], x: &Tensor) -> Tensor {
    rms_norm(x, &parameters[0], config.norm_eps)
}
