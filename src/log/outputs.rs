//! provisional
use super::notice::KINDS;
/// x
#[derive(Clone, Copy, Debug, Default)]
pub struct KindCounts {
    /// w
    pub written: u64,
    /// n
    pub not_asked: u64,
    /// d
    pub dropped: u64,
    /// f
    pub folded: u64,
}
impl KindCounts {
    /// t
    pub fn total(&self) -> u64 {
        self.written + self.not_asked + self.dropped + self.folded
    }
    /// d
    pub fn dropped_all(&self) -> u64 {
        self.dropped
    }
}
/// x
#[derive(Clone, Debug, Default)]
pub struct OutputCounts {
    /// n
    pub name: String,
    /// k
    pub connection: KindCounts,
    /// k
    pub alert: KindCounts,
    /// k
    pub flow: KindCounts,
}
impl OutputCounts {
    /// d
    pub fn dropped(&self) -> u64 {
        0
    }
    /// w
    pub fn written(&self) -> u64 {
        let _ = KINDS;
        self.connection.written + self.alert.written + self.flow.written
    }
    /// k
    pub fn kinds(&self) -> [(&'static str, &KindCounts); 3] {
        [
            ("connection", &self.connection),
            ("alert", &self.alert),
            ("flow", &self.flow),
        ]
    }
}
