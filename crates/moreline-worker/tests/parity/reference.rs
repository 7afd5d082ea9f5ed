//! The unshared, unpacked computation: one sequence at a time, plain operators
//! in fp64, gradients by autograd through the whole graph. It shares nothing
//! with the worker but the reading of files.
//!
//! Shape letters: L tokens of a sequence, H hidden size, N query heads, K key
//! and value heads, D head size.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::path::Path;

use moreline_formats::model_config::{Activation, RopeScaling};
use moreline_formats::{ModelConfig, WeightStore};
use tch::{Device, Kind, Tensor};

/// A model as a bag of named fp64 leaves.
pub(crate) struct Reference {
    config: ModelConfig,
    parameters: BTreeMap<String, Tensor>,
}

/// What a sequence leaves behind.
pub(crate) struct States {
    /// After the final norm, `[L, H]`.
    pub(crate) hidden: Tensor,
    /// Per layer: keys after the rotation and values, each `[L, K, D]`.
    pub(crate) cached: Vec<[Tensor; 2]>,
}

impl Reference {
    pub(crate) fn open(dir: &Path) -> Self {
        let store = WeightStore::open(dir).unwrap();
        let mut reference = Self {
            config: ModelConfig::load(dir).unwrap(),
            parameters: BTreeMap::new(),
        };
        assert_eq!(reference.config.rope.scaling, RopeScaling::None);
        for info in store.names() {
            let shape: Vec<i64> = info.shape.iter().map(|&n| n as i64).collect();
            let values = store.read(&info.name).unwrap().data.into_f32();
            reference.put(&info.name, &Tensor::from_slice(&values).view(&shape[..]));
        }
        reference
    }

    /// Adds a parameter.
    pub(crate) fn put(&mut self, name: &str, values: &Tensor) {
        let leaf = values.to_kind(Kind::Double).set_requires_grad(true);
        self.parameters.insert(name.into(), leaf);
    }

    pub(crate) fn parameter(&self, name: &str) -> &Tensor {
        let found = self.parameters.get(name);
        found.unwrap_or_else(|| panic!("there is no `{name}`"))
    }

    /// The gradient of what went backward; zero where nothing arrived.
    pub(crate) fn gradient(&self, name: &str) -> Tensor {
        let parameter = self.parameter(name);
        let gradient = parameter.grad();
        if gradient.defined() {
            gradient
        } else {
            parameter.zeros_like().detach()
        }
    }

    /// Fails unless `found` `[numel]` is the gradient of a parameter within
    /// `tolerance` of its largest entry, or of a tenth of the largest entry of
    /// all: where the pairs' shares cancel out (a final bias moves both rewards
    /// alike) its own is nothing.
    pub(crate) fn assert_gradient(&self, name: &str, found: &Tensor, tolerance: f64) {
        let largest = |name: &String| self.gradient(name).abs().max().double_value(&[]);
        let whole = self.parameters.keys().map(largest).fold(0.0, f64::max);
        let expected = self.gradient(name).view([-1]);
        let own = expected.abs().max().double_value(&[]);
        assert_within(found, &expected, tolerance * own.max(0.1 * whole), name);
    }

    fn llama(&self) -> bool {
        self.config.architecture.is_llama_family()
    }

    pub(crate) fn states(&self, tokens: &[u32]) -> States {
        let ids: Vec<i64> = tokens.iter().map(|&id| id.into()).collect();
        let embedding = if self.llama() {
            "model.embed_tokens.weight"
        } else {
            "gpt_neox.embed_in.weight"
        };
        let mut x = self
            .parameter(embedding)
            .index_select(0, &Tensor::from_slice(&ids));
        let mut cached = Vec::new();
        for layer in 0..self.config.layers {
            let (next, keys_and_values) = if self.llama() {
                self.llama_block(layer, &x)
            } else {
                self.neox_block(layer, &x)
            };
            x = next;
            cached.push(keys_and_values);
        }
        let hidden = if self.llama() {
            self.rms_norm("model.norm", &x)
        } else {
            self.layer_norm("gpt_neox.final_layer_norm", &x)
        };
        States { hidden, cached }
    }

    /// Log-probabilities of every next token, `[L - 1]`.
    pub(crate) fn logprobs(&self, tokens: &[u32]) -> Tensor {
        let head = match (self.config.tied, self.llama()) {
            (true, _) => "model.embed_tokens",
            (false, true) => "lm_head",
            (false, false) => "embed_out",
        };
        let count = tokens.len() as i64 - 1;
        let hidden = self.states(tokens).hidden.narrow(0, 0, count);
        let labels: Vec<i64> = tokens[1..].iter().map(|&id| id.into()).collect();
        let logits = self.linear(head, &hidden);
        let top = logits.logsumexp([-1i64].as_slice(), true);
        let labels = Tensor::from_slice(&labels).unsqueeze(1);
        (logits - top).gather(1, &labels, false).squeeze_dim(1)
    }

    fn linear(&self, name: &str, x: &Tensor) -> Tensor {
        let product = x.matmul(&self.parameter(&format!("{name}.weight")).tr());
        match self.parameters.get(&format!("{name}.bias")) {
            Some(bias) => product + bias,
            None => product,
        }
    }

    fn rms_norm(&self, name: &str, x: &Tensor) -> Tensor {
        let mean_square = (x * x).mean_dim([-1i64].as_slice(), true, Kind::Double);
        let scaled = x / (mean_square + self.config.norm_eps).sqrt();
        scaled * self.parameter(&format!("{name}.weight"))
    }

    fn layer_norm(&self, name: &str, x: &Tensor) -> Tensor {
        let last = [-1i64];
        let centred = x - x.mean_dim(last.as_slice(), true, Kind::Double);
        let variance = (&centred * &centred).mean_dim(last.as_slice(), true, Kind::Double);
        let scaled = centred / (variance + self.config.norm_eps).sqrt();
        scaled * self.parameter(&format!("{name}.weight")) + self.parameter(&format!("{name}.bias"))
    }

    fn activate(&self, x: &Tensor) -> Tensor {
        match self.config.activation {
            Activation::Silu => x * x.sigmoid(),
            Activation::Gelu => x * ((x / 2f64.sqrt()).erf() + 1.0) * 0.5,
            Activation::GeluTanh => {
                let inner = (x + x.pow_tensor_scalar(3) * 0.044715) * (2.0 / PI).sqrt();
                x * (inner.tanh() + 1.0) * 0.5
            }
        }
    }

    /// Rotates `x` `[L, heads, D]` by its row.
    fn rotate(&self, x: &Tensor) -> Tensor {
        let rope = &self.config.rope;
        let (length, half) = (x.size()[0], rope.dims as i64 / 2);
        let angle =
            |row: i64, i: i64| row as f64 * rope.theta.powf(-2.0 * i as f64 / rope.dims as f64);
        let angles: Vec<f64> = (0..length)
            .flat_map(|row| (0..half).map(move |i| (row, i)))
            .map(|(row, i)| angle(row, i))
            .collect();
        let angles = Tensor::from_slice(&angles).view([length, 1, half]);
        let (cos, sin) = (angles.cos(), angles.sin());
        let (a, b) = (x.narrow(2, 0, half), x.narrow(2, half, half));
        let rest = x.narrow(2, 2 * half, x.size()[2] - 2 * half);
        Tensor::cat(&[&a * &cos - &b * &sin, &b * &cos + &a * &sin, rest], 2)
    }

    /// Softmax attention of `[L, N, D]` on `[L, K, D]`, causal: `[L, N * D]`.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let (length, heads, size) = q.size3().unwrap();
        let repeat = heads / k.size()[1];
        let spread = |x: &Tensor| {
            x.transpose(0, 1)
                .repeat_interleave_self_int(repeat, 0, heads)
        };
        let scores = q.transpose(0, 1).matmul(&spread(k).transpose(1, 2)) / (size as f64).sqrt();
        let future = Tensor::ones([length, length], (Kind::Bool, Device::Cpu)).triu(1);
        let scores = scores.masked_fill(&future, f64::NEG_INFINITY);
        let attended = scores.softmax(-1, Kind::Double).matmul(&spread(v));
        attended.transpose(0, 1).reshape([length, heads * size])
    }

    fn llama_block(&self, layer: usize, x: &Tensor) -> (Tensor, [Tensor; 2]) {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let size = self.config.head_dim as i64;
        let h = self.rms_norm(&name("input_layernorm"), x);
        let project = |part: &str| {
            let out = self.linear(&name(&format!("self_attn.{part}_proj")), &h);
            out.view([x.size()[0], -1, size])
        };
        let (q, k, v) = (
            self.rotate(&project("q")),
            self.rotate(&project("k")),
            project("v"),
        );
        let attended = self.attend(&q, &k, &v);
        let x = x + self.linear(&name("self_attn.o_proj"), &attended);
        let h = self.rms_norm(&name("post_attention_layernorm"), &x);
        let gate = self.activate(&self.linear(&name("mlp.gate_proj"), &h));
        let up = self.linear(&name("mlp.up_proj"), &h);
        let x = x + self.linear(&name("mlp.down_proj"), &(gate * up));
        (x, [k, v])
    }

    fn neox_block(&self, layer: usize, x: &Tensor) -> (Tensor, [Tensor; 2]) {
        let name = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
        let (heads, size) = (self.config.heads as i64, self.config.head_dim as i64);
        let h = self.layer_norm(&name("input_layernorm"), x);
        let qkv = self.linear(&name("attention.query_key_value"), &h);
        let parts = qkv.view([x.size()[0], heads, 3 * size]).chunk(3, 2);
        let (q, k) = (self.rotate(&parts[0]), self.rotate(&parts[1]));
        let v = parts[2].shallow_clone();
        let attended = self.linear(&name("attention.dense"), &self.attend(&q, &k, &v));
        let mlp = |input: &Tensor| {
            let h = self.layer_norm(&name("post_attention_layernorm"), input);
            let h = self.activate(&self.linear(&name("mlp.dense_h_to_4h"), &h));
            self.linear(&name("mlp.dense_4h_to_h"), &h)
        };
        let x = if self.config.parallel_residual {
            x + &attended + mlp(x)
        } else {
            let x = x + &attended;
            mlp(&x) + &x
        };
        (x, [k, v])
    }
}

/// Fails unless `found` is `expected` within `tolerance` of its largest entry.
pub(crate) fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    if expected.numel() > 0 {
        let largest = expected.abs().max().double_value(&[]);
        assert_within(found, expected, tolerance * largest, what);
    }
}

fn assert_within(found: &Tensor, expected: &Tensor, most: f64, what: &str) {
    let found = found.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    assert_eq!(found.size(), expected.size(), "{what}");
    let error = (found - expected.detach()).abs().max().double_value(&[]);
    assert!(
        error <= most,
        "{what}: off by {error:.1e}, where {most:.1e} is allowed"
    );
}
