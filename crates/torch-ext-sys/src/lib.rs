//! torch-ext-sys
