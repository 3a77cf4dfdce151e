//! Texts that many records share, rendered once.

/// Longest text that is copied in one go.
pub const SHORT_MAX: usize = 32;

/// No text.
pub static EMPTY: Piece = Piece {
    short: [0; SHORT_MAX],
    text: Vec::new(),
};

/// A text that many records share.
#[derive(Clone, Debug)]
pub struct Piece {
    short: [u8; SHORT_MAX],
    text: Vec<u8>,
}

impl Piece {
    /// This text.
    pub fn new(text: Vec<u8>) -> Self {
        let mut short = [0; SHORT_MAX];
        if let Some(place) = short.get_mut(..text.len()) {
            place.copy_from_slice(&text);
        }
        Self { short, text }
    }

    /// The text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// A text of at most [`SHORT_MAX`] bytes, with zeros behind it.
    pub fn short(&self) -> &[u8; SHORT_MAX] {
        &self.short
    }
}
