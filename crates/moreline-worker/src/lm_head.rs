//! Next-token log-probabilities at chosen positions, a few at a time.
//!
//! Logits exist for `CHUNK` positions at once, so memory does not grow with
//! the batch, and the LM head is never applied where no label is.

use tch::{Kind, Tensor, no_grad};

/// Bytes of one chunk's fp32 logits: 256 positions of 49k tokens.
const CHUNK_BYTES: i64 = 50 << 20;

/// Positions whose logits exist at once, for a vocabulary of this size. At most
/// two fp32 matrices of that many rows are alive together.
fn chunk_rows(vocabulary: i64) -> i64 {
    (CHUNK_BYTES / (4 * vocabulary.max(1))).clamp(1, 256)
}

/// Log-probabilities `[R]` (nats, fp32) of `labels` `[R]` after the normed
/// hidden states `x` `[R, H]`, with the head's matrix `[V, H]` in the dtype of `x`.
pub fn log_probabilities(x_rh: &Tensor, head_vh: &Tensor, labels_r: &Tensor) -> Tensor {
    let rows = x_rh.size()[0];
    let most = chunk_rows(head_vh.size()[0]);
    let chunk = |start: i64| {
        let len = most.min(rows - start);
        let logits = logits(&x_rh.narrow(0, start, len), head_vh);
        let log_softmax = logits.log_softmax(-1, Kind::Float);
        let labels = labels_r.narrow(0, start, len).unsqueeze(1);
        log_softmax.gather(1, &labels, false).squeeze_dim(1)
    };
    let parts: Vec<Tensor> = no_grad(|| (0..rows).step_by(most as usize).map(chunk).collect());
    Tensor::cat(&parts, 0)
}

/// fp32 logits `[R, V]`.
fn logits(x: &Tensor, head_vh: &Tensor) -> Tensor {
    x.linear(head_vh, None::<&Tensor>).to_kind(Kind::Float)
}

/// Loss and gradients of a language-model head.
#[derive(Debug)]
pub struct HeadLoss {
    /// Summed negative log-probability of the labels, in nats.
    pub loss: f64,
    /// Gradient of `scale * loss` with respect to `x`, `[R, H]`, dtype of `x`.
    pub grad_x: Tensor,
    /// The same for the head's matrix, `[V, H]`, fp32; absent if not wanted.
    pub grad_head: Option<Tensor>,
}

/// Labels of a language-model loss.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// The tokens `[R]`, int64.
    pub tokens: &'a Tensor,
    /// Share of each label's probability spread evenly over the vocabulary, as
    /// torch's `label_smoothing`.
    pub smoothing: f64,
}

/// Cross-entropy with targets q = (1 - smoothing) onehot + smoothing / V, and its
/// gradients in closed form: d loss / d logits = softmax - q.
pub fn cross_entropy(
    x_rh: &Tensor,
    head_vh: &Tensor,
    labels: Labels<'_>,
    scale: f64,
    wants_head: bool,
) -> HeadLoss {
    let (rows, vocabulary) = (x_rh.size()[0], head_vh.size()[0]);
    let most = chunk_rows(vocabulary);
    no_grad(|| {
        let mut loss = 0.0;
        let mut grads_x = Vec::new();
        let options = (Kind::Float, head_vh.device());
        let mut grad_head = wants_head.then(|| Tensor::zeros(head_vh.size(), options));
        for start in (0..rows).step_by(most as usize) {
            let len = most.min(rows - start);
            let x = x_rh.narrow(0, start, len);
            let chunk = Labels {
                tokens: &labels.tokens.narrow(0, start, len).unsqueeze(1),
                ..labels
            };
            let (summed, grad) = chunk_loss(logits(&x, head_vh), chunk, scale);
            loss += summed;
            let grad = grad.to_kind(x.kind());
            if let Some(sum) = &mut grad_head {
                let _ = sum.g_add_(&grad.tr().matmul(&x));
            }
            grads_x.push(grad.matmul(head_vh));
        }
        HeadLoss {
            loss,
            grad_x: Tensor::cat(&grads_x, 0),
            grad_head,
        }
    })
}

/// The summed loss of a chunk with `logits` `[R, V]` and labels `[R, 1]`, and
/// `scale` times its gradient `[R, V]`.
fn chunk_loss(logits: Tensor, labels: Labels<'_>, scale: f64) -> (f64, Tensor) {
    let mut log_softmax = logits.log_softmax(-1, Kind::Float);
    drop(logits);
    let vocabulary = log_softmax.size()[1] as f64;
    let kept = 1.0 - labels.smoothing;
    let sum = |t: &Tensor| t.sum(Kind::Double).double_value(&[]);
    let mut loss = -kept * sum(&log_softmax.gather(1, labels.tokens, false));
    if labels.smoothing > 0.0 {
        loss -= labels.smoothing * sum(&log_softmax) / vocabulary;
    }
    let mut grad = log_softmax.exp_();
    if labels.smoothing > 0.0 {
        let _ = grad.g_sub_scalar_(labels.smoothing / vocabulary);
    }
    let hot = Tensor::full(labels.tokens.size(), -kept, (Kind::Float, grad.device()));
    let _ = grad.scatter_add_(1, labels.tokens, &hot);
    (loss, grad.g_mul_scalar_(scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn against_autograd(smoothing: f64) {
        tch::manual_seed(3);
        let kind = (Kind::Float, Device::Cpu);
        let x = Tensor::randn([300, 12], kind).set_requires_grad(true);
        let head = Tensor::randn([50, 12], kind).set_requires_grad(true);
        let labels = Tensor::randint(50, [300], (Kind::Int64, Device::Cpu));
        let expected = x.linear(&head, None::<&Tensor>).cross_entropy_loss(
            &labels,
            None::<&Tensor>,
            tch::Reduction::Sum,
            -100,
            smoothing,
        );
        (&expected * 0.5).backward();
        let given = Labels {
            tokens: &labels,
            smoothing,
        };
        let found = cross_entropy(&x.detach(), &head.detach(), given, 0.5, true);
        assert!((found.loss - expected.double_value(&[])).abs() < 1e-2);
        let close = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]) < 1e-4;
        assert!(close(&found.grad_x, &x.grad()));
        assert!(close(&found.grad_head.unwrap(), &head.grad()));
        if smoothing == 0.0 {
            let sum = log_probabilities(&x.detach(), &head.detach(), &labels).sum(Kind::Double);
            assert!((sum.double_value(&[]) + found.loss).abs() < 1e-2);
        }
    }

    #[test]
    fn closed_form_gradients_equal_autograd() {
        against_autograd(0.0);
    }

    #[test]
    fn smoothed_labels_too() {
        against_autograd(0.1);
        against_autograd(0.9);
    }

    /// Two fp32 matrices and one in bf16 of a chunk, and the head's gradient in
    /// fp32 with a chunk's share of it in bf16.
    #[test]
    fn logits_stay_within_300_megabytes() {
        for (vocabulary, hidden) in [(49_152, 576), (50_304, 512), (32_000, 2048)] {
            let rows = chunk_rows(vocabulary);
            assert!(rows >= 128);
            let chunk = rows * vocabulary * (4 + 4 + 2);
            let head = vocabulary * hidden * (4 + 2);
            assert!(chunk <= 140_000_000, "{chunk}");
            assert!(chunk + if hidden < 1024 { head } else { 0 } < 300_000_000);
        }
        assert_eq!(chunk_rows(1_000_000_000), 1);
    }
}
