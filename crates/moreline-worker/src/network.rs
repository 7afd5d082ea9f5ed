//! Forward passes without gradients.

use tch::{Tensor, no_grad};

use crate::batch::Packed;
use crate::model::Decoder;
use crate::model::layers::Attend;

/// The hidden states after the last block, before the final norm: `[T, H]` in
/// the dtype of the weights. `flats` are one per segment.
pub fn hidden(decoder: &Decoder, flats: &[Tensor], packed: &Packed) -> Tensor {
    hidden_with(decoder, flats, packed, &packed.attention)
}

/// [`hidden`] with another way to attend, for example one that also keeps keys
/// and values.
pub fn hidden_with(
    decoder: &Decoder,
    flats: &[Tensor],
    packed: &Packed,
    attention: &dyn Attend,
) -> Tensor {
    no_grad(|| {
        let mut x = decoder.embed(&flats[0], &packed.tokens_t);
        for layer in 0..decoder.config.layers {
            let flat = &flats[Decoder::FIRST_BLOCK + layer];
            x = decoder.block(layer, flat, &x, &packed.rotary, attention);
        }
        x
    })
}
