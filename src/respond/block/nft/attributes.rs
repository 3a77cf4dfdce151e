//! Writes nfnetlink batches: messages with nested attributes, integers in network byte order.
//!
//! Source: `linux/netfilter/nfnetlink.h`, `linux/netlink.h`.

/// Most bytes of elements in one message: the length of an attribute has 16 bits.
pub const LIST_BYTES_MAX: usize = 60_000;

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u8 = 10;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLA_F_NESTED: u16 = 0x8000;
/// Offset of `nlmsg_flags`.
const FLAGS_AT: usize = 6;

/// The netlink type of a message of nftables.
pub fn kind(message: u8) -> u16 {
    u16::from(NFNL_SUBSYS_NFTABLES) << 8 | u16::from(message)
}

/// `struct nfgenmsg` of the family `inet`.
pub const INET: [u8; 4] = [NFPROTO_INET, 0, 0, 0];

/// One transaction: the kernel carries out all of its messages or none.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// `nlmsg_seq` of the first message, which only opens the batch.
    first: u32,
    next: u32,
    /// Where the last message starts.
    last_at: usize,
}

impl Batch {
    /// Opens a batch. `first` is its first sequence number.
    pub fn new(first: u32) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            first,
            next: first,
            last_at: 0,
        };
        let subsystem = [NFPROTO_UNSPEC, 0, 0, NFNL_SUBSYS_NFTABLES];
        batch.append(NFNL_MSG_BATCH_BEGIN, 0, subsystem, |_| {});
        batch
    }

    /// Appends a message of the family `inet`, and returns its sequence number.
    pub fn message(
        &mut self,
        message: u8,
        flags: u16,
        write: impl FnOnce(&mut Attributes<'_>),
    ) -> u32 {
        self.append(kind(message), flags, INET, write)
    }

    /// Whether it has no message yet.
    pub fn is_empty(&self) -> bool {
        self.last_at == 0
    }

    /// Sequence number of the message that opens the batch: the kernel's answer to it is about the whole batch.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Sequence number of the last message, which the kernel always answers.
    pub fn last(&self) -> u32 {
        self.next.wrapping_sub(1)
    }

    /// The finished batch, and the next free sequence number.
    pub fn finish(mut self) -> (Vec<u8>, u32) {
        // An answer to the last message says that the kernel has come to the end of the batch.
        let flags = &mut self.bytes[self.last_at + FLAGS_AT..][..2];
        let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
        flags.copy_from_slice(&with_ack.to_ne_bytes());
        let subsystem = [NFPROTO_UNSPEC, 0, 0, NFNL_SUBSYS_NFTABLES];
        self.append(NFNL_MSG_BATCH_END, 0, subsystem, |_| {});
        (self.bytes, self.next)
    }

    fn append(
        &mut self,
        kind: u16,
        flags: u16,
        about: [u8; 4],
        write: impl FnOnce(&mut Attributes<'_>),
    ) -> u32 {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        let at = self.bytes.len();
        self.last_at = at;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let flags = flags | NLM_F_REQUEST;
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.extend_from_slice(&about);
        write(&mut Attributes(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - at).expect("lists are split below 64 KiB");
        self.bytes[at..at + 4].copy_from_slice(&length.to_ne_bytes());
        sequence
    }
}

/// Appends attributes to a message.
#[derive(Debug)]
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// Writes to `bytes`, which must be empty or end at a multiple of four.
    pub fn to(bytes: &mut Vec<u8>) -> Attributes<'_> {
        Attributes(bytes)
    }

    /// An attribute of bytes as they are.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("values are at most a name or a list");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
    }

    /// A string with its zero byte.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// A number of 32 bits.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A number of 64 bits.
    pub fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Attributes<'_>)) {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0
            .extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        write(&mut Attributes(&mut *self.0));
        let length = u16::try_from(self.0.len() - at).expect("lists are split below 64 KiB");
        self.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// Bytes written so far to the whole batch.
    pub fn written(&self) -> usize {
        self.0.len()
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}
