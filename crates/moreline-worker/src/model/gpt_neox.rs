//! GPT-NeoX: Pythia.

use moreline_formats::ModelConfig;
use tch::Tensor;

use super::adapter::Weight;
use super::layers::{Attend, Rotary, activate, layer_norm};
use super::layout::{Segment, View};

/// The parameters of block `layer`, in the order [`block`] reads them.
pub(super) fn block_segment(config: &ModelConfig, layer: usize) -> Segment {
    let hidden = config.hidden_size as i64;
    let inner = config.intermediate_size as i64;
    let name = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
    let mut views = vec![
        View::single(name("input_layernorm.weight"), &[hidden]),
        View::single(name("input_layernorm.bias"), &[hidden]),
        View::single(name("post_attention_layernorm.weight"), &[hidden]),
        View::single(name("post_attention_layernorm.bias"), &[hidden]),
        View::single(
            name("attention.query_key_value.weight"),
            &[3 * hidden, hidden],
        ),
        View::single(name("attention.dense.weight"), &[hidden, hidden]),
        View::single(name("mlp.dense_h_to_4h.weight"), &[inner, hidden]),
        View::single(name("mlp.dense_h_to_4h.bias"), &[inner]),
        View::single(name("mlp.dense_4h_to_h.weight"), &[hidden, inner]),
        View::single(name("mlp.dense_4h_to_h.bias"), &[hidden]),
    ];
    if config.qkv_bias {
        views.push(View::single(
            name("attention.query_key_value.bias"),
            &[3 * hidden],
        ));
    }
    if config.attention_output_bias {
        views.push(View::single(name("attention.dense.bias"), &[hidden]));
    }
    Segment { views }
}

/// The final norm.
pub(super) fn norm_segment(config: &ModelConfig) -> Segment {
    let hidden = config.hidden_size as i64;
    Segment {
        views: vec![
            View::single("gpt_neox.final_layer_norm.weight", &[hidden]),
            View::single("gpt_neox.final_layer_norm.bias", &[hidden]),
        ],
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
    let [
        norm1,
        norm1_bias,
        norm2,
        norm2_bias,
        qkv,
        out,
        up,
        up_bias,
        down,
        down_bias,
        biases @ ..,
    ] = parameters
    else {
        unreachable!("a block has ten parameters");
    };
    let mut biases = biases.iter();
    let qkv_bias = if config.qkv_bias { biases.next() } else { None };
    let out_bias = if config.attention_output_bias {
        biases.next()
    } else {
        None
    };

    let (heads, head) = (config.heads as i64, config.head_dim as i64);
    let h = qkv.apply(&layer_norm(x, norm1, norm1_bias, config.norm_eps), qkv_bias);
    // Rows are ordered head by head, query, key and value within each.
    let h = h.view([-1, heads, 3 * head]);
    let attended = attention.attend(
        layer,
        &rotary.apply(&h.narrow(2, 0, head)),
        &rotary.apply(&h.narrow(2, head, head)),
        &h.narrow(2, 2 * head, head),
    );
    let attended = out.apply(&attended, out_bias);
    let mlp = |input: &Tensor| {
        let h = layer_norm(input, norm2, norm2_bias, config.norm_eps);
        let h = activate(&up.apply(&h, Some(up_bias)), config.activation);
        down.apply(&h, Some(down_bias))
    };
    if config.parallel_residual {
        mlp(x) + attended + x
    } else {
        let x = x + attended;
        mlp(&x) + x
    }
}

/// The final norm on `[.., H]`.
pub(super) fn norm(config: &ModelConfig, parameters: &[Tensor], x: &Tensor) -> Tensor {
    layer_norm(x, &parameters[0], &parameters[1], config.norm_eps)
}
