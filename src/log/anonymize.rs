//! `--anonymize`: addresses replaced by others, prefix-preserving and by a key, before anybody hears of an event.
//!
//! Crypto-PAn: bit n of an address is flipped by a bit of AES of the n bits before it. So two addresses with a common
//! prefix of n bits get two others with a common prefix of n bits, the same in every format, run and sensor with this key.
//!
//! Source: Xu, Fan, Ammar, Moon, "Prefix-Preserving IP Address Anonymization", ICNP 2002, and its reference program, whose
//! published addresses are tested below; over 128 bits for IPv6.

use super::event::{Body, Event};
use super::fold::Fold;
use super::notice::Notice;
use crate::decode::key::Address;
use crate::flow::record::FiveTuple;
use crate::inspect::detection::{Detection, Subject};
use crate::words::shown;
use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use ipnet::IpNet;
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a key: half of AES, half for what it encrypts beside the prefix.
pub const KEY_BYTES: usize = 32;
const MADE_BY: &str = "make one: (umask 077; head -c 32 /dev/urandom > FILE)";

/// A keyed, prefix-preserving permutation of IPv4 addresses, and one of IPv6 addresses.
#[derive(Clone)]
pub struct Anonymizer(Arc<Keyed>);

struct Keyed {
    cipher: Aes128,
    pad: u128,
}

impl fmt::Debug for Anonymizer {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anonymizer")
    }
}

impl Anonymizer {
    /// With the key in this file: 32 bytes that only its owner may read.
    ///
    /// # Errors
    ///
    /// One sentence without the flag: what is wrong with the file, and the way out.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", shown(path));
        let open = File::open(path).map_err(|error| wrong(format!("{error}; {MADE_BY}")))?;
        let about = open.metadata().map_err(|error| wrong(error.to_string()))?;
        if !about.is_file() {
            return Err(wrong(format!("not a regular file; {MADE_BY}")));
        }
        if about.mode() & 0o077 != 0 {
            let mode = about.mode() & 0o777;
            return Err(wrong(format!(
                "mode {mode:04o} lets others read or change the key: chmod 0600 it"
            )));
        }
        let mut bytes = Vec::new();
        let read = open.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| wrong(error.to_string()))?;
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|bytes: Vec<u8>| {
            let length = match bytes.len() {
                more if more > KEY_BYTES => format!("more than {KEY_BYTES}"),
                fewer => fewer.to_string(),
            };
            wrong(format!(
                "a key has {KEY_BYTES} bytes, this has {length}; {MADE_BY}"
            ))
        })?;
        Ok(Self::new(&key))
    }

    /// With this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (key, pad) = key.split_at(KEY_BYTES / 2);
        let cipher = Aes128::new_from_slice(key).expect("half of the key");
        let pad: [u8; 16] = pad.try_into().expect("the other half");
        let pad = encrypt(&cipher, u128::from_be_bytes(pad));
        Self(Arc::new(Keyed { cipher, pad }))
    }

    /// The bit by which the bit behind the first `length` bits of `bits` is flipped.
    fn flip(&self, bits: u128, length: u32) -> u128 {
        let Keyed { cipher, pad } = &*self.0;
        let own = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        encrypt(cipher, bits & own | pad & !own) >> 127
    }

    /// The address of so many bits, which are the first of `bits`; `back`: from its replacement.
    fn permute(&self, bits: u128, width: u32, back: bool) -> u128 {
        let mut original = if back { 0 } else { bits };
        let mut flips = 0;
        for length in 0..width {
            let flip = self.flip(original, length) << (127 - length);
            flips |= flip;
            if back {
                original |= (bits ^ flip) & 1 << (127 - length);
            }
        }
        bits ^ flips
    }

    #[allow(clippy::cast_possible_truncation, reason = "the upper 32 bits")]
    fn address(&self, address: IpAddr, back: bool) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                let bits = self.permute(u128::from(v4.to_bits()) << 96, 32, back);
                Ipv4Addr::from_bits((bits >> 96) as u32).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(self.permute(v6.to_bits(), 128, back)).into(),
        }
    }

    /// The address that stands for `address`.
    pub fn replace(&self, address: IpAddr) -> IpAddr {
        self.address(address, false)
    }

    /// The address that `replacement` stands for.
    pub fn original(&self, replacement: IpAddr) -> IpAddr {
        self.address(replacement, true)
    }

    fn network(&self, address: IpAddr, length: u8) -> IpAddr {
        let replaced = self.replace(address);
        IpNet::new(replaced, length).map_or(replaced, |net| net.network())
    }

    /// Replaces every address of an event.
    pub fn event(&self, event: &mut Event) {
        match &mut event.body {
            Body::NewConnection(attempt) => self.tuple(&mut attempt.tuple),
            Body::Flow(flow) => self.tuple(&mut flow.tuple),
            Body::Alert(detection) => self.detection(detection),
            Body::Folded(fold) => self.fold(fold),
        }
    }

    fn tuple(&self, tuple: &mut FiveTuple) {
        tuple.src = self.replace(tuple.src);
        tuple.dst = self.replace(tuple.dst);
    }

    fn detection(&self, detection: &mut Detection) {
        let length = detection.src_prefix;
        let source = |src: &mut IpAddr| {
            *src = match length {
                Some(length) => self.network(*src, length),
                None => self.replace(*src),
            }
        };
        match &mut detection.subject {
            Subject::Pair { src, dst }
            | Subject::SourcePort { src, dst, .. }
            | Subject::Source { src, dst } => {
                source(src);
                *dst = self.replace(*dst);
            }
            Subject::Target { dst } | Subject::TargetPort { dst, .. } => *dst = self.replace(*dst),
        }
        let top = detection.crowd.iter_mut().flat_map(|crowd| &mut crowd.top);
        top.for_each(|one| one.addr = self.replace(one.addr));
    }

    fn fold(&self, fold: &mut Fold) {
        fold.target.dst = fold.target.dst.map(|dst| self.replace(dst));
        fold.senders
            .rename(|address| Address::from(self.replace(address.into())));
    }

    /// Replaces every address in the words and members of a lifecycle record; others have none.
    pub fn notice(&self, notice: &mut Notice) {
        if let Notice::Lifecycle { text, details, .. } = notice {
            *text = self.text(text);
            details.iter_mut().for_each(|(_, value)| self.value(value));
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(all) => all.iter_mut().for_each(|one| self.value(one)),
            Value::Object(all) => all.values_mut().for_each(|one| self.value(one)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Replaces every address in a sentence, with a port behind it or without.
    pub fn text(&self, text: &str) -> String {
        let is_part = |letter: char| letter.is_ascii_hexdigit() || ".:".contains(letter);
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|letter| !is_part(letter)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            out += before;
            out += &self.word(word);
            rest = after;
        }
        out + rest
    }

    /// A word of digits, dots and colons: an address, one with a port, or neither.
    fn word(&self, word: &str) -> String {
        // The end of a sentence is no part of it.
        let bare = word.trim_end_matches(['.', ':']);
        let end = &word[bare.len()..];
        if let Ok(address) = word.parse::<IpAddr>() {
            return self.replace(address).to_string();
        }
        if let Ok(address) = bare.parse::<IpAddr>() {
            return format!("{}{end}", self.replace(address));
        }
        match bare.rsplit_once(':').map(|(ip, port)| (ip.parse(), port)) {
            Some((Ok(v4), port)) => {
                let v4: Ipv4Addr = v4;
                format!("{}:{port}{end}", self.replace(v4.into()))
            }
            _ => word.to_owned(),
        }
    }
}

fn encrypt(cipher: &Aes128, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

#[cfg(test)]
mod tests;
