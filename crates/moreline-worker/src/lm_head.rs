//! Next-token log-probabilities at chosen positions, a few at a time.
//!
//! Logits exist for `CHUNK` positions at once, so memory does not grow with
//! the batch, and the LM head is never applied where no label is.

use tch::{Kind, Tensor, no_grad};

/// Positions whose logits exist at once: 50 MB in fp32 for 49k tokens.
const CHUNK: i64 = 256;

/// Log-probabilities `[R]` (nats, fp32) of `labels` `[R]` after the normed
/// hidden states `x` `[R, H]`, with the head's matrix `[V, H]` in the dtype of `x`.
pub fn log_probabilities(x_rh: &Tensor, head_vh: &Tensor, labels_r: &Tensor) -> Tensor {
    let rows = x_rh.size()[0];
    let chunk = |start: i64| {
        let len = CHUNK.min(rows - start);
        let logits = x_rh.narrow(0, start, len).linear(head_vh, None::<&Tensor>);
        let log_softmax = logits.to_kind(Kind::Float).log_softmax(-1, Kind::Float);
        let labels = labels_r.narrow(0, start, len).unsqueeze(1);
        log_softmax.gather(1, &labels, false).squeeze_dim(1)
    };
    let parts: Vec<Tensor> = no_grad(|| (0..rows).step_by(CHUNK as usize).map(chunk).collect());
    Tensor::cat(&parts, 0)
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

/// Cross-entropy of `labels` `[R]` and its gradients in closed form:
/// d loss / d logits = softmax - onehot.
pub fn cross_entropy(
    x_rh: &Tensor,
    head_vh: &Tensor,
    labels_r: &Tensor,
    scale: f64,
    wants_head: bool,
) -> HeadLoss {
    no_grad(|| {
        let rows = x_rh.size()[0];
        let mut loss = 0.0;
        let mut grads_x = Vec::new();
        let mut grad_head: Option<Tensor> = None;
        for start in (0..rows).step_by(CHUNK as usize) {
            let len = CHUNK.min(rows - start);
            let x = x_rh.narrow(0, start, len);
            let labels = labels_r.narrow(0, start, len).unsqueeze(1);
            let logits = x.linear(head_vh, None::<&Tensor>).to_kind(Kind::Float);
            let log_softmax = logits.log_softmax(-1, Kind::Float);
            loss -= log_softmax
                .gather(1, &labels, false)
                .sum(Kind::Double)
                .double_value(&[]);
            let ones = labels.ones_like().to_kind(Kind::Float).neg();
            let mut grad = log_softmax.exp().scatter_add(1, &labels, &ones);
            let grad = grad.g_mul_scalar_(scale).to_kind(x.kind());
            if wants_head {
                let part = grad.tr().matmul(&x).to_kind(Kind::Float);
                grad_head = Some(grad_head.map_or_else(|| part.shallow_clone(), |sum| sum + &part));
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn closed_form_gradients_equal_autograd() {
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
            0.0,
        );
        (&expected * 0.5).backward();
        let found = cross_entropy(&x.detach(), &head.detach(), &labels, 0.5, true);
        assert!((found.loss - expected.double_value(&[])).abs() < 1e-2);
        let close = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]) < 1e-4;
        assert!(close(&found.grad_x, &x.grad()));
        assert!(close(&found.grad_head.unwrap(), &head.grad()));
        let sum = log_probabilities(&x.detach(), &head.detach(), &labels).sum(Kind::Double);
        assert!((sum.double_value(&[]) + found.loss).abs() < 1e-2);
    }
}
