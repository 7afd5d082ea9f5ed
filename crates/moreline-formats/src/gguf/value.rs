//! Metadata values.

/// A value of a GGUF key. Integers are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `uint8` to `uint64`.
    Unsigned(u64),
    /// `int8` to `int64`.
    Signed(i64),
    /// `float32`.
    F32(f32),
    /// `float64`.
    F64(f64),
    /// `bool`.
    Bool(bool),
    /// `string`.
    String(String),
    /// An array of one type.
    Array(Array),
}

/// An array of a GGUF key. Nested arrays are refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Unsigned integers, widened.
    Unsigned(Vec<u64>),
    /// Signed integers, widened.
    Signed(Vec<i64>),
    /// `float32`.
    F32(Vec<f32>),
    /// `float64`.
    F64(Vec<f64>),
    /// `bool`.
    Bool(Vec<bool>),
    /// `string`.
    String(Vec<String>),
}

impl Value {
    /// A non-negative integer of any width.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(v) => Some(*v),
            Self::Signed(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// A float; `float32` by its shortest decimal form.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F32(v) => format!("{v}").parse().ok(),
            Self::F64(v) => Some(*v),
            _ => None,
        }
    }

    /// A flag.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(v) = self {
            Some(*v)
        } else {
            None
        }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(v) = self {
            Some(v)
        } else {
            None
        }
    }

    /// An array.
    pub fn as_array(&self) -> Option<&Array> {
        if let Self::Array(v) = self {
            Some(v)
        } else {
            None
        }
    }
}

impl Array {
    /// The strings, if it holds strings.
    pub fn strings(&self) -> Option<&[String]> {
        if let Self::String(v) = self {
            Some(v)
        } else {
            None
        }
    }

    /// The single-precision floats, if it holds them.
    pub fn f32s(&self) -> Option<&[f32]> {
        if let Self::F32(v) = self {
            Some(v)
        } else {
            None
        }
    }

    /// The integers as signed ones, if it holds integers that fit.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Self::Signed(v) => Some(v.clone()),
            Self::Unsigned(v) => v.iter().map(|&x| i64::try_from(x).ok()).collect(),
            _ => None,
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Unsigned(v) => v.len(),
            Self::Signed(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::String(v) => v.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
